"""A trained model as one ``.safetensors`` file: tensors, and a JSON header that says how to rebuild it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowshot import catalogue
from lowshot.atomic import atomic_path
from lowshot.contract import Learner, Method, Model, State
from lowshot.errors import LowshotError, MissingExtra, ModelFileError
from lowshot.training.folder import finish

FORMAT = "lowshot model 1"
"""Changes when files written before can no longer be read."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, and all that its file says about it."""

    model: Model | Learner
    method: Method
    name: str
    """Of the method, in the catalogue."""
    settings: Mapping[str, Any]
    """What the method was made with, so that ``load`` can make it again."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Preset, seed, plan, support, SHA-256 of the training files, versions, machine, date; not needed to load."""
    folder: Path | None = None
    """Of its training. What only an unsaved training needs is removed there by ``save``."""

    def save(self, path: Path | str) -> None:
        """Write the model as one ``.safetensors`` file, whole or not at all.

        Raises:
            ModelFileError: the name does not end in ``.safetensors``.
            OutputError: it cannot be written.
        """
        from safetensors.torch import save

        path, state = Path(path), self.model.state()
        require_model_name(path)
        header = {
            "format": FORMAT,
            "method": self.name,
            "kind": "model" if isinstance(self.model, Model) else "learner",
            "settings": dict(self.settings),
            "state": state.header,
            "provenance": dict(self.provenance),
        }
        # safetensors refuses channels_last memory and tensors that share storage; a contiguous clone has neither.
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.tensors.items()}
        content = save(tensors, metadata={"lowshot": json.dumps(header)})
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)  # not by safetensors, whose errors hide that a disk is full
        if self.folder is not None:
            finish(self.folder)

    def segmenter(self) -> Model:
        """The model, if it can segment.

        Raises:
            ModelFileError: it is a learner, which needs an example first.
        """
        if not isinstance(self.model, Model):
            raise ModelFileError(f"this {self.name} has learned how to learn, but no structure yet: give it an example")
        return self.model


def require_model_name(path: Path) -> None:
    """Refuse an output that is not named like a model file."""
    if path.suffix.lower() != ".safetensors":
        raise ModelFileError(f"{path}: expected a name ending in .safetensors")


def load(path: Path | str) -> Fitted:
    """Read a model that ``Fitted.save`` or ``lowshot fit`` wrote, on the CPU.

    Raises:
        ModelFileError: no such file, not a model of lowshot's, damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: expected a lowshot model (.safetensors), could not read it: {error}") from error
    header = _header(path, metadata)
    name, settings, state, provenance = (header[key] for key in ("method", "settings", "state", "provenance"))
    if not (isinstance(name, str) and all(isinstance(each, dict) for each in (settings, state, provenance))):
        raise ModelFileError(f"{path}: the header is damaged")
    try:
        method = catalogue.create(name, settings)
        model = method.restore(State(state, tensors))
    except MissingExtra:
        raise
    except (LowshotError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: the stored {name} model cannot be rebuilt: {error}") from error
    return Fitted(model, method, name, settings, provenance)


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(metadata["lowshot"])
        found = header["format"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: a safetensors file, but not one that lowshot wrote") from error
    if found != FORMAT:
        raise ModelFileError(f"{path}: written as {found!r}, this version reads {FORMAT!r}")
    missing = {"method", "settings", "state", "provenance"} - header.keys()
    if missing:
        raise ModelFileError(f"{path}: the header lacks {', '.join(sorted(missing))}")
    return header
