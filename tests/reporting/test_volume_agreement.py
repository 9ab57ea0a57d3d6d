import pytest

from lowshot.reporting.volume_agreement import volume_agreement

LIVER = [(11.0, 10.0), (23.0, 20.0), (32.0, 30.0)]  # differences 1, 3, 2: bias 2, deviation 1


def levels(panel):
    """Of horizontal lines."""
    heights = [line.get_ydata() for line in panel.lines if line.get_marker() == "None"]
    return [height[0] for height in heights if height[0] == height[-1]]


def test_bias_and_limits_by_hand():
    (panel,) = volume_agreement({"liver": LIVER}, "ml").axes
    assert levels(panel) == pytest.approx([0, 2, 2 - 1.96, 2 + 1.96])
    assert "bias +2 ml, n = 3" in panel.get_title()
    dots = panel.lines[-1]
    assert list(dots.get_xdata()) == [10.5, 21.5, 31]
    assert list(dots.get_ydata()) == [1, 3, 2]


def test_two_scans_have_no_limits():
    (panel,) = volume_agreement({"liver": LIVER[:2]}, "ml").axes
    assert levels(panel)[:2] == [0, 2]
    assert "limits" not in panel.get_title()


def test_axes_tell_the_unit():
    figure = volume_agreement({"liver": LIVER, "spleen": LIVER}, "voxels")
    assert len(figure.axes) == 2
    assert "(voxels)" in figure.get_supxlabel()
    assert "predicted − true" in figure.get_supylabel()
