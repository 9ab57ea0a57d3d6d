import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.imaging.grid import Grid
from lowshot.registration.sampling import blur, moved, onto_grid, sample, voxel_positions
from registration.blobs import grid, placed, world

SCIPYS = {"zeros": "grid-constant", "border": "nearest"}


def random_positions(shape, count, beyond=0.0, seed=0):
    """Anywhere in a volume, and as many voxels beyond it; as (1, count, 1, 1, 3)."""
    drawn = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    last = torch.tensor(shape) - 1.0
    return (drawn * (last + 2 * beyond) - beyond).reshape(1, count, 1, 1, 3)


def by_scipy(volume, positions, outside="zeros"):
    where = positions.reshape(-1, 3).T.numpy()
    return ndimage.map_coordinates(volume.numpy(), where, order=1, mode=SCIPYS[outside])


@pytest.mark.parametrize("outside", ["zeros", "border"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (5, 6, 1), (2, 1, 1)])
def test_it_agrees_with_scipy_inside_at_the_faces_and_beyond(shape, outside):
    volume = torch.rand(shape)
    positions = random_positions(shape, 500, beyond=3.0)
    found = sample(volume[None, None], positions, outside)
    np.testing.assert_allclose(found.flatten(), by_scipy(volume, positions, outside), atol=1e-5)


def test_far_away_there_is_nothing_or_the_nearest_voxel():
    volume = torch.arange(1.0, 9.0).reshape(1, 1, 2, 2, 2)
    far = torch.tensor([[-1e4, -1e4, -1e4], [1e4, -1e4, 1e4]]).reshape(1, 2, 1, 1, 3)
    assert sample(volume, far).flatten().tolist() == [0, 0]
    assert sample(volume, far, "border").flatten().tolist() == [1, 6]


def test_at_its_own_voxels_a_volume_is_itself():
    volume = torch.rand(2, 3, 4, 5, 6)
    here = voxel_positions((4, 5, 6)).expand(2, -1, -1, -1, -1)
    torch.testing.assert_close(sample(volume, here), volume)


def test_each_of_a_batch_has_its_own_positions():
    volume = torch.rand(2, 1, 4, 5, 6)
    positions = torch.cat([random_positions((4, 5, 6), 20, seed=seed) for seed in (1, 2)])
    both = sample(volume, positions)
    for n in range(2):
        torch.testing.assert_close(both[n], sample(volume[n : n + 1], positions[n : n + 1])[0])


def test_it_is_differentiable_in_volume_and_positions():
    volume = torch.rand(1, 1, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    positions = random_positions((3, 4, 2), 6).double().requires_grad_()
    assert torch.autograd.gradcheck(sample, (volume, positions))


def test_positions_count_voxels_along_i_j_and_k():
    positions = voxel_positions((2, 3, 4))
    assert positions.shape == (2, 3, 4, 3)
    assert positions[1, 2, 3].tolist() == [1, 2, 3]


def test_moved_is_a_matrix_applied():
    matrix = placed(turn=(10, 20, 30), stretch=(1, 2, 3), shift=(100, -50, 7))
    points = torch.rand(5, 3)
    expected = (matrix @ np.c_[points.numpy(), np.ones(5)].T).T[:, :3]
    np.testing.assert_allclose(moved(points, matrix), expected, rtol=1e-5)


OBLIQUE = grid((17, 15, 13), (3.0, 4.0, 5.0), turn=(20, -30, 15))
PERMUTED = Grid((13, 17, 15), OBLIQUE.affine @ np.array([[0, -1, 0, 16], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))


@pytest.mark.parametrize(
    "target",
    [
        PERMUTED,
        grid((10, 9, 8), (2.0, 2.0, 2.0)),
        grid((6, 9, 5), (3.0, 1.0, 4.0), turn=(-40, 10, 60)),
        grid((3, 3, 3), (8.0, 9.0, 10.0), turn=(5, 5, 5)),  # coarser, so blurred first
        grid((5, 5, 1), (2.0, 2.0, 2.0), turn=(90, 0, 0)),
    ],
    ids=["axes permuted and flipped", "axial", "oblique", "coarse", "a slice"],
)
def test_a_ramp_in_millimetres_is_the_same_ramp_on_every_grid(target):
    def ramp(on):
        return torch.from_numpy(world(on) @ np.array([0.3, -0.2, 0.5]) + 4)[None].float()

    there = ramp(OBLIQUE)
    at = moved(voxel_positions(target.shape), np.linalg.inv(OBLIQUE.affine) @ target.affine)
    within = 0.0 if target.spacing[0] < 8 else 2.5  # a blur bends the ramp at the faces
    last = torch.tensor(OBLIQUE.shape) - 1
    inside = ((at >= within - 1e-4) & (at <= last - within + 1e-4)).all(-1)
    assert inside.float().mean() > 0.25
    torch.testing.assert_close(onto_grid(there, OBLIQUE, target)[0][inside], ramp(target)[0][inside], atol=1e-3, rtol=0)


def test_onto_its_own_grid_nothing_changes():
    volume = torch.rand(2, *OBLIQUE.shape)
    torch.testing.assert_close(onto_grid(volume, OBLIQUE, OBLIQUE), volume, atol=1e-4, rtol=0)


def test_an_alignment_tells_where_in_the_volume_to_look():
    volume = torch.zeros(1, 5, 5, 5)
    volume[0, 3, 1, 2] = 1
    own = Grid((5, 5, 5), np.eye(4))
    found = onto_grid(volume, own, own, placed(shift=(1, -1, 0)))  # what lies at p looks like the volume at p + shift
    assert found[0].nonzero().tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(("outside", "expected"), [("zeros", [0, 7, 7, 0]), ("border", [7, 7, 7, 7])])
def test_outside_of_the_volume(outside, expected):
    volume = torch.full((1, 2, 1, 1), 7.0)
    target = Grid((4, 1, 1), placed(shift=(-1, 0, 0)))
    assert onto_grid(volume, Grid((2, 1, 1), np.eye(4)), target, outside=outside).flatten().tolist() == expected


def test_a_coarse_grid_sees_means_and_no_single_voxels():
    stripes = torch.arange(60).remainder(2).float().reshape(1, 60, 1, 1)
    coarse = Grid((20, 1, 1), np.diag([3.0, 1, 1, 1]))
    seen = onto_grid(stripes, Grid((60, 1, 1), np.eye(4)), coarse).flatten()
    assert (seen[1:] - 0.5).abs().max() < 0.1


def test_blur_keeps_a_constant_and_what_there_is_in_all():
    ones = torch.ones(1, 2, 6, 5, 1)
    torch.testing.assert_close(blur(ones, (3.0, 2.0, 4.0)), ones)
    inner = torch.zeros(1, 1, 21, 21, 21)
    inner[..., 8:13, 8:13, 8:13] = torch.rand(5, 5, 5)
    blurred = blur(inner, (3.0, 2.0, 1.5))
    assert float(blurred.sum()) == pytest.approx(float(inner.sum()), rel=1e-5)


@pytest.mark.parametrize("step", [1.5, 2.0, 3.0, 6.0])
def test_blur_is_as_wide_at_half_its_height_as_the_step(step):
    line = torch.zeros(1, 1, 61, 1, 1)
    line[0, 0, 30] = 1
    seen = blur(line, (step, 1.0, 1.0)).flatten()
    expected = torch.exp(-4 * math.log(2) * ((torch.arange(61) - 30) / step) ** 2)
    torch.testing.assert_close(seen / seen.max(), expected, atol=0.02, rtol=0)
    assert all(a <= b for a, b in pairwise(seen[:31].tolist()))


def test_blur_does_nothing_for_steps_of_up_to_one_voxel_and_along_an_axis_of_one():
    volume = torch.rand(1, 1, 4, 5, 1)
    assert blur(volume, (1.0, 0.3, 9.0)) is volume


def test_blur_goes_along_the_axis_it_is_told():
    volume = torch.rand(1, 1, 5, 6, 7)
    alone = blur(volume, (1.0, 3.0, 1.0))
    torch.testing.assert_close(alone, blur(volume.movedim(3, 2), (3.0, 1.0, 1.0)).movedim(2, 3))
    assert not torch.allclose(alone, volume)
