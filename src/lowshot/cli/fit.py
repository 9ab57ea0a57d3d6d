"""``lowshot fit``: learn to segment from one, two or three annotated scans."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowshot import catalogue
from lowshot.cli.model_output import ModelFile, Overwrite, place_of_training, save
from lowshot.cli.options import (
    AnnotatedSlice,
    AsJson,
    Changes,
    Channels,
    Colour,
    Device,
    IgnoreValue,
    Image,
    Labels,
    NamesFile,
    Precision,
    PrecisionOption,
    Restart,
    Support,
    Threads,
    annotated_scans,
    declared,
)
from lowshot.cli.terminal import Terminal
from lowshot.settings import parse_words
from lowshot.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowshot.inputs.scan_files import Declared
    from lowshot.inputs.task_files import TaskFiles
    from lowshot.model_file import Fitted
    from lowshot.task import LowShotTask


class MirrorChoice(StrEnum):
    """Whether scans may be mirrored from left to right."""

    auto = "auto"
    symmetric = "symmetric"
    off = "off"


Unlabelled = Annotated[list[str] | None, typer.Option(help="Scans without labels: folder, pattern, CSV or file.")]
Base = Annotated[
    Path | None,
    typer.Option(help="Scans annotated for other structures: folder with images/ and labels/, nnU-Net data set, CSV."),
]
Method = Annotated[str, typer.Option(help="See 'lowshot methods'.")]
Preset = Annotated[str, typer.Option(help="Named settings; see 'lowshot methods NAME'.")]
Minutes = Annotated[float | None, typer.Option(help="How long the whole fit may take.")]
Steps = Annotated[int | None, typer.Option(help="How many training steps; with neither, the preset's.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Weights = Annotated[
    Path | None, typer.Option(help="File of pretrained weights, for methods that have this as a setting.")
]
MirrorOption = Annotated[
    MirrorChoice,
    typer.Option(
        help="Whether the body is symmetric, so that scans may be mirrored; for methods that do (--set mirror=true)."
    ),
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
    output: ModelFile,
    support: Support = None,
    unlabelled: Unlabelled = None,
    base: Base = None,
    names: NamesFile = None,
    method: Method = catalogue.DEFAULT_METHOD,
    preset: Preset = catalogue.DEFAULT_PRESET,
    weights: Weights = None,
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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Learn to segment from one, two or three annotated scans; or how to, from a base, for 'lowshot adapt'.

    Stopped or killed, the same command goes on where it was. Example:

    lowshot fit 1000.nii.gz 1000_labels.nii.gz --names names.txt --minutes 20 -o brain.safetensors
    """
    start, terminal = time.monotonic(), Terminal(as_json)
    settings = _settings(changes or (), allow_missing, weights)
    _refuse_what_cannot_be(method, preset, settings, steps, minutes)
    from lowshot import fitting
    from lowshot.imaging.digests import digests

    with place_of_training(output, folder, overwrite, terminal) as training:
        files = _files(image, labels, annotated_slice, terminal, support=support, unlabelled=unlabelled, base=base)
        task = _task(files, names, ignore_value, declared(channels, colour), mirror)
        _announce(task, training, output, terminal)
        _show(show_samples, task, terminal, method=method, preset=preset, settings=settings, seed=seed)
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
            folder=training,
            restart=restart,
            files=digests(files.paths),
            progress=terminal.progress,
        )
        save(fitted, output, overwrite, terminal)
    _tell(fitted, output, training, time.monotonic() - start, terminal)


def _settings(changes: "Sequence[str]", allow_missing: bool, weights: Path | None) -> dict[str, Any]:
    """What --set changes, and the settings that have an option of their own."""
    options = {"allow_missing": allow_missing or None, "weights": weights and str(weights)}
    return parse_words(changes) | {name: value for name, value in options.items() if value is not None}


def _refuse_what_cannot_be(
    method: str, preset: str, settings: dict[str, Any], steps: int | None, minutes: float | None
) -> None:
    """Before any scan is read; a misspelt name even before anything heavy is imported."""
    values = catalogue.settings(method, preset, settings)

    from lowshot.training.run import Budget

    catalogue.create(method, values), Budget(steps, minutes)


def _show(path: Path | None, task: "LowShotTask", terminal: Terminal, **how: Any) -> None:
    """Draw what a method, made ``how``, learns from."""
    if path is None or not terminal.is_first:
        return
    from lowshot import fitting
    from lowshot.reporting.samples import write_samples

    batch = fitting.samples(task, **how)
    write_samples(path, batch.image, batch.labels, task.names, batch.known)
    terminal.progress.note(f"samples: {path}")


def _files(
    image: str | None,
    labels: Path | None,
    annotated_slice: str | None,
    terminal: Terminal,
    *,
    support: Path | None,
    unlabelled: list[str] | None,
    base: Path | None,
) -> "TaskFiles":
    from lowshot.inputs.base_files import NO_BASE, base_files
    from lowshot.inputs.task_files import TaskFiles
    from lowshot.inputs.words import scan_files

    rows = annotated_scans(image, labels, support, annotated_slice, optional=base is not None or bool(unlabelled))
    pool = scan_files(unlabelled or (), terminal.progress.warn)
    return TaskFiles(rows, pool, NO_BASE if base is None else base_files(base))


def _task(
    files: "TaskFiles", names: Path | None, ignore_value: int | None, what: "Declared", mirror: MirrorChoice
) -> "LowShotTask":
    from lowshot.imaging.names_file import read_names
    from lowshot.inputs.task_files import read_task

    table = read_names(names) if names else None
    return read_task(files, names=table, ignore_value=ignore_value, declared=what, mirror=mirror.value)


def _announce(task: "LowShotTask", folder: Path, output: Path, terminal: Terminal) -> None:
    """Say what was found in the annotated scans and what will be learned, before hours are spent on it."""
    from lowshot.imaging.names import is_unnamed
    from lowshot.transforms.support import annotated_structures

    names = task.names.foreground
    structures = f"{counted(len(names), 'structure')} ({listed(names, 8)})" if task.support else "no new structure yet"
    counts = {"annotated": task.support, "unlabelled": task.unlabelled, "of other structures": task.base}
    scans = ", ".join(f"{len(scans)} {what}" for what, scans in counts.items() if scans)
    terminal.progress.note(f"scans: {scans}; {structures}; training in {folder}")
    if task.support and all(map(is_unnamed, names)):
        terminal.progress.note("structures are called after their values; a names file (--names) gives them names")
    seen = annotated_structures(task.support, task.names)
    unseen = [name for name in task.names.foreground if name not in seen]
    if 0 < len(unseen) < len(task.names.foreground):  # that nothing at all is annotated is an error of its own
        terminal.progress.warn(f"no annotated scan shows {', '.join(unseen)}: what never was seen will never be found")
    if output.exists():
        terminal.progress.note(f"{output} is there already and will be replaced at the end")


def _tell(fitted: "Fitted", output: Path, folder: Path, seconds: float, terminal: Terminal) -> None:
    """Say what the model took and what comes next."""
    from lowshot.contract import Model

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
    done = f"{counted(steps, 'step')} in {seconds / 60:.1f} min" if plan["stages"] else "which trains nothing"
    following = f"adapt {output} IMAGE LABELS -o OUT.safetensors"
    if isinstance(fitted.model, Model):
        following = f"segment {output} SCANS -o FOLDER"
    terminal.result(result, f"{output}: {fitted.name}, {done}. Next: lowshot {following}")
