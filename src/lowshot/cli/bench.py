"""``lowshot bench``: a benchmark's cells, computed or found finished, and its tables beside the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.options import (
    Address,
    AsJson,
    Device,
    Engine,
    EngineOption,
    Precision,
    PrecisionOption,
    Threads,
    Workers,
    cluster_of,
)
from lowshot.cli.terminal import Terminal
from lowshot.errors import InputError, SettingsError, SomeScansFailed
from lowshot.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowshot.benchmarking.cases import Cases
    from lowshot.benchmarking.cell import Cell, Record
    from lowshot.benchmarking.compute import Machine
    from lowshot.protocols.protocol import Protocol
    from lowshot.reporting.tables import Table

Name = Annotated[str | None, typer.Argument(metavar="PROTOCOL", help="See 'lowshot bench --list'.")]
Data = Annotated[Path | None, typer.Option(help="Folder of annotated scans; phantoms need none.")]
Methods = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Rows of the protocol, or methods of the catalogue; all rows unless told."),
]
Preset = Annotated[
    str | None, typer.Option(help="Of every row that does not name its own; the protocol's unless told.")
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="For every row; the protocol's unless told.")]
Folds = Annotated[str | None, typer.Option(metavar="A,B", help="Of the protocol; all unless told.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Of every training; the protocol's unless told.")]
Minutes = Annotated[
    float | None, typer.Option(help="Of every fit, instead of steps; further seeds take as many steps.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for cells, results and tables.")]
Restart = Annotated[bool, typer.Option("--restart", help="Compute cells anew whose settings or data have changed.")]
Embedding = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Draw the embedding of these rows beside each other: t-SNE of voxels of a query."),
]
Warped = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Draw the annotated scan as these rows lay it upon a query, beside the query."),
]
Correlated = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Draw these rows' maps of a query slice before and after global correlation."),
]
PerStructure = Annotated[
    bool, typer.Option("--per-structure", help="Print every structure's scores and their spread, too, and every test.")
]
List = Annotated[bool, typer.Option("--list", help="The protocols, or the rows of one.")]


def bench(
    *,
    name: Name = None,
    data: Data = None,
    methods: Methods = None,
    preset: Preset = None,
    seeds: Seeds = None,
    folds: Folds = None,
    steps: Steps = None,
    minutes: Minutes = None,
    output: Output = None,
    device: Device = "auto",
    precision: PrecisionOption = Precision.auto,
    threads: Threads = None,
    engine: EngineOption = Engine.local,
    address: Address = None,
    workers: Workers = None,
    restart: Restart = False,
    embedding: Embedding = None,
    warped: Warped = None,
    correlated: Correlated = None,
    per_structure: PerStructure = False,
    show: List = False,
    as_json: AsJson = False,
) -> None:
    """Compare methods on a benchmark: system by fold by seed, resumable at any time.

    Finished cells are skipped. Several processes may share one folder. Example:

    lowshot bench brain-one-shot --data brain/ --methods mre-net,unet --seeds 0,1,2 -o results/
    """
    from lowshot.cli.bench_list import list_protocols, list_rows
    from lowshot.protocols.registry import protocol

    terminal = Terminal(as_json)
    if name is None:
        list_protocols(terminal)
        return
    asked = protocol(name)
    if show:
        list_rows(terminal, asked)
        return
    systems, root = asked.chosen(_words(methods)), _root(output, asked.name)

    from lowshot.benchmarking.cases import cases_of
    from lowshot.benchmarking.distributed import arranged
    from lowshot.benchmarking.runner import cells, run

    asked, data = arranged(asked, data, root, terminal.progress)
    chosen = [asked.fold(fold) for fold in _words(folds) or [fold.name for fold in asked.folds]]
    cluster = cluster_of(engine, address, workers, threads, device)
    how = _machine(asked, preset, steps, minutes, device, precision, cluster.threads if cluster else threads)
    wanted = cells(asked, systems, chosen, _numbers(seeds))
    pictured = _pictured(wanted, {"--embedding": embedding, "--warped": warped, "--correlated": correlated})
    cases = cases_of(asked, data, root, terminal.progress)
    records, failed = run(wanted, cases, root, how, restart=restart, progress=terminal.progress, cluster=cluster)
    shown, files = _written(asked, records, pictured, cases, root, how, terminal, per_structure)
    terminal.result(
        {"protocol": name, "cells": len(records), "failed": failed, "files": files},
        *shown,
        *_lines(asked, records, files),
    )
    if failed:
        raise SomeScansFailed(f"{counted(len(failed), 'cell')} failed; the first: {failed[0]}")


def _root(output: Path | None, name: str) -> Path:
    """The benchmark's folder, in which something can be written."""
    from lowshot.atomic import require_writable_folder

    if output is None:
        raise InputError("where to: give a folder with -o")
    require_writable_folder(output / name)
    return output / name


def _written(
    asked: "Protocol",
    records: "Sequence[Record]",
    pictured: "Mapping[str, Sequence[Cell]]",
    cases: "Cases",
    root: Path,
    how: "Machine",
    terminal: Terminal,
    per_structure: bool,
) -> "tuple[list[Table], dict[str, str]]":
    """Write everything beside the results; returns the tables to show, and what is where."""
    from lowshot.benchmarking.document import protocol_tables, section
    from lowshot.benchmarking.report import further_tables, write_report
    from lowshot.benchmarking.structure_tables import PER_STRUCTURE
    from lowshot.benchmarking.write import write_tables
    from lowshot.reporting.tables import to_markdown

    tables = protocol_tables(asked, records) if records else []
    further = further_tables(asked, records)
    page = section(asked, records) if records else f"No cell of {asked.name} is finished yet.\n"
    write_tables(page, tables, root)
    drawn, pictures = _pictures(pictured, cases, root, how, terminal)
    page = "\n".join([page, *map(to_markdown, [*drawn, *further])])
    files = write_tables(page, [*tables, *drawn, *further], root) | pictures
    files |= write_report(asked, records, [*tables, *drawn, *further], cases, root, terminal.progress)
    whole = [table for table in tables if PER_STRUCTURE not in table.title.removeprefix(asked.name)]
    return [*(tables if per_structure else whole), *drawn, *(further if per_structure else ())], files


def _lines(asked: "Protocol", records: "Sequence[Record]", files: "Mapping[str, str]") -> "Iterator[str]":
    """Below the tables: what is not as in the paper, and what is where."""
    from lowshot.benchmarking.document import what_differs

    for sentence in what_differs(asked, records) if records else asked.differs:
        yield f"{'not as published' if asked.paper else 'note'}: {sentence}"
    yield from (f"{what}: {path}" for what, path in files.items())


def _pictured(wanted: "Sequence[Cell]", options: "Mapping[str, str | None]") -> "dict[str, list[Cell]]":
    from lowshot.benchmarking.cell import cells_to_picture

    return {option: cells_to_picture(wanted, _words(text) or (), option) for option, text in options.items()}


def _pictures(
    pictured: "Mapping[str, Sequence[Cell]]", cases: "Cases", root: Path, how: "Machine", terminal: Terminal
) -> "tuple[list[Table], dict[str, str]]":
    from lowshot.benchmarking.correlated import picture_correlated
    from lowshot.benchmarking.embedding import picture_embeddings
    from lowshot.benchmarking.warped import picture_warped

    tables, files = picture_embeddings(pictured["--embedding"], cases, root, how, terminal.progress)
    for option, draw in (("--warped", picture_warped), ("--correlated", picture_correlated)):
        files |= draw(pictured[option], cases, root, how, terminal.progress)
    return tables, files


def _machine(
    asked: "Protocol",
    preset: str | None,
    steps: int | None,
    minutes: float | None,
    device: str,
    precision: Precision,
    threads: int | None,
) -> "Machine":
    from lowshot.benchmarking.compute import Machine
    from lowshot.training.run import Budget

    Budget(steps, minutes)
    told = steps is not None or minutes is not None
    return Machine(
        preset=preset or asked.preset,
        steps=steps if told else asked.steps,
        minutes=minutes if told else asked.minutes,
        device=device,
        precision=precision.value,
        threads=threads,
    )


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str | None) -> tuple[int, ...] | None:
    words = _words(text)
    if words is None:
        return None
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise SettingsError(f"--seeds: expected whole numbers, such as 0,1,2; got {text!r}") from None
