import numpy as np
import pytest

from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.rendering import Body, Material, Part, coverage, render
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, mm
from lowshot.phantoms.variability import Variability

AVERAGE = Deformation.draw(Variability(0, amount=0.0))
NAMES = Names.of({10: "ball", 20: "core"})
MATERIALS = {"soft": Material(100.0, 7.0), "dense": Material(300.0, 3.0)}
BALL, CORE = Ellipsoid(mm(3, 0, -2), mm(20, 20, 20)), Ellipsoid(mm(3, 0, -2), mm(8, 8, 8))


def grid_of(shape, spacing):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


GRID = grid_of((24, 20, 16), (2.5, 3.0, 4.0))


def rendered(*parts, grid=GRID, deformation=AVERAGE):
    return render(Body(parts, deformation), grid, MATERIALS, NAMES, Material(0.0))


def test_a_voxel_has_the_label_of_the_part_that_holds_its_centre():
    labels = rendered(Part("soft", BALL, "ball"), Part("dense", CORE, "core")).labels
    points = AVERAGE.body_points(GRID)
    inside, core = BALL.distance(points) < 0, CORE.distance(points) < 0
    np.testing.assert_array_equal(labels, np.where(core, NAMES.index("core"), np.where(inside, NAMES.index("ball"), 0)))


def test_later_parts_lie_on_top_even_where_they_have_no_name():
    result = rendered(Part("soft", BALL, "ball"), Part("dense", CORE))
    centre = tuple(size // 2 for size in GRID.shape)
    assert result.labels[centre] == 0
    assert result.mean[centre] == 300.0
    assert result.texture[centre] == 3.0


def test_a_structure_that_is_not_asked_for_is_background():
    assert not rendered(Part("soft", BALL, "heart")).labels.any()


def test_partial_volume_preserves_the_volume():
    mean = rendered(Part("soft", BALL)).mean
    assert mean.sum() / 100 * GRID.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)


def test_a_plane_between_two_voxels_covers_each_by_its_share():
    distances = np.tile(np.array([-3.0, -1.0, 1.0, 3.0], dtype=np.float32) + 0.5, (3, 3, 1))
    np.testing.assert_allclose(coverage(distances, (1.0, 1.0, 2.0))[1, 1], [1.0, 0.75, 0.0, 0.0], atol=1e-6)


def test_coverage_agrees_with_supersampling():
    plane, spacing = HalfSpace(mm(0.3, 0, 0), outward=mm(1, 2, 2)), (1.5, 1.5, 4.0)
    coarse = AVERAGE.body_points(grid_of((8, 8, 8), spacing))
    fine = AVERAGE.body_points(grid_of((80, 80, 80), tuple(step / 10 for step in spacing)))
    exact = (plane.distance(fine) < 0).reshape(8, 10, 8, 10, 8, 10).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coverage(plane.distance(coarse), spacing), exact, atol=0.1)


class Boxless(Ellipsoid):
    box = HalfSpace(mm(0, 0, 0), mm(1, 0, 0)).box


@pytest.mark.parametrize("centre", [(3, 0, -2), (29, 0, 0), (0, -29, 31), (90, 0, 0)])
def test_looking_only_into_the_box_changes_nothing(centre):
    deformation = Deformation.draw(Variability(4))
    boxed, whole = (
        rendered(Part("soft", kind(mm(*centre), mm(9, 6, 7)), "ball"), deformation=deformation)
        for kind in (Ellipsoid, Boxless)
    )
    np.testing.assert_array_equal(boxed.labels, whole.labels)
    np.testing.assert_allclose(boxed.mean, whole.mean, atol=1.5)  # slopes at the border are one-sided


def test_boxes_are_found_on_oblique_grids():
    diagonal = np.eye(4)
    diagonal[:3, :3] = 4.0 * np.array([[0.6, -0.64, 0.48], [0.8, 0.48, -0.36], [0.0, 0.6, 0.8]])
    diagonal[:3, 3] = diagonal[:3, :3] @ [-11.5, -9.5, -7.5]
    grid = Grid((24, 20, 16), diagonal)
    for centre in np.random.default_rng(0).uniform(-30, 30, size=(20, 3)):
        boxed, whole = (
            rendered(Part("soft", kind(centre, mm(5, 4, 6)), "ball"), grid=grid) for kind in (Ellipsoid, Boxless)
        )
        np.testing.assert_array_equal(boxed.labels, whole.labels)


def test_one_slice_can_be_rendered():
    result = rendered(Part("soft", BALL, "ball"), grid=grid_of((24, 20, 1), (2.5, 3.0, 4.0)))
    assert result.labels[12, 10, 0] == NAMES.index("ball")
    assert result.mean[12, 10, 0] == 100.0
