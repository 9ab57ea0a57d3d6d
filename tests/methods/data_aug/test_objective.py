import pytest
import torch
from torch import nn

from lowshot.losses.similarity import local_ncc
from lowshot.losses.smoothness import diffusion
from lowshot.methods.data_aug.appearance import AppearanceUNet
from lowshot.methods.data_aug.objective import (
    AppearancePair,
    Pair,
    SpatialModels,
    appearance_loss,
    segmenter_loss,
    smoothness_within,
    spatial_loss,
)
from lowshot.nn.voxelwise import VoxelwiseNetwork
from lowshot.transforms.patches import Patches

SPACING = (2.0, 1.0, 4.0)


class Shift(nn.Module):
    """A spatial model that moves every voxel alike, along i."""

    def __init__(self, voxels):
        super().__init__()
        self.voxels = voxels

    def forward(self, moving, fixed):
        field = torch.zeros(1, 3, *moving.shape[2:])
        field[:, 0] = self.voxels
        return field


class Brighter(nn.Module):
    def forward(self, atlas, other):
        return torch.full_like(atlas, 0.25)


def textured(shift=0):
    picture = torch.zeros(1, 1, 16, 12, 10)
    picture[:, :, 5:11, 4:9, 3:8] = torch.rand(1, 1, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    return picture.roll(shift, dims=2)


def test_each_direction_is_a_registration_of_its_own():
    pair = Pair(textured(), textured(-2), SPACING)
    found = spatial_loss(SpatialModels(Shift(2), Shift(-2)), 9, 1.0, pair, 0.0)
    assert found.keys() == {"to_target", "to_atlas"}
    for name, fixed in (("to_target", textured(-2)), ("to_atlas", textured())):
        torch.testing.assert_close(found[name], -local_ncc(fixed, fixed), atol=1e-3, rtol=0)
    (alone,) = spatial_loss(SpatialModels(Shift(0), None), 9, 1.0, pair, 0.0)
    assert alone == "to_target"


def test_fields_are_smoothed_in_millimetres():
    class Ramp(nn.Module):
        def forward(self, moving, fixed):
            return torch.arange(16.0).view(1, 1, 16, 1, 1).expand(1, 3, 16, 12, 10).contiguous()

    pair = Pair(textured(), textured(), SPACING)
    light, heavy = (spatial_loss(SpatialModels(Ramp(), None), 9, w, pair, 0.0)["to_target"] for w in (1.0, 3.0))
    field = torch.arange(16.0).view(1, 1, 16, 1, 1) * torch.tensor(SPACING).view(1, 3, 1, 1, 1)
    expected = diffusion(field.expand(1, 3, 16, 12, 10), SPACING)
    torch.testing.assert_close(heavy - light, 2 * expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_at_first_the_appearance_stays_as_it_is(channels):
    model = AppearanceUNet(channels, (4, 8))
    atlas, other = torch.rand(1, channels, 8, 12, 4), torch.rand(1, channels, 8, 12, 4)
    assert torch.equal(model(atlas, other), torch.zeros_like(atlas))
    model(atlas, other).sum().backward()
    assert model.change.weight.grad.abs().sum() > 0  # and it can leave


def test_the_appearance_model_wants_sizes_that_it_can_halve():
    with pytest.raises(ValueError, match="multiples of 4"):
        AppearanceUNet(1, (4, 8))(torch.rand(1, 1, 8, 6, 4), torch.rand(1, 1, 8, 6, 4))


def test_reconstruction_is_measured_where_the_scan_lies():
    atlas, field = textured(), torch.zeros(1, 3, 16, 12, 10)
    field[:, 0] = 4.0  # mm: two voxels
    inside = slice(2, 14)
    target = textured(-2) + 0.25
    labels = torch.zeros(16, 12, 10, dtype=torch.int16)
    pair = AppearancePair(atlas, target, SPACING, brought=target, field_mm=field)
    found = appearance_loss(Brighter(), labels, 0.02, "absolute", pair, 0.0)
    # Beyond the grid there is nothing: the last two planes show 0 where the target has 0.25.
    assert float(found["reconstruction"]) == pytest.approx(0.25**2 * 2 / 16, rel=1e-4)
    assert found["smoothness"] == 0
    assert atlas[:, :, inside].sum() > 0


def test_smoothness_counts_within_structures_alone():
    """Five voxels along j with ψ = 0, 0, 1, 3, 3, and labels 7, 7, 2, 2, 2: the step to 1 is an edge, that to 3 not."""
    psi = torch.tensor([0.0, 0, 1, 3, 3]).view(1, 1, 1, 5, 1)
    labels = torch.tensor([7, 7, 2, 2, 2]).view(1, 5, 1)
    same = torch.zeros_like(labels)
    assert float(smoothness_within(psi, labels, SPACING, "squared")) == pytest.approx(2.0**2 / 4 / 3)
    assert float(smoothness_within(psi, same, SPACING, "squared")) == pytest.approx((1 + 4) / 4 / 3)
    assert float(smoothness_within(psi, labels, SPACING, "absolute")) == pytest.approx(2.0 / 4)
    assert float(smoothness_within(psi, same, SPACING, "absolute")) == pytest.approx((1 + 2) / 4)
    assert smoothness_within(psi, torch.arange(5).view(1, 5, 1), SPACING, "absolute") == 0


def test_smoothness_is_per_millimetre():
    ramp = torch.arange(6.0).view(1, 1, 6, 1, 1)
    labels = torch.zeros(6, 1, 1, dtype=torch.int64)
    assert float(smoothness_within(ramp, labels, (2.0, 1.0, 1.0), "squared")) == pytest.approx(0.25 / 3)
    assert float(smoothness_within(ramp, labels, (2.0, 1.0, 1.0), "absolute")) == pytest.approx(0.5)


@pytest.mark.parametrize(("norm", "power", "share"), [("absolute", 1, 1.0), ("squared", 2, 1 / 3)])
def test_smoothness_is_that_of_a_naive_loop(norm, power, share):
    random = torch.Generator().manual_seed(1)
    psi, labels = torch.rand(1, 2, 3, 4, 5, generator=random), torch.randint(3, (3, 4, 5), generator=random)
    total = 0.0
    for axis, step in enumerate(SPACING):
        terms = []
        for p in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
            q = [each + (n == axis) for n, each in enumerate(p)]
            if q[axis] < labels.shape[axis]:
                same = labels[tuple(p)] == labels[tuple(q)]
                changes = [float((psi[(0, c, *q)] - psi[(0, c, *p)]) / step) for c in range(psi.shape[1])]
                terms += [float(same) * abs(change) ** power for change in changes]
        total += share * sum(terms) / len(terms)
    assert float(smoothness_within(psi, labels, SPACING, norm)) == pytest.approx(total, rel=1e-5)


class Image(nn.Module):
    """Features that are the image itself."""

    def forward(self, image, coordinates):
        return image


def test_the_segmenter_is_asked_about_known_voxels():
    network = VoxelwiseNetwork(Image(), nn.Identity())
    logits = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    known = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    known[0, :2] = True
    patches = Patches(logits, labels, known, torch.zeros(2, 3, 4, 4, 4))
    expected = nn.functional.cross_entropy(logits[0, :, :2][None], labels[0, :2][None])
    # With ``balance`` = 0 it is the plain mean, times the number of categories that are there.
    found = segmenter_loss(network, 0.0, 1.0, patches, 0.0)["cross_entropy"]
    torch.testing.assert_close(found, expected * len(labels[known].unique()))
    assert segmenter_loss(network, 0.0, 0.25, patches, 0.0)["cross_entropy"] > 0
