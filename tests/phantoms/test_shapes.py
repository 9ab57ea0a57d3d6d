import numpy as np
import pytest

from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.shapes import Column, Ellipsoid, HalfSpace, Tube, mm

TILTED = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
SPHERE = Ellipsoid(mm(5, -3, 2), mm(20, 20, 20))
EGG = Ellipsoid(mm(0, 4, -2), mm(30, 18, 12), TILTED, exponent=2.5)
BEND = Tube.through([(-30, 0, 0), (0, 20, 5), (30, 0, 0)], [6.0, 9.0, 4.0])
SHAPES = {
    "sphere": SPHERE,
    "egg": EGG,
    "bend": BEND,
    "grown": EGG.grown(4.0),
    "joined": SPHERE.joined(BEND, blend_mm=10.0),
    "minus": SPHERE.minus(BEND, blend_mm=5.0),
    "within": SPHERE.within(EGG, blend_mm=5.0),
    "uneven": SPHERE.uneven(SmoothNoise.draw(np.random.default_rng(0), (15.0, 30.0)), 1.5),
}


def lattice(extent_mm=60.0, count=61):
    axis = np.linspace(-extent_mm, extent_mm, count, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))


def point(*coordinates):
    return np.array(coordinates, dtype=np.float32)[:, None]


@pytest.mark.parametrize("name", SHAPES)
def test_the_box_holds_the_whole_shape(name):
    points = lattice()
    inside = points[:, SHAPES[name].distance(points) < 0]
    low, high = SHAPES[name].box
    assert inside.shape[1] > 100
    assert (inside.min(axis=1) >= low - 1e-3).all()
    assert (inside.max(axis=1) <= high + 1e-3).all()


@pytest.mark.parametrize("name", ["sphere", "egg", "bend"])
def test_distances_near_the_surface_change_by_a_millimetre_per_millimetre(name):
    shape, points = SHAPES[name], lattice(40.0, 41)
    distances = shape.distance(points)
    slope = np.sqrt(sum(np.square(np.gradient(distances, 2.0, axis=axis)) for axis in range(3)))
    near = np.abs(distances) < 2
    assert slope[near].mean() == pytest.approx(1.0, abs=0.06)


def test_the_distance_from_a_sphere():
    points = lattice()
    expected = np.linalg.norm(points - np.array([5, -3, 2], dtype=np.float32).reshape(3, 1, 1, 1), axis=0) - 20
    np.testing.assert_allclose(SPHERE.distance(points), expected, atol=0.01)


def test_the_volume_of_a_turned_ellipsoid():
    whole = Ellipsoid(mm(0, 0, 0), mm(30, 18, 12), TILTED)
    inside = (whole.distance(lattice()) < 0).sum() * 2.0**3
    assert inside == pytest.approx(4 / 3 * np.pi * 30 * 18 * 12, rel=0.02)


def test_the_axes_are_columns():
    long_along_z = Ellipsoid(mm(0, 0, 0), mm(30, 5, 5), axes=np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]))
    assert long_along_z.distance(point(0, 0, 25)) < 0 < long_along_z.distance(point(25, 0, 0))


def test_a_large_exponent_makes_a_box():
    assert (
        Ellipsoid(mm(0, 0, 0), mm(10, 10, 10), exponent=8.0).distance(point(8, 8, 8))
        < 0
        < SPHERE.distance(point(25, 17, 22))
    )


def test_a_straight_tube_is_a_capsule():
    capsule = Tube.through([(-20, 0, 0), (20, 0, 0)], 5.0)
    for position, expected in [((0, 8, 0), 3.0), ((10, 0, 0), -5.0), ((28, 0, 0), 3.0), ((-20, 0, 12), 7.0)]:
        assert capsule.distance(point(*position))[0] == pytest.approx(expected, abs=0.11)


def test_far_from_a_tube_the_distance_is_large_and_positive():
    assert BEND.distance(point(500, 0, 0))[0] >= 15


def test_a_tube_takes_the_radius_of_its_nearest_knot():
    cone = Tube.through([(-40, 0, 0), (0, 0, 0), (40, 0, 0)], [4.0, 8.0, 12.0])
    for x, radius in [(-40, 4.0), (0, 8.0), (20, 10.0), (40, 12.0)]:
        assert cone.distance(point(x, radius, 0))[0] == pytest.approx(0.0, abs=0.3)


def test_ripples_narrow_and_widen_a_tube():
    rippled = Tube.through([(0, 0, 0), (80, 0, 0)], 10.0, ripple=0.2, ripple_length_mm=40.0)
    assert rippled.distance(point(10, 11, 0)) < 0 < rippled.distance(point(30, 9, 0))


def test_the_mirror_image_of_a_tube():
    tube, points = Tube.through([(10, 0, -20), (20, 10, 0), (30, 0, 30)], [4.0, 6.0, 5.0]), lattice(40.0, 21)
    np.testing.assert_allclose(tube.mirrored().distance(points)[::-1], tube.distance(points), atol=1e-3)


def test_a_column_follows_its_sections():
    cone = Column([(-50, 0, 0, 20, 10), (0, 10, 0, 20, 10), (50, 20, 0, 20, 10)])
    for z, centre in [(-50, 0), (0, 10), (50, 20), (200, 20)]:
        assert cone.distance(point(centre + 20, 0, z))[0] == pytest.approx(0.0, abs=0.01)
        assert cone.distance(point(centre, 12, z))[0] == pytest.approx(2.0, abs=0.3)


def test_a_half_space_lies_behind_its_plane():
    behind = HalfSpace(mm(0, 10, 0), outward=mm(0, 3, 0))
    np.testing.assert_allclose(behind.distance(point(50, 14, -50)), [4.0])
    np.testing.assert_allclose(behind.distance(point(50, 4, -50)), [-6.0])


def test_without_blending_shapes_combine_as_sets():
    points = lattice(40.0, 21)
    a, b = SPHERE.distance(points) < 0, BEND.distance(points) < 0
    np.testing.assert_array_equal(SPHERE.joined(BEND).distance(points) < 0, a | b)
    np.testing.assert_array_equal(SPHERE.minus(BEND).distance(points) < 0, a & ~b)
    np.testing.assert_array_equal(SPHERE.within(BEND).distance(points) < 0, a & b)


def test_blending_fills_the_seam_by_a_quarter_of_its_width_and_nothing_farther_away():
    left, right = HalfSpace(mm(-1, 0, 0), mm(1, 0, 0)), HalfSpace(mm(1, 0, 0), mm(-1, 0, 0))
    blended = left.joined(right, blend_mm=8.0)
    assert blended.distance(point(0, 0, 0))[0] == pytest.approx(1.0 - 8.0 / 4)
    assert blended.distance(point(-6, 0, 0))[0] == pytest.approx(-5.0)
    assert left.within(right, blend_mm=8.0).distance(point(0, 0, 0))[0] == pytest.approx(1.0 + 8.0 / 4)


def test_an_uneven_surface_moves_by_the_noise():
    noise = SmoothNoise.draw(np.random.default_rng(0), (15.0, 30.0))
    points = lattice(40.0, 21)
    moved = SPHERE.uneven(noise, 1.5).distance(points) - SPHERE.distance(points)
    np.testing.assert_allclose(moved, 1.5 * noise(points), atol=1e-4)
