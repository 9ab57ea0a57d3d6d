import numpy as np
import pytest

from lowshot.reporting.correlated import CorrelatedMaps, MarkedSlice, Stage, as_seen, picture


def marked(title="query", affine=None, size=(16, 12)):
    random = np.random.default_rng(0)
    inside = np.zeros(size, np.float32)
    inside[2:6, 3:9] = 1
    image = random.random(size, dtype=np.float32)
    return MarkedSlice(title, image, inside, np.diag([1.5, 3.0, 4.0, 1.0]) if affine is None else affine)


def maps(system="a"):
    random = np.random.default_rng(1)
    stages = [Stage(*random.random((2, *size), dtype=np.float32)) for size in ((8, 6), (4, 3))]
    return CorrelatedMaps(system, marked(), marked("example"), stages)


def panels(figure):
    """Without the colour bars."""
    return [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]


def test_two_rows_for_each_system_with_the_slices_in_front():
    figure = picture([maps("a"), maps("b")])
    titles = [panel.get_title() for panel in panels(figure)]
    assert len(titles) == 16
    assert titles[0::4] == ["a\nquery", "example", "b\nquery", "example"]
    assert titles[1:4] == ["stage 1, before (8 × 6)", "after", "what it adds"]
    assert titles[5] == "stage 2, before (4 × 3)"


def test_before_and_after_share_their_colours_and_what_is_added_is_their_difference():
    shown = maps()
    stage = shown.stages[0]
    before, after, added = (panel.images[0] for panel in panels(picture([shown]))[1:4])
    assert before.get_clim() == after.get_clim() == pytest.approx((min(map(np.min, stage)), max(map(np.max, stage))))
    np.testing.assert_allclose(added.get_array(), as_seen(stage.after - stage.before, shown.query.affine))
    low, high = added.get_clim()
    assert -low == high == pytest.approx(np.abs(stage.after - stage.before).max())


def test_maps_lie_upon_the_slice_with_pixels_as_large_as_they_are():
    query, before, *_ = panels(picture([maps()]))
    assert query.images[0].get_extent() == before.images[0].get_extent() == [-0.5, 15.5, 11.5, -0.5]
    assert query.get_aspect() == before.get_aspect() == pytest.approx(2.0)
    outlines = [np.concatenate(panel.collections[0].get_paths()[0].vertices[None]) for panel in (query, before)]
    np.testing.assert_array_equal(*outlines)
    assert outlines[0].min(axis=0).tolist() == [9.5, 2.5]  # right on the left, front on top
    assert outlines[0].max(axis=0).tolist() == [13.5, 8.5]


def test_a_slice_is_seen_as_the_patient_lies_however_it_is_stored():
    plane = np.arange(6.0).reshape(2, 3)
    seen = as_seen(plane, np.eye(4))
    assert seen.tolist() == [[5, 2], [4, 1], [3, 0]]
    for axes in ((0,), (1,), (0, 1)):
        affine = np.eye(4)
        for axis in axes:
            affine[axis, axis] = -1
        np.testing.assert_array_equal(as_seen(np.flip(plane, axes), affine), seen)


def test_a_slice_that_shows_nothing_has_no_outline():
    empty = MarkedSlice("query", np.ones((8, 8)), np.zeros((8, 8)), np.eye(4))
    shown = maps()
    figure = picture([CorrelatedMaps("a", empty, shown.example, shown.stages)])
    assert not panels(figure)[0].collections
    assert panels(figure)[4].collections
