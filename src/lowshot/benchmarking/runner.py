"""All cells of a benchmark: those that are finished are skipped, those that another process computes are left to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from lowshot.atomic import stops_all_writing
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import Cell, Record
from lowshot.benchmarking.compute import Machine, compute
from lowshot.benchmarking.results import by_budget, collect, of_the_present
from lowshot.errors import LowshotError
from lowshot.progress import Progress
from lowshot.protocols.protocol import Fold, Protocol, System


def cells(
    protocol: Protocol, systems: Mapping[str, System], folds: Sequence[Fold], seeds: Sequence[int] | None
) -> list[Cell]:
    """Every cell, first seeds first, so that a table is complete early and becomes certain later."""
    asked = [
        Cell(protocol, name, system, fold, seed)
        for name, system in systems.items()
        for fold in folds
        for seed in (system.seeds if seeds is None else seeds)
    ]
    order = {seed: at for at, seed in enumerate(dict.fromkeys(cell.seed for cell in asked))}
    return sorted(asked, key=lambda cell: order[cell.seed])


def run(
    asked: Sequence[Cell], cases: Cases, root: Path, how: Machine, *, restart: bool, progress: Progress
) -> tuple[list[Record], list[str]]:
    """Compute what is not finished.

    Returns all of the protocol's present cells in ``root`` that have this preset and budget, and one message for each
    cell that failed now.
    Several processes may run on one folder: each cell is computed by one of them.
    """
    records: list[Record] = []
    failed: list[str] = []
    with progress.task("cells", len(asked)) as task:
        for cell in asked:
            try:
                with _alone(cell, root, how):
                    progress.note(f"cell: {cell.title}")
                    compute(cell, cases, root, how, restart=restart, progress=progress)
            except Timeout:
                progress.note(f"{cell.title}: another process is at it")
            except Exception as error:  # whatever it is, hours of other cells must not be lost to it
                if stops_all_writing(error):
                    raise
                message = str(error) if isinstance(error, LowshotError) else f"{type(error).__name__}: {error}"
                failed.append(f"{cell.title}: {message}")
                progress.warn(failed[-1])
            records = collect(root)  # each time: a run that is ended leaves what it has finished
            task.advance()
    if not asked:
        return [], failed
    present = of_the_present(asked[0].protocol, records, how.preset)
    return by_budget(present).get((how.steps, how.minutes), []), failed


def _alone(cell: Cell, root: Path, how: Machine) -> FileLock:
    """Ends with the process that holds it, however that ends.

    Where minutes become steps it is for all seeds of a row, as the first one decides for the others.
    """
    locks, (system, fold, seed) = root / "locks", cell.trained.folder(root).parts[-3:]
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / "--".join([system, fold, *([seed] if how.minutes is None else [])]), timeout=0)
