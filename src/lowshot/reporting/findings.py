"""What a reader should know first, in plain sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lowshot.evaluation.scores import CaseScores, Evaluation
from lowshot.evaluation.statistics import Summary
from lowshot.evaluation.summary import StructureSummary, quality_correlation, summarise, units
from lowshot.evaluation.triage import Triage, triage
from lowshot.reporting.tables import NOTHING, mean_and_spread
from lowshot.wording import counted, listed

FIRST = 5
"""How many of the worst are named at the top."""
MOST_NAMES = 12
"""Of what is missing; the tables name all."""


@dataclass(frozen=True)
class LookFirst:
    """A case that needs a look, and why."""

    case: str
    why: str


@dataclass(frozen=True)
class Findings:
    """The top of the report."""

    figures: tuple[tuple[str, str], ...]
    """Name and value of the few figures that matter most."""
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    """What is missing, failed, or not found at all."""
    look_first: tuple[LookFirst, ...]
    """The worst cases that have a prediction."""


def findings(evaluation: Evaluation) -> Findings:
    """What the scores come to."""
    *structures, overall = summarise(evaluation)
    distance, _ = units(evaluation.scores)
    found = [score.hd95 for score in evaluation.scores if score.empty == "none"]
    typical = f"{median(found):.1f}" if found and distance != "mixed" else NOTHING
    figures = (
        ("scan" if len(evaluation.cases) == 1 else "scans", str(len(evaluation.cases))),
        ("structure" if len(structures) == 1 else "structures", str(len(structures))),
        ("mean Dice", mean_and_spread(overall.dice.mean, overall.dice.std, 2)),
        (f"median HD95 where found, {distance}", typical),
    )
    predicted = [case for case in evaluation.worst_first() if case.case not in evaluation.missing]
    return Findings(
        figures,
        (*_of_structures(structures), *_of_expectation(evaluation)),
        tuple(_warnings(evaluation)),
        tuple(LookFirst(case.case, _why(case)) for case in predicted[:FIRST] if not math.isnan(case.mean_dice)),
    )


def _of_structures(structures: Sequence[StructureSummary]) -> list[str]:
    scored = sorted((each for each in structures if each.dice.n), key=lambda each: each.dice.mean)
    if len(scored) < 2:
        return []
    worst, best = scored[: 1 + len(scored) // 4][:3], scored[-1]
    named = ", ".join(f"{each.structure} ({each.dice.mean:.2f})" for each in worst)
    return [f"Best matched: {best.structure} (mean Dice {best.dice.mean:.2f}). Least: {named}."]


def _of_expectation(evaluation: Evaluation) -> list[str]:
    """Whether the model knew where it was wrong."""
    correlation, pairs = quality_correlation(evaluation.scores)
    if not pairs:
        return []
    known = "not defined" if math.isnan(correlation) else f"{correlation:.2f}"
    sentences = [f"The Dice that the model itself expected and the true one: rank correlation {known} ({pairs} pairs)."]
    found = triage(evaluation.cases)
    if found is not None:
        sure = "too high" if found.optimism > 0 else "too low"
        sentences.append(f"{_of_checking(found)}Its expectation was {abs(found.optimism):.2f} {sure} on average.")
    return sentences


def _of_checking(found: Triage) -> str:
    """Nothing where scans tie for the worst: which of them are the worst would be a matter of their order."""
    if found.found is None:
        return ""
    if found.checked == 1:
        hit = "would" if found.found else "would not"
        return f"Checking only the one of {found.scans} scans that it expected least of {hit} have found the worst. "
    return (
        f"Checking only the {found.checked} of {found.scans} scans that it expected least of would have found "
        f"{found.found} of the {found.checked} worst. "
    )


def _warnings(evaluation: Evaluation) -> list[str]:
    warnings = [f"Not scored, and in no figure: {message}" for message in evaluation.failed]
    missing = [case for case in evaluation.cases if case.case in evaluation.missing]
    of_something = [case.case for case in missing if not math.isnan(case.mean_dice)]
    of_nothing = [case.case for case in missing if math.isnan(case.mean_dice)]
    if of_something:
        without = Summary.of([case.mean_dice for case in evaluation.cases if case.case not in evaluation.missing]).mean
        others = "" if math.isnan(without) else f" Over the other scans the mean Dice is {without:.2f}."
        warnings.append(
            f"No prediction for {counted(len(of_something), 'scan')}, each counting as Dice 0: "
            f"{listed(of_something, MOST_NAMES)}.{others}"
        )
    if of_nothing:
        warnings.append(
            f"No prediction for {counted(len(of_nothing), 'scan')} whose truth is empty, too, so that nothing of it "
            f"counts: {listed(of_nothing, MOST_NAMES)}."
        )
    predicted = [score for score in evaluation.scores if not score.missing]
    for empty, what in (("prediction", "Not found at all"), ("truth", "Predicted where the truth has none")):
        scores = [score for score in predicted if score.empty == empty]
        named = [f"{score.structure} in {score.case}" for score in scores]
        if scores:
            warnings.append(
                f"{what}, {counted(len(scores), 'time')}, each counting as Dice 0: {listed(named, MOST_NAMES)}."
            )
    return warnings


def _why(case: CaseScores) -> str:
    lowest = sorted((score for score in case.scores if not math.isnan(score.dice)), key=lambda score: score.dice)
    if len(lowest) == 1:
        return f"Dice {case.mean_dice:.2f}"
    named = ", ".join(f"{score.structure} {score.dice:.2f}" for score in lowest[:3])
    return f"mean Dice {case.mean_dice:.2f}; lowest: {named}"
