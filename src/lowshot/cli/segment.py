"""``lowshot segment``: label maps for scans, with a trained model."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowshot.cli.options import (
    Address,
    AsJson,
    Changes,
    Channels,
    Colour,
    Device,
    Engine,
    EngineOption,
    Precision,
    PrecisionOption,
    Threads,
    Workers,
    cluster_of,
    declared,
    require_folder_name,
)
from lowshot.cli.terminal import Terminal
from lowshot.errors import InputError, OutputError, SettingsError, SomeScansFailed
from lowshot.settings import parse_words
from lowshot.wording import listed

if TYPE_CHECKING:
    from lowshot.inputs.scan_files import ScanFiles
    from lowshot.model_file import Fitted
    from lowshot.reporting.tables import Table
    from lowshot.segmenting_files import Failed, Outputs, Segmented

MOST_NAMED = 5
"""Scans that a sentence names."""


class Format(StrEnum):
    """File formats that can be written."""

    nifti = "nii.gz"
    nrrd = "nrrd"
    metaimage = "mha"
    png = "png"
    seg = "seg.dcm"
    rtstruct = "rtstruct.dcm"


Model = Annotated[Path, typer.Argument(help="Model file, as 'lowshot fit' writes it.")]
Scans = Annotated[
    list[str],
    typer.Argument(help="Files, folders, patterns, a CSV, DICOM folders; T1=FILE,FLAIR=FILE for several channels."),
]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for CASE.nii.gz and CASE.json.")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="Also write each structure's probabilities.")]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Of the label maps; the scan's own where it can be written.")
]
Refine = Annotated[
    bool, typer.Option("--refine", help="Of methods that deform an atlas: optimise the deformation for each scan.")
]
OnePiece = Annotated[
    bool,
    typer.Option(
        "--one-piece", help="Keep of every structure the largest connected component; the rest is background."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace results that are there, but for those that somebody corrected.")
]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave out scans whose results are there.")]


def segment(
    *,
    model: Model,
    scans: Scans,
    output: Folder,
    probabilities: Probabilities = False,
    format_: FormatOption = None,
    refine: Refine = False,
    one_piece: OnePiece = False,
    changes: Changes = None,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    channels: Channels = None,
    colour: Colour = False,
    device: Device = "auto",
    precision: PrecisionOption = Precision.auto,
    threads: Threads = None,
    engine: EngineOption = Engine.local,
    address: Address = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Segment scans with a trained model.

    A scan that fails does not stop the others; it is listed at the end, and the exit code is 3 (or
    that of the first failure where none succeeds). Example:

    lowshot segment brain.safetensors scans/ -o segmentations/
    """
    terminal, options = Terminal(as_json), _options(changes or (), refine=refine, one_piece=one_piece)
    if overwrite and skip_existing:
        raise InputError("--skip-existing keeps results that are there, --overwrite replaces them; give one of the two")

    from lowshot.inputs.words import scan_files
    from lowshot.model_file import load
    from lowshot.segmenting_files import Batch, Outputs
    from lowshot.segmenting_on_cluster import SharedBatch
    from lowshot.training.run import Run

    outputs = Outputs(output, f".{format_.value}" if format_ else None, probabilities)
    files = scan_files(scans, terminal.progress.warn)
    todo, kept = _without_finished(files, outputs, overwrite, skip_existing, terminal)
    cluster, fitted = cluster_of(engine, address, workers, threads, device), load(model)
    if refine:
        _require_atlas(fitted)
    source, meant = model_source(model, fitted) | ({"options": options} if options else {}), declared(channels, colour)
    if kept and skip_existing:
        _tell_of_kept(kept, len(todo), outputs, fitted, source, terminal)
    if not todo:
        terminal.result(_as_json([]))
        return
    if cluster is None:
        run = Run(device=device, precision=precision.value, threads=threads, progress=terminal.progress)
        outcomes = Batch(fitted, outputs, run, meant, options, source).segment(todo)
    else:
        batch = SharedBatch(model, outputs, device, precision.value, cluster.threads, meant, options, source)
        outcomes = batch.segment(fitted, todo, cluster, terminal.progress)
    done: list[Segmented | Failed] = []
    try:
        for outcome in outcomes:
            done.append(outcome)
            _tell_notes(outcome, terminal)
    finally:  # also what was done before a full disk or Ctrl-C
        if done:
            _tell_of_pool(done, terminal)
            terminal.result(_as_json(done), outcome_table(done))
    _fail_if_any_failed(done)


def _options(changes: Sequence[str], **switches: bool) -> dict[str, Any]:
    return parse_words(changes) | {name: True for name, on in switches.items() if on}


def _require_atlas(fitted: "Fitted") -> None:
    if not hasattr(fitted.method.Options, "refine"):
        raise SettingsError(f"--refine is for methods that deform an atlas, such as lt-net; this is {fitted.name}")


def _tell_of_pool(done: "Sequence[Segmented | Failed]", terminal: Terminal) -> None:
    from lowshot.segmenting_files import TRANSDUCTIVE, Segmented

    learned_from = [each.case for each in done if isinstance(each, Segmented) and TRANSDUCTIVE in each.notes]
    if learned_from:
        terminal.progress.note(f"{listed(learned_from, MOST_NAMED)}: {TRANSDUCTIVE}")


def _tell_notes(outcome: "Segmented | Failed", terminal: Terminal) -> None:
    """What stands in the file beside a result, too: why to look at it, or how it came about."""
    from lowshot.segmenting_files import TRANSDUCTIVE, Segmented

    if isinstance(outcome, Segmented):
        for note in outcome.notes:
            if note != TRANSDUCTIVE:  # often all scans are of the pool, which is told once
                terminal.progress.warn(f"{outcome.case}: {note}")
        lost = [name for name in outcome.quality if name not in outcome.present]
        if lost and outcome.present:  # of nothing at all a note tells
            terminal.progress.note(f"{outcome.case}: not found: {listed(lost)}")


def model_source(path: Path, fitted: "Fitted") -> dict[str, Any]:
    """Which model made a segmentation: what stands in the file beside it."""
    from lowshot.imaging.digests import digest

    about = {key: fitted.provenance.get(key) for key in ("preset", "seed", "support", "date", "versions")}
    stages = fitted.provenance.get("plan", {}).get("stages", {})  # whose types were checked when it was read
    about["steps"] = sum(stage["steps"] for stage in stages.values()) or None
    return {"file": path.name, "sha256": digest(path), "method": fitted.name, **about}


def outcome_table(done: "Sequence[Segmented | Failed]") -> "Table":
    """One line per scan; what most needs a look is the structure with the lowest expected Dice."""
    from lowshot.reporting.tables import Column, Table
    from lowshot.segmenting_files import Segmented

    columns = (
        Column("case", numeric=False),
        Column("found"),
        Column("lowest expected Dice", digits=2),
        Column("structure", numeric=False),
        Column("seconds", digits=1),
        Column("result", numeric=False),
    )
    rows: list[tuple[str | int | float | None, ...]] = []
    for each in done:
        if isinstance(each, Segmented):
            name, lowest = each.lowest or ("", None)
            found = f"{len(each.present)} of {len(each.quality)}"
            rows.append((each.case, found, lowest, name, each.seconds, str(each.path)))
        else:
            rows.append((each.case, None, None, "", None, f"failed: {each.error}"))
    return Table(columns, tuple(rows))


def _without_finished(
    scans: "Sequence[ScanFiles]", outputs: "Outputs", overwrite: bool, skip_existing: bool, terminal: Terminal
) -> "tuple[Sequence[ScanFiles], Sequence[ScanFiles]]":
    """The scans to do, and those whose results are kept; what was corrected by hand always is.

    Raises:
        OutputError: results are there and nobody has said what is to become of them, or they would replace a scan, or
            pass as those of another.
    """
    require_folder_name(outputs.folder)
    outputs.require_apart(scans)
    there = {scan.name: path for scan in scans if (path := outputs.there(scan)) is not None}
    strangers = [scan.name for scan in scans if scan.name in there and outputs.is_of_another(scan)]
    if overwrite:
        if strangers:
            terminal.progress.warn(f"{listed(strangers)}: what is replaced are results of other scans of these names")
        kept = [scan for scan in scans if scan.name in there and outputs.was_corrected(scan)]
        if kept:
            names = [scan.name for scan in kept]
            terminal.progress.note(f"{listed(names)}: corrected by hand, and kept; delete the result to have it anew")
        return [scan for scan in scans if scan not in kept], kept
    if not there:
        return scans, []
    if strangers:
        raise OutputError(
            f"{there[strangers[0]]}: is the result of another scan that is called {strangers[0]}, too "
            f"({len(strangers)} of {len(there)} are); choose another output folder (-o), or give the scan another name "
            "in a CSV (column 'name'). If it is the same scan, written anew, say --overwrite"
        )
    if not skip_existing:
        raise OutputError(
            f"{next(iter(there.values()))}: a result is there already ({len(there)} of {len(scans)}); "
            "add --skip-existing to keep such results and do the others, or --overwrite to replace them"
        )
    return [scan for scan in scans if scan.name not in there], [scan for scan in scans if scan.name in there]


def _tell_of_kept(
    kept: "Sequence[ScanFiles]",
    todo: int,
    outputs: "Outputs",
    fitted: "Fitted",
    source: dict[str, Any],
    terminal: Terminal,
) -> None:
    from lowshot.segmenting_files import unlike_kept

    terminal.progress.note(f"{len(kept)} of {len(kept) + todo} results are there already and are kept")
    unlike = unlike_kept(kept, outputs, fitted, source)
    if unlike is not None:
        terminal.progress.warn(unlike)


def _as_json(done: "Sequence[Segmented | Failed]") -> dict[str, Any]:
    from lowshot.segmenting_files import Segmented

    good = [each for each in done if isinstance(each, Segmented)]
    return {
        "segmented": [
            {
                "case": each.case,
                "file": str(each.path),
                "structures": list(each.present),
                "expected_dice": {k: None if v is None else v.expected_dice for k, v in each.quality.items()},
                "notes": list(each.notes),
                "seconds": round(each.seconds, 2),
            }
            for each in good
        ],
        "failed": [{"case": each.case, "error": str(each.error)} for each in done if not isinstance(each, Segmented)],
    }


def _fail_if_any_failed(done: "Sequence[Segmented | Failed]") -> None:
    from lowshot.segmenting_files import Failed

    failed = [each for each in done if isinstance(each, Failed)]
    if failed and len(failed) == len(done):
        raise failed[0].error
    if failed:
        raise SomeScansFailed(
            f"{len(failed)} of {len(done)} scans were not segmented: {', '.join(each.case for each in failed)}"
        )
