"""``lowshot adapt``: new structures from an example, in seconds."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.options import (
    AnnotatedSlice,
    AsJson,
    Channels,
    Colour,
    Device,
    IgnoreValue,
    Image,
    Labels,
    ModelFile,
    NamesFile,
    Precision,
    PrecisionOption,
    Support,
    Threads,
    annotated_scans,
    declared,
)
from lowshot.cli.terminal import Terminal

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
    as_json: AsJson = False,
) -> None:
    """Teach new structures to what was learned from a base, by one, two or three annotated scans, in seconds.

    Nothing is trained. Example:

    lowshot adapt base.safetensors 1000.nii.gz 1000_labels.nii.gz --names names.txt -o spleen.safetensors
    """
    start, terminal = time.monotonic(), Terminal(as_json)

    from lowshot import adapting
    from lowshot.imaging.names_file import read_names
    from lowshot.inputs.digests import digests
    from lowshot.inputs.task_files import TaskFiles, read_task
    from lowshot.model_file import load, require_model_name

    require_model_name(output)
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
    _save(adapted, output, start, terminal)


def _save(adapted: "Fitted", output: Path, start: float, terminal: Terminal) -> None:
    """Write the model, and say what it knows and what comes next."""
    if terminal.is_first:
        adapted.save(output)
    structures, scans = adapted.segmenter().names.foreground, adapted.provenance["support"]
    seconds = time.monotonic() - start
    result = {
        "model": str(output),
        "method": adapted.name,
        "support": scans,
        "structures": list(structures),
        "seconds": round(seconds, 1),
    }
    listed = ", ".join(structures[:8]) + (", …" if len(structures) > 8 else "")
    terminal.result(
        result,
        f"{output}: {adapted.name} with {len(scans)} annotated, {len(structures)} structures ({listed}), in "
        f"{seconds:.1f} s. Next: lowshot segment {output} SCANS -o FOLDER",
    )
