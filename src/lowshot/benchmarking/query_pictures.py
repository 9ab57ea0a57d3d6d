"""The best, the median and the worst query of each system, from the predictions that its cells keep."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import Record, folder_of
from lowshot.benchmarking.figures import as_picture
from lowshot.benchmarking.results import rows
from lowshot.benchmarking.selection import by_system, of_fold
from lowshot.errors import InputError
from lowshot.evaluation.statistics import Summary
from lowshot.imaging.label_maps import read_labels
from lowshot.progress import Progress
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.query_pictures import SegmentedSlice, query_pictures
from lowshot.reporting.tables_page import Picture

CAPTION = (
    "The query with the highest, the middle and the lowest Dice, as the mean over structures, of each row's first "
    "seed, in the axial slice where most Dice is lost. Colour: prediction; outlines: truth. The patient's right is on "
    "the left."
)


def picture_queries(
    protocol: Protocol, records: Sequence[Record], cases: Cases, root: Path, progress: Progress
) -> list[Picture]:
    """One picture of the first fold that has results; a system whose predictions are gone is told and left out."""
    fold = next(fold for fold in protocol.folds if any(r["fold"]["name"] == fold.name for r in records))
    here = of_fold(records, fold.name)
    shown = []
    with progress.task("pictures of queries", len(present := list(by_system(protocol, here).items()))) as task:
        for name, own in present:
            record = min(own, key=lambda each: int(each["seed"]))
            try:
                shown.append((name, [_slice(record, *each, cases, root, fold.new) for each in telling_cases(record)]))
            except InputError as error:
                progress.warn(f"{name}: not in the picture of queries: {error}")
            task.advance()
    shown = [(name, slices) for name, slices in shown if slices]
    if not shown:
        return []
    title = f"Best, median and worst query, {fold.name}"
    return [as_picture("queries.png", title, CAPTION, query_pictures(shown))]


def telling_cases(record: Record) -> list[tuple[str, str, float]]:
    """What it is, case and mean Dice of the best, the median and the worst query, best first.

    The median is the upper one of two; of fewer than three queries the same one is shown several times. Queries whose
    every structure is left out are no candidates.
    """
    scores = {
        case["case"]: Summary.of([row.dice for row in rows([{**record, "cases": [case]}])]) for case in record["cases"]
    }
    order = sorted((found.mean, case) for case, found in scores.items() if found.n)
    if not order:
        return []
    chosen = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    return [(what, case, dice) for what, (dice, case) in chosen.items()]


def _slice(record: Record, what: str, case: str, dice: float, cases: Cases, root: Path, new: str) -> SegmentedSlice:
    query = cases.query(case, new)
    labels, _ = read_labels(
        folder_of(root, record) / "predictions" / f"{case}.nii.gz",
        cases.names,
    )
    title = f"{what}: {case}, Dice {dice:.3f}"
    return SegmentedSlice.of(title, query, replace(labels, affine=query.truth.affine))
