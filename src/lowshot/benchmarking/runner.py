"""All cells of a benchmark: those that are finished are skipped, those that another process computes are left to it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from lowshot.atomic import stops_all_writing
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import Cell, Record
from lowshot.benchmarking.compute import Machine, compute
from lowshot.benchmarking.results import collect, of_the_present
from lowshot.benchmarking.selection import by_budget
from lowshot.cluster import Cluster, on_cluster
from lowshot.errors import LowshotError
from lowshot.progress import Lines, Progress
from lowshot.protocols.protocol import Fold, Protocol, System


def cells(
    protocol: Protocol, systems: Mapping[str, System], folds: Sequence[Fold], seeds: Sequence[int] | None
) -> list[Cell]:
    """Every cell, first seeds first, so that a table is complete early and becomes certain later.

    Where all folds are asked for, rows that are meant for some of them have cells on these alone.
    """
    every = len(folds) == len(protocol.folds)
    asked = [
        Cell(protocol, name, system, fold, seed)
        for name, system in systems.items()
        for fold in folds
        if not every or system.runs_on(fold.name)
        for seed in (system.seeds if seeds is None else seeds)
    ]
    order = {seed: at for at, seed in enumerate(dict.fromkeys(cell.seed for cell in asked))}
    return sorted(asked, key=lambda cell: order[cell.seed])


def run(
    asked: Sequence[Cell],
    cases: Cases,
    root: Path,
    how: Machine,
    *,
    restart: bool,
    progress: Progress,
    cluster: Cluster | None = None,
) -> tuple[list[Record], list[str]]:
    """Compute what is not finished: here, one cell after the other, or on the workers of a cluster.

    Returns all of the protocol's present cells in ``root`` that have this preset and budget, and one message for each
    cell that failed now.
    Several processes may run on one folder: each cell is computed by one of them.
    """
    records: list[Record] = []
    failed: list[str] = []
    work = _Work(cases, root, how, restart)
    with progress.task("cells", len(asked)) as task:
        outcomes = _here(work, asked, progress) if cluster is None else _on_cluster(work, asked, cluster, progress)
        for number, failures in outcomes:
            for failure in failures:
                progress.warn(failure)
            failed += failures
            records = collect(root)  # each time: a run that is ended leaves what it has finished
            task.advance(number)
    if not asked:
        return [], failed
    present = of_the_present(asked[0].protocol, records, how.preset)
    return by_budget(present).get((how.steps, how.minutes), []), failed


@dataclass(frozen=True)
class _Work:
    """What all cells of a benchmark have in common."""

    cases: Cases
    root: Path
    how: Machine
    restart: bool

    def compute(self, cell: Cell, progress: Progress) -> str | None:
        """One cell, or why it failed."""
        try:
            with _alone(cell, self.root, self.how):
                progress.note(f"cell: {cell.title}")
                compute(cell, self.cases, self.root, self.how, restart=self.restart, progress=progress)
        except Timeout:
            progress.note(f"{cell.title}: another process is at it")
        except Exception as error:  # whatever it is, hours of other cells must not be lost to it
            if stops_all_writing(error):
                raise
            message = str(error) if isinstance(error, LowshotError) else f"{type(error).__name__}: {error}"
            return f"{cell.title}: {message}"
        return None


def _here(work: _Work, asked: Sequence[Cell], progress: Progress) -> Iterator[tuple[int, list[str]]]:
    for cell in asked:
        failure = work.compute(cell, progress)
        yield 1, [] if failure is None else [failure]


def _on_cluster(
    work: _Work, asked: Sequence[Cell], cluster: Cluster, progress: Progress
) -> Iterator[tuple[int, list[str]]]:
    """Cells that would wait for each other, as one trains the model of the next, go to one worker in their order."""
    work.root.mkdir(parents=True, exist_ok=True)
    together: dict[str, list[Cell]] = defaultdict(list)
    for cell in asked:
        together[_lock(cell, work.how)].append(cell)
    for job, outcome in on_cluster(partial(_on_worker, work), list(together.values()), cluster, work.root):
        progress.note(f"ended: {'; '.join(cell.title for cell in job)}")
        yield len(job), [f"{cell.title}: {outcome}" for cell in job] if isinstance(outcome, LowshotError) else outcome


def _on_worker(work: _Work, job: Sequence[Cell]) -> list[str]:
    """Why cells failed; how far they are is told in ``logs/`` beside the cells, as a worker has no terminal."""
    log = work.root / "logs" / f"{_lock(job[0], work.how)}.txt"
    log.parent.mkdir(exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        failures = [work.compute(cell, Lines(stream)) for cell in job]
    return [failure for failure in failures if failure is not None]


@contextmanager
def _alone(cell: Cell, root: Path, how: Machine) -> Iterator[None]:
    """Nobody else trains what the cell needs; ends with the process that holds it, however that ends.

    The training's own folder is locked whatever the budget: somebody may ask for the same cell in steps and in minutes.
    """
    locks = root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for name in dict.fromkeys((_lock(cell, how), _name(cell.trained))):
            held.enter_context(FileLock(locks / name, timeout=0))
        yield


def _lock(cell: Cell, how: Machine) -> str:
    """Of the training; where minutes become steps, of all that take theirs from the row's first seed."""
    return _name(cell.trained) if how.minutes is None else _name(cell.trained.paced).rpartition("--")[0]


def _name(cell: Cell) -> str:
    return "--".join(cell.folder(Path()).parts[-3:])
