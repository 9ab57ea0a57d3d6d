import math

import numpy as np
import pytest

from lowshot.imaging.names import Names
from lowshot.reporting.embedding import (
    NEIGHBOURS,
    PER_STRUCTURE,
    EmbeddedVoxels,
    Separation,
    draw_voxels,
    flattened,
    picture,
    points_table,
    separation,
    separation_table,
)
from lowshot.reporting.palette import colour

NAMES = Names(("background", "liver", "spleen"), (0, 1, 2))


def voxels(spread=0.1, each=40, seed=0, system="a"):
    """Three structures around three orthogonal directions; lengths vary, which is to change nothing."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    vectors = np.eye(3, 8)[labels] + spread * random.normal(size=(3 * each, 8))
    lengths = random.uniform(0.1, 10, (3 * each, 1))
    return EmbeddedVoxels(system, vectors * lengths, labels, random.uniform(-9, 9, (3 * each, 3)))


def label_map():
    labels = np.zeros((20, 20, 20), np.int16)
    labels[:10, :10] = 1
    labels[15, 15, :5] = 2
    return labels, np.ones_like(labels, dtype=bool)


def test_equally_many_of_each_structure_are_drawn_and_all_of_a_small_one():
    labels, known = label_map()
    drawn = draw_voxels(labels, known)
    assert np.bincount(labels[tuple(drawn.T)]).tolist() == [PER_STRUCTURE, PER_STRUCTURE, 5]
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_what_is_not_known_is_not_drawn():
    labels, known = label_map()
    known[:5] = False
    drawn = draw_voxels(labels, known)
    assert drawn[:, 0].min() == 5
    known[15] = False
    assert set(labels[tuple(draw_voxels(labels, known).T)]) == {0, 1}


def test_the_seed_decides_what_is_drawn():
    labels, known = label_map()
    assert np.array_equal(draw_voxels(labels, known, seed=3), draw_voxels(labels, known, seed=3))
    assert not np.array_equal(draw_voxels(labels, known, seed=3), draw_voxels(labels, known, seed=4))


def naive(embedded, neighbours):
    """Purity and silhouette by loops over voxels."""
    units = [vector / np.linalg.norm(vector) for vector in embedded.vectors]
    pure, silhouettes = {0: [], 1: [], 2: []}, []
    for n, (unit, label) in enumerate(zip(units, embedded.labels, strict=True)):
        away = [(np.linalg.norm(unit - other), embedded.labels[m]) for m, other in enumerate(units) if m != n]
        pure[label].append(np.mean([other == label for _, other in sorted(away)[:neighbours]]))
        own, *others = (
            np.mean([distance for distance, other in away if other == index])
            for index in sorted(range(3), key=lambda index: index != label)
        )
        silhouettes.append((min(others) - own) / max(min(others), own))
    return np.mean([np.mean(found) for found in pure.values()]), np.mean(silhouettes)


@pytest.mark.parametrize(("each", "neighbours"), [(20, NEIGHBOURS), (4, 3)])
def test_separation_is_that_of_plain_loops(each, neighbours):
    embedded = voxels(spread=0.8, each=each)
    found = separation(embedded)
    assert (found.purity, found.silhouette) == pytest.approx(naive(embedded, neighbours))


def test_structures_that_are_apart_are_pure_and_mixed_ones_are_at_chance():
    assert separation(voxels(spread=0.01)).purity == 1
    assert separation(voxels(spread=0.01)).silhouette > 0.95
    mixed = separation(voxels(spread=100, each=400))
    assert mixed.purity == pytest.approx(1 / 3, abs=0.05)
    assert mixed.silhouette == pytest.approx(0, abs=0.05)


def test_one_structure_has_no_separation():
    alone = EmbeddedVoxels("a", np.random.default_rng(0).normal(size=(9, 4)), np.zeros(9, int), np.zeros((9, 3)))
    assert math.isnan(separation(alone).purity)
    assert math.isnan(separation(alone).silhouette)


def test_the_picture_keeps_neighbours_together_and_is_the_same_each_time():
    embedded = voxels()
    points = flattened(embedded)
    assert separation(EmbeddedVoxels("flat", centred(points), embedded.labels, embedded.places_mm)).purity > 0.9
    assert np.array_equal(points, flattened(embedded))


def centred(points):
    """Three numbers whose angles are about as different as the points are distant."""
    return np.c_[points / (10 * np.abs(points).max()), np.ones(len(points))]


def test_few_voxels_are_enough():
    assert np.isfinite(flattened(voxels(each=2))).all()


def test_every_structure_is_in_the_legend_and_every_system_has_its_panel():
    embedded = [voxels(system=name) for name in ("a", "b", "c", "d")]
    points = [np.random.default_rng(0).normal(size=(120, 2)) for _ in embedded]
    figure = picture(embedded, points, [Separation(0.875, 0.5)] * 4, NAMES)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(NAMES.names)
    titles = [panel.get_title() for panel in figure.axes]
    assert [title.partition("\n")[0] for title in titles] == ["a", "b", "c", "d"]
    assert "neighbours alike 0.88, silhouette 0.50" in titles[0]


def test_each_dot_has_the_colour_of_its_structure():
    embedded, places = voxels(each=1), np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    (dots,) = picture([embedded], [places], [Separation(1.0, 1.0)], NAMES).axes[0].collections
    colours = dict(zip(dots.get_offsets()[:, 0].tolist(), dots.get_facecolors()[:, :3], strict=True))
    for index in (1, 2):
        assert np.rint(255 * colours[index]).astype(int).tolist() == list(bytes.fromhex(colour(index)[1:]))


def test_tables():
    embedded = voxels(each=1)
    points = points_table([embedded], [np.arange(6.0).reshape(3, 2)], NAMES)
    assert [row[:2] for row in points.rows] == [("a", "background"), ("a", "liver"), ("a", "spleen")]
    assert [row[-2:] for row in points.rows] == [(0, 1), (2, 3), (4, 5)]
    assert points.rows[1][2:5] == pytest.approx(embedded.places_mm[1], abs=1e-3)
    assert separation_table([embedded], [Separation(0.9, 0.5)], "s1").rows == (("a", 3, 0.9, 0.5),)
