"""How the preset ``compact`` was found: one change at a time, at equal numbers of patches, on the demo's phantoms.

    python benchmarks/compact.py [--patches 400] [--seeds 0]

One phantom is annotated, two others are segmented; mean Dice over their six structures. Results of finished rows are
printed as they come.
"""

import argparse
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice

import torch

import lowshot
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.study import DEMO
from lowshot.reporting.tables import Column, Table, to_markdown

ROWS: dict[str, dict[str, object]] = {
    "compact": {},
    "equal weight for every category (the paper's Eq. 5)": {"balance": 1.0},
    "hard example mining": {"mining": True},
    "both": {"balance": 1.0, "mining": True},
    "loss over all voxels": {"loss_share": 1.0},
    "four patches a step, half the steps": {"batch": 4},
    "no augmentation": {"augmentation": "none"},
}


def main() -> None:
    """Run all rows and print the table."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--patches", type=int, default=400)
    words.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = words.parse_args()
    example, *queries = islice(DEMO, 3)
    rows = tuple(_row(name, changes, example, queries, asked.patches, asked.seeds) for name, changes in ROWS.items())
    columns = Column("change", numeric=False), Column("steps", 0), Column("mean Dice"), Column("seconds of training", 0)
    where = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, seeds {asked.seeds}"
    text = f"{to_markdown(Table(columns, rows))}\nMade by `{shlex.join(['python', *sys.argv])}`: {where}.\n"
    sys.stdout.write(text)


def _row(
    name: str,
    changes: dict[str, object],
    example: LabelledScan,
    queries: Sequence[LabelledScan],
    patches: int,
    seeds: Sequence[int],
) -> tuple[str | float, ...]:
    steps = patches // int(changes.get("batch", 2))  # type: ignore[call-overload]
    task = lowshot.LowShotTask(example.truth.names, [example])
    dice, seconds = [], []
    for seed in seeds:
        start = time.perf_counter()
        fitted = lowshot.fit(task, steps=steps, settings=changes, seed=seed)
        seconds.append(time.perf_counter() - start)
        for query in queries:
            found = evaluate_case(lowshot.segment(fitted, query.scan).segmentation, query, query.scan.name)
            dice.append(found.mean_dice)
    row = name, steps, statistics.mean(dice), statistics.mean(seconds)
    sys.stderr.write(f"{row}\n")
    return row


if __name__ == "__main__":
    main()
