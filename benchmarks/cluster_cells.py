"""Cells of a benchmark on a local Ray cluster: what one costs that computes nothing, and two workers against one.

    python benchmarks/cluster_cells.py [--cells 6] [--steps 150] [--empty 20]

An empty cell trains nothing and copies a mask to one small scan, without registration; its cost is the time between
the ends of two of them on one warm worker. Two workers with one thread each are compared with one, on the same cells,
from the start of the cluster to the end of the last cell; and without what a cluster takes to start.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.compute import Machine
from lowshot.benchmarking.runner import cells, run
from lowshot.cluster import Cluster, on_cluster
from lowshot.phantoms.study import Study
from lowshot.progress import Silent
from lowshot.protocols.protocol import Fold, Protocol, System
from lowshot.reporting.tables import Column, Table, to_markdown

SMALL = {"widths": (8, 16), "convolutions": (1, 1), "batch": 2, "patch_voxels": 32**3}
PROTOCOL = Protocol(
    name="cells",
    summary="Small scans of the abdomen",
    folds=(Fold("subject-01", ("subject-01",), ("subject-02",)),),
    systems={
        "copied-mask": System(method="copied-mask", options={"pairing": "chunks"}),
        "unet": System(method="unet", settings=SMALL),
    },
    reference="unet",
    study=Study(shape=(48, 40, 32), spacing_mm=(8.0, 8.0, 8.0), subjects=2, variation=0.5, structures=("liver",)),
)


def seconds_of(system: str, number: int, steps: int | None, cluster: Cluster | None, folder: Path) -> list[float]:
    """When each of so many cells, of as many seeds, had ended, in seconds since the beginning."""
    cases, ends = cases_of(PROTOCOL, None, folder / "cases", Silent()), list[float]()
    asked = cells(PROTOCOL, PROTOCOL.chosen((system,)), PROTOCOL.folds, range(number))
    how = Machine(preset="compact", steps=steps, device="cpu", precision="float32", threads=1)
    start = time.perf_counter()
    _, failed = run(asked, cases, folder / "results", how, restart=False, progress=_Ends(ends, start), cluster=cluster)
    if failed:
        raise SystemExit(failed[0])
    return ends


class _Ends(Silent):
    """Notes when cells end."""

    def __init__(self, ends: list[float], start: float) -> None:
        self._ends, self._start = ends, start

    def note(self, message: str) -> None:
        if message.startswith("ended"):
            self._ends.append(time.perf_counter() - self._start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--empty", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = seconds_of("copied-mask", asked.empty, None, Cluster(workers=1), folder / "empty")
        ends = {
            workers: seconds_of("unet", asked.cells, asked.steps, Cluster(workers=workers), folder / str(workers))
            for workers in (1, 2)
        }
        starts = {workers: _start(workers, folder) for workers in (1, 2)}
    one, two = (ends[workers][-1] for workers in (1, 2))
    rows = (
        ("an empty cell on a warm worker (median)", float(np.median(np.diff(empty)))),
        ("starting a cluster, and its first piece of work", starts[1]),
        (f"{asked.cells} cells of {asked.steps} steps, one worker", one),
        ("the same, two workers", two),
        ("times as fast", one / two),
        ("times as fast, without starting", (one - starts[1]) / (two - starts[2])),
    )
    print(to_markdown(Table((Column("what", numeric=False), Column("seconds", 2)), rows)))


def _start(workers: int, folder: Path) -> float:
    start = time.perf_counter()
    list(on_cluster(abs, range(workers), Cluster(workers=workers), folder))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
