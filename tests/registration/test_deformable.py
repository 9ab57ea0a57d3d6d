import pytest
import torch

from lowshot.losses.similarity import local_ncc
from lowshot.phantoms import brain_mr
from lowshot.registration.deformable import Level, Refinement
from lowshot.registration.fields import folded_share, warp
from registration.blobs import grid, picture, smooth_field

SPACING = (2.0, 2.0, 2.0)
SHAPE = (48, 56, 48)


@pytest.fixture(scope="module")
def pair():
    """A body, and the same as a smooth field of 4 mm has deformed it."""
    moving = picture(grid(SHAPE, SPACING))
    field = smooth_field(SHAPE, SPACING, mean_mm=4.0)
    return warp(moving.voxels[None], field[None], SPACING)[0], moving.voxels, field, moving.body


def test_a_known_deformation_of_a_phantom_is_recovered_to_less_than_half_a_voxel():
    subject = brain_mr.subject(0, (64, 64, 64))
    spacing, voxels = subject.scan.grid.spacing, subject.scan.voxels.float()
    moving = (voxels - voxels.min()) / (voxels.max() - voxels.min())
    field = smooth_field((64, 64, 64), spacing, mean_mm=4.0, wave_mm=80.0)
    fixed, brain = (
        warp(each[None], field[None], spacing)[0] for each in (moving, (subject.truth.labels > 0)[None].float())
    )
    found = Refinement((Level(4, 60), Level(2, 60), Level(1, 10)))(fixed, moving, spacing)
    inside = brain[0] > 0.5
    assert field.norm(dim=0)[inside].mean() > 3.0  # mm: there was something to find
    assert (found - field).norm(dim=0)[inside].mean() < 0.5 * min(spacing)


def test_every_level_makes_them_more_alike(pair):
    fixed, moving, _, _ = pair
    levels = (Level(4, 20), Level(2, 10), Level(1, 3))
    alike = [local_ncc(fixed[None], moving[None])]
    for count in (1, 2, 3):
        field = Refinement(levels[:count])(fixed, moving, SPACING)
        alike.append(local_ncc(fixed[None], warp(moving[None], field[None], SPACING)))
        assert field.shape == (3, *SHAPE)
    assert alike == sorted(alike)


def test_smoother_fields_fold_less(pair):
    fixed, moving, _, _ = pair
    stiff, soft = (Refinement((Level(2, 20),), smoothness)(fixed, moving, SPACING) for smoothness in (2.0, 0.01))
    assert stiff.diff(dim=1).square().mean() < soft.diff(dim=1).square().mean()
    assert folded_share(stiff[None], SPACING) == 0


def test_it_goes_on_from_where_it_starts(pair):
    fixed, moving, field, _ = pair
    kept = Refinement((Level(1, 0),))(fixed, moving, SPACING, field)
    torch.testing.assert_close(kept, field)


def test_sizes_that_are_not_multiples_are_refused():
    image = torch.rand(1, 10, 12, 12)
    with pytest.raises(ValueError, match="multiples of 4"):
        Refinement((Level(4, 1),))(image, image, SPACING)


def test_a_slice_stays_in_its_plane():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, 16, 16, 1, generator=random)
    field = Refinement((Level(2, 5), Level(1, 5)))(image, image.roll(1, 1), (1.0, 1.0, 1.0))
    assert field.shape == (3, 16, 16, 1)
    assert bool(field.isfinite().all())
