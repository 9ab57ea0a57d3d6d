import numpy as np
from matplotlib.figure import Figure

from lowshot.reporting.outlines import outline, outline_all
from lowshot.reporting.palette import colour


def lines(draw, *given):
    """Colour and vertices of each closed line, in pixels."""
    panel = Figure().add_subplot()
    draw(panel, *given)
    return [
        (drawn.get_edgecolor()[0], path.vertices)
        for drawn in panel.collections
        for path in drawn.get_paths()
        if len(path.vertices)
    ]


def test_each_structure_has_a_line_in_its_colour_half_a_pixel_around_it():
    labels = np.zeros((8, 9), np.int16)
    labels[2:5, 3:7], labels[6, 1] = 1, 2
    first, second = lines(outline_all, labels)
    assert np.allclose([first[1].min(0), first[1].max(0)], [(2.5, 1.5), (6.5, 4.5)])
    assert np.allclose([second[1].min(0), second[1].max(0)], [(0.5, 5.5), (1.5, 6.5)])
    for number, (drawn, _) in enumerate((first, second), start=1):
        assert tuple(np.round(drawn[:3] * 255).astype(int)) == tuple(bytes.fromhex(colour(number)[1:]))


def test_where_the_border_cuts_a_structure_its_line_is_closed():
    ((_, vertices),) = lines(outline, np.ones((4, 5), bool), 1)
    assert np.allclose([vertices.min(0), vertices.max(0)], [(-0.5, -0.5), (4.5, 3.5)])
    assert np.allclose(vertices[0], vertices[-1])


def test_of_shares_the_line_is_at_a_half():
    ramp = np.tile(np.linspace(0, 1, 11), (5, 1))
    ((_, vertices),) = lines(outline, ramp, 1)
    assert np.isclose(vertices[:, 0].min(), 5)
