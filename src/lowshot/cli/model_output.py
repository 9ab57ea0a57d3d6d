"""Where ``fit`` and ``adapt`` put a model: what is in the way is told before anything is read or computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.terminal import Terminal
from lowshot.errors import OutputError

if TYPE_CHECKING:
    from lowshot.model_file import Fitted

ModelFile = Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a model file that is there already.")]


@contextmanager
def place_of_training(output: Path, folder: Path | None, overwrite: bool, terminal: Terminal) -> Iterator[Path]:
    """The folder of a training that ends in a model file; no other command can use it before this block ends.

    Args:
        output: the model file.
        folder: where the user wants the training; None: beside the model.
        overwrite: whether a model may be replaced.
        terminal: of this process.

    Raises:
        ModelFileError: the name does not end in ``.safetensors``.
        SettingsError: another process holds the folder.
        OutputError: a model is there that may not be replaced, or nothing can be written there.
    """
    from lowshot.model_file import require_model_name
    from lowshot.training.folder import held, training_folder_of

    require_model_name(output)
    folder = folder or training_folder_of(output)
    with held(folder):  # first: who holds it may be about to write the model
        require_place(output, overwrite, terminal)
        yield folder


def require_place(output: Path, overwrite: bool, terminal: Terminal) -> None:
    """Refuse a model file that could not be written in the end.

    Raises:
        ModelFileError: the name does not end in ``.safetensors``.
        OutputError: a model is there that may not be replaced, or nothing can be written there.
    """
    from lowshot.atomic import require_writable_folder
    from lowshot.model_file import require_model_name

    require_model_name(output)
    if not terminal.is_first:  # it writes nothing, perhaps on another machine
        return
    if output.is_dir():
        raise OutputError(f"{output}: a folder has this name; give another name (-o)")
    _refuse_existing(output, overwrite)
    require_writable_folder(output.parent)


def save(fitted: "Fitted", output: Path, overwrite: bool, terminal: Terminal) -> None:
    """Write the model, unless one has come into its place since the command began.

    Raises:
        OutputError: one has, or the system refuses.
    """
    if terminal.is_first:
        _refuse_existing(output, overwrite)
        fitted.save(output)


def _refuse_existing(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        told = f"{output}: a model is there already; add --overwrite to replace it, or give another name (-o)"
        raise OutputError(told)
