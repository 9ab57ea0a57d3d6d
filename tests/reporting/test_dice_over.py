from lowshot.reporting.dice_over import MARKERS, Reached, dice_over

SYSTEMS = [
    ("unet", [Reached(1.0, 0.5, 0.1), Reached(3.0, 0.7, float("nan"))]),
    ("mre-net", [Reached(1.0, 0.8, 0.02)]),
]


def test_points_stand_at_their_costs_with_units_on_the_axes():
    (panel,) = dice_over(SYSTEMS, "training (minutes)").axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("training (minutes)", "Dice")
    unet, mre_net = (container.lines[0] for container in panel.containers)
    assert (list(unet.get_xdata()), list(unet.get_ydata())) == ([1, 3], [0.5, 0.7])
    assert list(mre_net.get_ydata()) == [0.8]
    assert panel.get_xlim()[0] == 0


def test_whole_costs_have_a_tick_each():
    (panel,) = dice_over(SYSTEMS, "annotated scans", whole=True).axes
    assert list(panel.get_xticks()) == [1, 3]


def test_systems_differ_in_shape_and_not_in_colour_alone():
    many = [(f"row {number}", [Reached(float(number), 0.5, 0.1)]) for number in range(len(MARKERS))]
    (panel,) = dice_over(many, "training (minutes)").axes
    assert len({container.lines[0].get_marker() for container in panel.containers}) == len(MARKERS)


def test_training_that_takes_no_time_can_be_drawn():
    (panel,) = dice_over([("copied mask", [Reached(0.0, 0.5, 0.1)])], "training (minutes)").axes
    assert panel.get_xlim() == (0, 1)
