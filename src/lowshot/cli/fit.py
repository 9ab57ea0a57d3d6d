"""``lowshot fit``: learn to segment from one, two or three annotated scans."""

import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot import catalogue
from lowshot.cli.options import (
    AsJson,
    Changes,
    Channels,
    Colour,
    Device,
    IgnoreValue,
    NamesFile,
    Precision,
    PrecisionOption,
    Restart,
    Threads,
    declared,
)
from lowshot.cli.terminal import Terminal
from lowshot.errors import InputError
from lowshot.settings import parse_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowshot.inputs.scan_files import Declared
    from lowshot.inputs.task_files import TaskFiles
    from lowshot.model_file import Fitted
    from lowshot.task import LowShotTask
    from lowshot.transforms.slices import Slices


class MirrorChoice(StrEnum):
    """Whether scans may be mirrored from left to right."""

    auto = "auto"
    symmetric = "symmetric"
    off = "off"


Image = Annotated[str | None, typer.Argument(help="Annotated scan: a file, a DICOM folder, or T1=FILE,FLAIR=FILE.")]
Labels = Annotated[Path | None, typer.Argument(help="Its label map.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")]
Support = Annotated[
    Path | None, typer.Option(help="CSV of annotated scans instead: columns image (or one per channel) and labels.")
]
Unlabelled = Annotated[list[str] | None, typer.Option(help="Scans without labels: folder, pattern, CSV or file.")]
Base = Annotated[Path | None, typer.Option(help="CSV of scans annotated for other structures.")]
Method = Annotated[str, typer.Option(help="See 'lowshot methods'.")]
Preset = Annotated[str, typer.Option(help="Named settings; see 'lowshot methods NAME'.")]
Minutes = Annotated[float | None, typer.Option(help="How long the whole fit may take.")]
Steps = Annotated[int | None, typer.Option(help="How many training steps; with neither, the preset's.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
AnnotatedSlice = Annotated[
    str | None, typer.Option(metavar="INDEX", help="The only annotated slice, from 0; AXIS:INDEX for another axis.")
]
MirrorOption = Annotated[
    MirrorChoice, typer.Option(help="Whether left and right are twins, for methods set to mirror (--set mirror=true).")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on though the annotated slice lacks a structure (elnet).")
]
ShowSamples = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw a batch of what the method makes to learn from, before it learns."),
]
Folder = Annotated[Path | None, typer.Option(help="For plan, log and checkpoints; MODEL.training unless told.")]


def fit(
    *,
    image: Image = None,
    labels: Labels = None,
    output: Output,
    support: Support = None,
    unlabelled: Unlabelled = None,
    base: Base = None,
    names: NamesFile = None,
    method: Method = catalogue.DEFAULT_METHOD,
    preset: Preset = catalogue.DEFAULT_PRESET,
    minutes: Minutes = None,
    steps: Steps = None,
    changes: Changes = None,
    seed: Seed = 0,
    ignore_value: IgnoreValue = None,
    annotated_slice: AnnotatedSlice = None,
    mirror: MirrorOption = MirrorChoice.auto,
    allow_missing: AllowMissing = False,
    show_samples: ShowSamples = None,
    channels: Channels = None,
    colour: Colour = False,
    device: Device = "auto",
    precision: PrecisionOption = Precision.auto,
    threads: Threads = None,
    folder: Folder = None,
    restart: Restart = False,
    as_json: AsJson = False,
) -> None:
    """Learn to segment from one, two or three annotated scans.

    Stopped or killed, the same command goes on where it was. Example:

    lowshot fit 1000.nii.gz 1000_labels.nii.gz --names names.txt --minutes 20 -o brain.safetensors
    """
    start, terminal = time.monotonic(), Terminal(as_json)
    settings = parse_words(changes or ()) | ({"allow_missing": True} if allow_missing else {})
    catalogue.settings(method, preset, settings)  # a misspelt name is told before anything heavy is imported

    from lowshot import fitting
    from lowshot.inputs.digests import digests
    from lowshot.model_file import require_model_name

    require_model_name(output)
    files = _files(image, labels, annotated_slice, support=support, unlabelled=unlabelled, base=base)
    task = _task(files, names, ignore_value, declared(channels, colour), mirror)
    folder = folder or _beside(output)
    _announce(task, folder, output, terminal)
    _show(show_samples, partial(fitting.samples, task, method, preset, settings=settings, seed=seed), task, terminal)
    fitted = fitting.fit(
        task,
        method,
        preset,
        minutes=minutes,
        steps=steps,
        settings=settings,
        seed=seed,
        device=device,
        precision=precision.value,
        threads=threads,
        folder=folder,
        restart=restart,
        files=digests(files.paths),
        progress=terminal.progress,
    )
    _save(fitted, output, folder, start, terminal)


def _beside(output: Path) -> Path:
    from lowshot.training.folder import training_folder_of

    return training_folder_of(output)


def _show(path: Path | None, make: "Callable[[], Slices]", task: "LowShotTask", terminal: Terminal) -> None:
    if path is None or not terminal.is_first:
        return
    from lowshot.reporting.samples import write_samples

    batch = make()
    write_samples(path, batch.image, batch.labels, task.names)
    terminal.progress.note(f"samples: {path}")


def _files(
    image: str | None,
    labels: Path | None,
    annotated_slice: str | None,
    *,
    support: Path | None,
    unlabelled: list[str] | None,
    base: Path | None,
) -> "TaskFiles":
    from lowshot.inputs.scan_files import one_scan
    from lowshot.inputs.table import Row, parse_slice, read_table
    from lowshot.inputs.task_files import TaskFiles
    from lowshot.inputs.words import scan_files

    if image is not None and support is not None:
        raise InputError("expected IMAGE LABELS or --support, got both; put the scan into the CSV as one more row")
    if image is not None and labels is None:
        raise InputError(f"{image}: expected its label map after it: lowshot fit IMAGE LABELS -o MODEL")
    rows = [] if support is None else read_table(support)
    if image is not None:
        rows = [Row(one_scan(image), labels, parse_slice(annotated_slice or "", "--annotated-slice"))]
    elif annotated_slice is not None:
        raise InputError("--annotated-slice belongs to IMAGE LABELS; a CSV has a column of that name")
    if not rows and base is None:
        raise InputError("no annotated scan: give IMAGE and LABELS, or --support with a CSV")
    return TaskFiles(rows, scan_files(unlabelled or ()), [] if base is None else read_table(base))


def _task(
    files: "TaskFiles", names: Path | None, ignore_value: int | None, what: "Declared", mirror: MirrorChoice
) -> "LowShotTask":
    from lowshot.imaging.names_file import read_names
    from lowshot.inputs.task_files import read_task

    table = read_names(names) if names else None
    return read_task(files, names=table, ignore_value=ignore_value, declared=what, mirror=mirror.value)


def _announce(task: "LowShotTask", folder: Path, output: Path, terminal: Terminal) -> None:
    """Say what was found in the annotated scans and what will be learned, before hours are spent on it."""
    names = ", ".join(task.names.foreground[:8]) + (", …" if len(task.names) > 9 else "")
    counts = {"annotated": task.support, "unlabelled": task.unlabelled, "of other structures": task.base}
    scans = ", ".join(f"{len(scans)} {what}" for what, scans in counts.items() if scans)
    terminal.progress.note(f"scans: {scans}; {len(task.names) - 1} structures ({names}); training in {folder}")
    if output.exists():
        terminal.progress.note(f"{output} is there already and will be replaced at the end")


def _save(fitted: "Fitted", output: Path, folder: Path, start: float, terminal: Terminal) -> None:
    """Write the model, and say what it took since ``start``."""
    if terminal.is_first:
        fitted.save(output)
    seconds = time.monotonic() - start
    plan = fitted.provenance["plan"]
    steps = sum(stage["steps"] for stage in plan["stages"].values())
    result = {
        "model": str(output),
        "method": fitted.name,
        "preset": fitted.provenance["preset"],
        "seed": fitted.provenance["seed"],
        "steps": steps,
        "seconds": round(seconds, 1),
        "folder": str(folder),
    }
    done = f"{steps} steps in {seconds / 60:.1f} min" if plan["stages"] else "which trains nothing"
    terminal.result(
        result,
        f"{output}: {fitted.name}, {done}. Next: lowshot segment {output} SCANS -o FOLDER",
    )
