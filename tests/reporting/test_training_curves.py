from lowshot.reporting.training_curves import Curve, training_curves

CURVES = [
    Curve("warm-up", "loss", (10, 20), (1.0, 0.5)),
    Curve("training", "loss", (10, 20, 30), (0.5, 0.4, 0.3)),
    Curve("training", "metric", (10, 20, 30), (0.2, 0.1, 0.1)),
]


def test_stages_follow_each_other():
    (panel,) = training_curves({"mre-net": CURVES}).axes
    drawn = [list(line.get_xdata()) for line in panel.lines if line.get_linestyle() != ":"]
    assert drawn == [[10, 20], [30, 40, 50], [30, 40, 50]]
    assert [list(line.get_xdata()) for line in panel.lines if line.get_linestyle() == ":"] == [[20, 20]]


def test_a_term_has_one_colour_and_one_line_in_the_legend():
    (panel,) = training_curves({"mre-net": CURVES}).axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["loss", "metric"]
    first, _, second, metric = panel.lines
    assert first.get_color() == second.get_color() != metric.get_color()


def test_each_system_has_a_panel_with_named_axes():
    panels = training_curves({"mre-net": CURVES, "unet": CURVES[:1]}).axes
    assert [panel.get_title() for panel in panels] == ["mre-net", "unet"]
    assert {(panel.get_xlabel(), panel.get_ylabel()) for panel in panels} == {("step", "loss")}


def test_a_training_of_one_entry_is_a_dot():
    (panel,) = training_curves({"unet": [Curve("training", "loss", (3,), (1.0,))]}).axes
    assert panel.lines[0].get_marker() == "o"
