"""One self-contained HTML page of an evaluation: readable in a hospital without a network, and printable."""

import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from lowshot.errors import InputError
from lowshot.evaluation.comparable import with_blank_scan
from lowshot.evaluation.definitions import DEFINITIONS
from lowshot.evaluation.scores import CaseScores, Evaluation
from lowshot.evaluation.summary import quality_correlation, summarise
from lowshot.imaging.scan import LabelledScan
from lowshot.reporting.figures import Picture, colour, overlays
from lowshot.reporting.score_tables import case_table, cases_table, summary_table
from lowshot.reporting.tables import Table, mean_and_spread

PICTURED_CASES = 20
"""Only the worst cases get pictures, so that the page stays a few megabytes."""


@dataclass(frozen=True)
class CaseSection:
    """What the page shows of one case."""

    case: str
    mean_dice: str
    table: Table | None
    """None where there was no prediction: every line would say the same."""
    colours: tuple[str, ...]
    """One for each row of the table, as in the pictures."""
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


def evaluation_page(evaluation: Evaluation, about: Mapping[str, str], pictured: int = PICTURED_CASES) -> str:
    """HTML of the whole evaluation, worst cases first.

    Args:
        evaluation: its pairs are read again, one at a time, for the pictures.
        about: what made it (command, model, versions), shown as it is at the end.
        pictured: how many cases, from the worst that have a prediction, get pictures.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lowshot.reporting", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["data_uri"] = _data_uri
    overall = summarise(evaluation)[-1]
    correlation, estimates = quality_correlation(evaluation.scores)
    return environment.get_template("page.html").render(
        evaluation=evaluation,
        mean_dice=mean_and_spread(overall.dice.mean, overall.dice.std),
        overall=overall,
        summary=summary_table(evaluation),
        cases=cases_table(evaluation),
        sections=_sections(evaluation, pictured),
        pictured=pictured,
        correlation=correlation,
        estimates=estimates,
        definitions=DEFINITIONS,
        about=about,
    )


def _sections(evaluation: Evaluation, pictured: int) -> list[CaseSection]:
    worst_first = evaluation.worst_first()
    predicted = [case.case for case in worst_first if case.case not in evaluation.missing]
    return [_section(evaluation, case, with_pictures=case.case in predicted[:pictured]) for case in worst_first]


def _section(evaluation: Evaluation, case: CaseScores, with_pictures: bool) -> CaseSection:
    pictures: list[Picture] = []
    colours = ("",) * len(case.scores)
    notes = case.notes
    if with_pictures:
        try:
            pair = evaluation.pairs[case.position]
            truth = pair.truth if isinstance(pair.truth, LabelledScan) else with_blank_scan(pair.truth, pair.case)
            pictures = overlays(truth, pair.prediction, format="jpeg")
            colours = tuple(colour(truth.truth.names.index(score.structure)) for score in case.scores)
        except InputError as error:  # the files were there when they were scored
            notes = (*notes, f"no picture: {error}")
    shown = "not defined" if math.isnan(case.mean_dice) else f"{case.mean_dice:.3f}"
    table = None if case.case in evaluation.missing else case_table(case)
    return CaseSection(case.case, shown, table, colours, tuple(pictures), notes)


def _data_uri(picture: Picture) -> str:
    return f"data:image/{picture.format};base64,{b64encode(picture.data).decode()}"
