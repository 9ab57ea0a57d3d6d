"""Panels in rows."""

import pytest

pytest.importorskip("matplotlib")

from lowshot.reporting.panels import figure_of_panels


@pytest.mark.parametrize(
    ("count", "rows", "columns", "inches"), [(1, 1, 1, (3, 2.5)), (3, 1, 3, (7, 2.5)), (5, 2, 3, (7, 4.5))]
)
def test_as_many_as_asked_for_in_as_few_rows_as_possible(count, rows, columns, inches):
    figure, panels = figure_of_panels(count, 3, (2.0, 2.0), (1.0, 0.5))
    assert len(panels) == len(figure.axes) == count
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == (rows, columns)
    assert tuple(figure.get_size_inches()) == pytest.approx(inches)


def test_of_shared_axes_one_limit_holds_for_all():
    _, (first, second) = figure_of_panels(2, 2, (2.0, 2.0), sharex=True)
    first.set_xlim(0, 7)
    assert second.get_xlim() == (0, 7)
