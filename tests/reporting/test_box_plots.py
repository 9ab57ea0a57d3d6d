import numpy as np
import pytest

from lowshot.reporting.box_plots import dice_boxes

SCORES = {
    "liver": {"unet": [0.5, 0.6, 0.9], "mre-net": [0.8, float("nan"), 0.9]},
    "spleen": {"mre-net": [0.7]},
}


def test_each_structure_has_a_panel_and_each_system_a_line():
    panels = dice_boxes(SCORES).axes
    assert [panel.get_title() for panel in panels] == ["liver", "spleen"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["unet", "mre-net"]
    assert all(panel.get_xlabel() == "Dice" for panel in panels)


def test_boxes_are_of_the_defined_scores_alone():
    liver, spleen = dice_boxes(SCORES).axes
    assert (len(liver.patches), len(spleen.patches)) == (2, 1)
    edges = liver.patches[1].get_path().vertices[:, 0]
    assert (edges.min(), edges.max()) == pytest.approx((0.825, 0.875))  # quartiles of 0.8 and 0.9
    dots = [line.get_xdata() for line in liver.lines if line.get_marker() == "o"]
    assert [len(each) for each in dots] == [3, 2]


def test_a_system_keeps_its_place_where_it_has_no_score():
    _, spleen = dice_boxes(SCORES).axes
    (dots,) = [line for line in spleen.lines if line.get_marker() == "o"]
    assert np.allclose(dots.get_ydata(), 1)
