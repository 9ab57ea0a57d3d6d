"""``lowshot adapt``: new structures from an example, in seconds."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.model_output import ModelFile, Overwrite, require_place, save
from lowshot.cli.options import (
    AnnotatedSlice,
    AsJson,
    Channels,
    Colour,
    Device,
    IgnoreValue,
    Image,
    Labels,
    NamesFile,
    Precision,
    PrecisionOption,
    Support,
    Threads,
    annotated_scans,
    declared,
)
from lowshot.cli.terminal import Terminal
from lowshot.wording import counted, listed

if TYPE_CHECKING:
    from lowshot.model_file import Fitted

LearnerFile = Annotated[
    Path, typer.Argument(help="What 'lowshot fit --base' wrote; or a model that was adapted before.")
]


def adapt(
    *,
    learner: LearnerFile,
    image: Image = None,
    labels: Labels = None,
    output: ModelFile,
    support: Support = None,
    names: NamesFile = None,
    ignore_value: IgnoreValue = None,
    annotated_slice: AnnotatedSlice = None,
    channels: Channels = None,
    colour: Colour = False,
    device: Device = "auto",
    precision: PrecisionOption = Precision.auto,
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Teach new structures to what was learned from a base, by one, two or three annotated scans, in seconds.

    Nothing is trained. Example:

    lowshot adapt base.safetensors 1000.nii.gz 1000_labels.nii.gz --names names.txt -o spleen.safetensors
    """
    start, terminal = time.monotonic(), Terminal(as_json)

    from lowshot import adapting
    from lowshot.imaging.digests import digests
    from lowshot.imaging.names_file import read_names
    from lowshot.inputs.task_files import TaskFiles, read_task
    from lowshot.model_file import load

    require_place(output, overwrite, terminal)
    files = TaskFiles(annotated_scans(image, labels, support, annotated_slice))
    fitted = load(learner)
    task = read_task(
        files,
        names=read_names(names) if names else None,
        ignore_value=ignore_value,
        declared=declared(channels, colour),
        mirror="off",  # nothing is trained
    )
    adapted = adapting.adapt(
        fitted,
        task.support,
        task.names,
        device=device,
        precision=precision.value,
        threads=threads,
        files=digests(files.paths),
        progress=terminal.progress,
    )
    save(adapted, output, overwrite, terminal)
    _tell(adapted, output, time.monotonic() - start, terminal)


def _tell(adapted: "Fitted", output: Path, seconds: float, terminal: Terminal) -> None:
    """Say what the model knows and what comes next."""
    structures, scans = adapted.segmenter().names.foreground, adapted.provenance["support"]
    result = {
        "model": str(output),
        "method": adapted.name,
        "support": scans,
        "structures": list(structures),
        "seconds": round(seconds, 1),
    }
    terminal.result(
        result,
        f"{output}: {adapted.name} with {len(scans)} annotated, {counted(len(structures), 'structure')} "
        f"({listed(structures, 8)}), in "
        f"{seconds:.1f} s. Next: lowshot segment {output} SCANS -o FOLDER",
    )
