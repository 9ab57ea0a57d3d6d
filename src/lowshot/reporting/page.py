"""One self-contained HTML page of an evaluation: readable in a hospital without a network, and printable."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lowshot.errors import InputError
from lowshot.evaluation.comparable import with_blank_scan
from lowshot.evaluation.definitions import DEFINITIONS
from lowshot.evaluation.scores import CaseScores, Evaluation
from lowshot.evaluation.summary import summarise, units
from lowshot.imaging.scan import LabelledScan
from lowshot.reporting.figures import Overlay, overlays
from lowshot.reporting.findings import findings
from lowshot.reporting.html import environment
from lowshot.reporting.palette import colour
from lowshot.reporting.scatter import expectation_chart, volume_charts
from lowshot.reporting.score_tables import case_table, cases_table, summary_table
from lowshot.reporting.strips import dice_chart, hd95_chart
from lowshot.reporting.tables import Table
from lowshot.wording import counted

PICTURED_CASES = 20
"""Only the worst cases get pictures and a table of their own, so that the page stays a few megabytes."""


@dataclass(frozen=True)
class CaseSection:
    """What the page shows of one of the worst cases."""

    case: str
    mean_dice: str
    table: Table
    colours: tuple[str, ...]
    """One for each row of the table, as in the pictures."""
    overlays: tuple[Overlay, ...]
    notes: tuple[str, ...]


def evaluation_page(evaluation: Evaluation, about: Mapping[str, Any], pictured: int = PICTURED_CASES) -> str:
    """HTML of the whole evaluation, worst cases first.

    Args:
        evaluation: its pairs are read again, one at a time, for the pictures.
        about: what made it (command, model, versions), plain JSON values, shown at the end.
        pictured: how many cases, from the worst that have a prediction, get pictures.
    """
    templates = environment()
    templates.filters["counted"] = counted
    worst_first = evaluation.worst_first()
    predicted = [case for case in worst_first if case.case not in evaluation.missing]
    shown = predicted[:pictured]
    sections = [_section(evaluation, case) for case in shown]
    return templates.get_template("page.html").render(
        evaluation=evaluation,
        findings=findings(evaluation),
        both_empty=summarise(evaluation)[-1].both_empty,
        units=units(evaluation.scores),
        strip_charts=[chart for chart in (dice_chart(evaluation), hd95_chart(evaluation)) if chart],
        volumes=volume_charts(evaluation),
        expectation=expectation_chart(evaluation),
        summary=summary_table(evaluation),
        cases=cases_table(evaluation),
        anchors={section.case: f"case-{number}" for number, section in enumerate(sections, start=1)},
        sections=sections,
        left_out=len(predicted) - len(shown),
        no_scans=not any(overlay.scan for section in sections for overlay in section.overlays),
        images_given="images" in about,
        other_notes=[(case.case, case.notes) for case in worst_first if case.notes and case not in shown],
        definitions=DEFINITIONS,
        about=list(_settings(about)),
    )


def _section(evaluation: Evaluation, case: CaseScores) -> CaseSection:
    pictures: list[Overlay] = []
    colours, notes = ("",) * len(case.scores), case.notes
    try:
        pair = evaluation.pairs[case.position]
        truth = pair.truth if isinstance(pair.truth, LabelledScan) else with_blank_scan(pair.truth, pair.case)
        pictures = overlays(truth, pair.prediction)
        colours = tuple(colour(truth.truth.names.index(score.structure)) for score in case.scores)
    except InputError as error:  # the files were there when they were scored
        notes = (*notes, f"no picture: {error}")
    mean_dice = "not defined" if math.isnan(case.mean_dice) else f"{case.mean_dice:.3f}"
    return CaseSection(case.case, mean_dice, case_table(case), colours, tuple(pictures), notes)


def _settings(about: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every setting; those within others as ``model: seed``."""
    for key, value in about.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            yield from _settings(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        else:
            yield name, value if isinstance(value, str) else json.dumps(value)
