"""How long ``lowshot adapt`` and ``lowshot segment`` take, whole processes of their own, and their peak memory.

    python benchmarks/new_organ.py [--threads 2] [--methods gcn-de,apscl]

Scans are phantoms of abdominal MR with 256×256×37 voxels. Every method that learns from a base is trained for two steps
of its preset ``compact``: how well it segments has no part in it. Segmenting is of the whole volume, as a user does it.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lowshot import catalogue
from lowshot.phantoms.study import Study
from lowshot.phantoms.study_folder import write_study
from lowshot.reporting.tables import Column, Table, to_markdown

SHAPE = (256, 256, 37)
TRAINS_NOTHING = "copied-mask"
OTHERS, NEW = ("liver", "spleen", "left kidney"), ("right kidney",)


def measured(*command: str | Path, threads: int) -> tuple[float, float]:
    """Seconds on the clock and gigabytes at the peak of a command; ends the program where the command fails."""
    words = [sys.executable, "-m", "lowshot", *map(str, command)]
    start = time.perf_counter()
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=surroundings)  # noqa: S603 (our own command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{shlex.join(words)}: failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--threads", type=int, default=2)
    every = [name for name, entry in catalogue.CATALOGUE.items() if "base" in entry.uses and name != TRAINS_NOTHING]
    words.add_argument("--methods", default=",".join(every))
    asked = words.parse_args()
    threads = ("--threads", str(asked.threads))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(Study(anatomy="abdomen-mr", subjects=1, shape=SHAPE, structures=OTHERS), folder / "base")
        write_study(Study(anatomy="abdomen-mr", subjects=2, seed=1, shape=SHAPE, structures=NEW), folder / "new")
        example = [folder / "new" / kind / "subject-01.nii.gz" for kind in ("images", "labels")]
        query = folder / "new" / "images" / "subject-02.nii.gz"
        for method in asked.methods.split(","):
            base, model = folder / f"{method}.safetensors", folder / f"{method}-new.safetensors"
            measured("fit", "--method", method, "--base", folder / "base", "--steps", "2", "-o", base, threads=2)
            costs = [
                measured("adapt", base, *example, "-o", model, *threads, threads=asked.threads),
                measured("segment", model, query, "-o", folder / method, *threads, threads=asked.threads),
            ]
            (first, one), (second, other) = costs
            rows.append((method, first, second, first + second, max(one, other)))
            print(*rows[-1], file=sys.stderr)
    columns = (
        *(Column("method", numeric=False), Column("adapt (s)", 1), Column("segment (s)", 1)),
        *(Column("both (s)", 1), Column("peak (GB)", 2)),
    )
    print(f"`{shlex.join(['python', *sys.argv])}`\n\n{to_markdown(Table(columns, tuple(rows)))}")


if __name__ == "__main__":
    main()
