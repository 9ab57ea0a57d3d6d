import pytest
import torch
import torch.nn.functional as F

from lowshot.imaging.preparation import Preparation
from lowshot.losses.similarity import local_ncc
from lowshot.methods.multi_atlas import MultiAtlas
from lowshot.phantoms import abdomen_ct, brain_mr
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


def varied(image):
    """Where a picture differs from one voxel to the next by more than its noise."""
    mean, squared = (F.avg_pool3d(each[None], 3, 1, 1)[0, 0] for each in (image, image**2))
    return (squared - mean**2).clamp(min=0).sqrt() > 0.04


@pytest.mark.parametrize(("anatomy", "shape"), [(brain_mr, (48, 60, 48)), (abdomen_ct, (64, 56, 48))])
def test_a_known_deformation_of_a_phantom_is_recovered_to_less_than_half_a_voxel(anatomy, shape):
    prepared = Preparation(intensity="percentiles").apply(anatomy.subject(3, shape, variation=0.5).scan)
    moving, spacing = prepared.voxels, prepared.grid.spacing
    field = smooth_field(shape, spacing, mean_mm=4.0, wave_mm=80.0, seed=4)
    fixed = warp(moving[None], field[None], spacing, outside="border")[0]
    fixed += 0.01 * torch.randn(fixed.shape, generator=torch.Generator().manual_seed(0))
    found = MultiAtlas().refinement(fixed, moving, spacing)
    where = varied(fixed)
    assert where.float().mean() > 0.1
    assert field.norm(dim=0)[where].mean() > 3.0
    assert field.norm(dim=0)[where].max() > 8.0
    assert (found - field).norm(dim=0)[where].mean() < 0.5 * min(spacing)


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


def test_every_channel_counts(pair):
    """Of the first nothing can be told; the second shows where everything went."""
    fixed, moving, _, _ = pair
    quick = Refinement((Level(4, 20), Level(2, 10)))
    blank = torch.zeros_like(moving)
    assert not quick(blank, blank, SPACING).any()
    field = quick(*(torch.cat([blank, image]) for image in (fixed, moving)), SPACING)
    seen = warp(moving[None], field[None], SPACING)
    assert local_ncc(fixed[None], seen) > local_ncc(fixed[None], moving[None]) + 0.02


def test_gradients_may_be_off_and_none_is_left(pair):
    fixed, moving, field, _ = pair
    start = field.clone()
    with torch.no_grad():
        found = Refinement((Level(2, 2),))(fixed, moving, SPACING, start)
    assert not found.requires_grad
    assert torch.equal(start, field)


@pytest.mark.parametrize(
    ("offset", "gain"), [(0.0, 1.0), (0.4, 0.5), (1.0, -1.0)], ids=["alike", "brighter", "inverted"]
)
def test_a_slice_is_deformed_in_its_plane_whatever_its_greys(offset, gain):
    spacing = (2.0, 2.0, 5.0)
    moving = picture(grid((48, 56, 1), spacing))
    field = smooth_field((48, 56, 1), spacing, mean_mm=3.0, wave_mm=80.0)
    fixed = warp(moving.voxels[None], field[None], spacing)[0]
    found = Refinement()(offset + gain * fixed, moving.voxels, spacing)
    before, after = (each.norm(dim=0)[fixed[0] > 0.1].mean() for each in (field, field - found))
    assert not found[2].any()
    assert after < 0.6 * before
