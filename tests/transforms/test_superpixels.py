import numpy as np
import pytest
import torch

from lowshot.transforms.superpixels import _Graph, _pieces, superpixels, supervoxels

SPACING = (1.0, 1.0, 4.0)


def grid(size):
    return torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")


def discs(size=128, noise=0.02, seed=0):
    """A slice of a round body with two bright discs, and where all that is: 0 outside, 1 body, 2 and 3 discs."""
    i, j = grid(size)
    truth = ((i**2 + j**2) < 0.8).long()
    truth[(i - 0.35) ** 2 + j**2 < 0.06] = 2
    truth[(i + 0.4) ** 2 + (j - 0.1) ** 2 < 0.04] = 3
    image = torch.tensor([0.0, 0.4, 1.0, 0.75])[truth] + noise * torch.randn(
        truth.shape, generator=torch.Generator().manual_seed(seed)
    )
    return image[None], truth


def balls(depth=8):
    """The same in eight slices of 64×64, in the first and the last of which there are no discs."""
    slices = [discs(64, seed=k) for k in range(depth)]
    image, truth = (torch.stack(each, -1) for each in zip(*slices, strict=True))
    for k in (0, depth - 1):
        image[..., k][:, truth[..., k] > 1] = 0.4
        truth[..., k].clamp_(max=1)
    return image, truth


def dice(one, other):
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def covered(regions, inside):
    """How well all regions that are mostly inside fit together."""
    shares = torch.bincount(regions[inside], minlength=int(regions.max()) + 1) / torch.bincount(regions.flatten())
    return dice((shares > 0.5)[regions], inside)


def sizes(regions):
    return torch.bincount(regions.flatten())[1:]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(lambda: (superpixels(discs()[0], 400), discs()[1], 100), id="superpixels"),
        pytest.param(lambda: (supervoxels(balls()[0], SPACING, 8000), balls()[1], 500), id="supervoxels"),
    ],
)
def test_regions_cover_the_body_follow_edges_and_are_large_enough(found):
    regions, truth, least = found()
    assert regions.shape == truth.shape
    assert dice(regions > 0, truth > 0) > 0.99
    assert covered(regions, truth == 2) > 0.95
    assert covered(regions, truth == 3) > 0.95
    assert sizes(regions).min() >= least
    assert regions.unique().tolist() == list(range(int(regions.max()) + 1))


def test_supervoxels_reach_from_slice_to_slice():
    image, truth = balls()
    regions = supervoxels(image, SPACING, 8000)
    number = regions[truth == 2].mode().values  # of its many voxels in six slices
    assert (regions == number).any(dim=(0, 1)).tolist() == [False, *[True] * 6, False]


def test_the_same_image_has_the_same_regions():
    assert torch.equal(superpixels(discs()[0], 400), superpixels(discs()[0], 400))
    assert torch.equal(supervoxels(balls()[0], SPACING, 8000), supervoxels(balls()[0], SPACING, 8000))


@pytest.mark.parametrize(("gain", "offset"), [(300.0, -80.0), (0.01, 7.0)])
def test_units_of_the_image_do_not_matter(gain, offset):
    image = discs()[0].double()
    assert torch.equal(superpixels(image.float(), 400) > 0, superpixels((gain * image + offset).float(), 400) > 0)
    regions, other = superpixels(image.float(), 400), superpixels((gain * image + offset).float(), 400)
    assert (regions != other).float().mean() < 0.02


def test_the_least_size_grows_with_the_slice():
    """512×512 pixels of a slice of which 128×128 were seen before: sixteen times as many for each region."""
    image = torch.rand(1, 512, 512, generator=torch.Generator().manual_seed(0)) + 1
    assert sizes(superpixels(image, 100)).min() >= 400
    assert sizes(superpixels(image[:, ::4, ::4], 100)).min() >= 25
    assert sizes(superpixels(image[:, ::4, ::4], 100)).min() < 400


def test_a_few_bright_voxels_change_little():
    image, truth = discs()
    image[0, 64, 30] = 1000.0
    regions = superpixels(image, 400)
    assert covered(regions, truth == 2) > 0.95
    assert covered(regions, truth == 3) > 0.95


def test_specks_outside_are_no_region_and_air_inside_is_of_one():
    image, _ = discs(noise=0.0)
    i, j = grid(128)
    hole = i**2 + (j + 0.5) ** 2 < 0.02
    image[:, hole] = 0
    image[0, 2:5, 2:5] = 1
    regions = superpixels(image, 400)
    assert not regions[:8, :8].any()
    assert regions[hole].all()


def test_channels_are_seen_together():
    """Each disc is in a channel of its own."""
    _, truth = discs()
    body = (truth > 0).float()
    image = torch.stack([body + (truth == 2), body + (truth == 3)])
    regions = superpixels(image, 400)
    assert covered(regions, truth == 2) > 0.95
    assert covered(regions, truth == 3) > 0.95
    volume = image[..., None].repeat(1, 1, 1, 3)
    regions = supervoxels(volume, SPACING, 4000)
    assert covered(regions, (truth == 2)[..., None].expand(regions.shape)) > 0.95


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_an_image_of_one_value_is_one_region(value):
    assert superpixels(torch.full((1, 32, 32), value), 400).unique().tolist() == [1]
    assert supervoxels(torch.full((1, 16, 16, 3), value), SPACING, 400).unique().tolist() == [1]


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_without_noise_supervoxels_are_the_structures(noise):
    """They reach through slices, although a part in one of them is large enough."""
    _, truth = balls()
    image = truth + noise * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    regions = supervoxels(image[None], SPACING, 100)
    assert int(regions.max()) < 30
    for number in (1, 2, 3):
        assert dice(regions == regions[truth == number].mode().values, truth == number) > 0.95


def test_a_body_below_the_least_size_has_no_regions():
    image = torch.zeros(1, 64, 64)
    image[:, 30:34, 30:34] = 1
    assert not superpixels(image, 4000).any()
    assert not supervoxels(image[..., None], SPACING, 4000).any()


def test_a_diagonal_line_is_one_piece():
    """As felzenszwalb finds them wherever values rise evenly; taken for single pixels they would be far too many."""
    assert _pieces(np.eye(5, dtype=np.int64)[..., None]).max() == 1


def test_joined_by_hand():
    """Four parts of 2, 2, 1, 2 voxels with values 0, 1, 5, 5.5: the most alike join, until none is below 3."""
    parts = np.array([[[1], [1], [2], [2], [3], [4], [4], [0]]])
    image = np.array([[[[0.0], [0.0], [1.0], [1.0], [5.0], [5.5], [5.5], [9.0]]]], dtype=np.float32)
    graph = _Graph(parts, image, (1.0, 1.0, 1.0))
    # 2·2/4 (1 + 1) = 2, 2·1/3 (16 + 16) = 21.3, 1·2/3 (0.25 + 0.25) = 0.33
    differences = [graph.difference(a, a + 1) for a in (1, 2, 3)]
    assert differences == pytest.approx([2, 64 / 3, 1 / 3])
    ends = graph.joined(3)
    assert ends[1] == ends[2] != ends[3] == ends[4]


def test_a_common_surface_counts_by_its_area():
    """Above each other in voxels four times as high as wide: faces of 1 between slices, of 4 within one."""
    parts = np.array([[[1, 1], [2, 2]]])
    image = np.array([[[[0.0, 0.0], [3.0, 1.0]]]], dtype=np.float32)
    graph = _Graph(parts, image, SPACING)
    assert graph.surfaces[1][2] == pytest.approx((8, 16))
    parts = np.array([[[1, 2], [1, 2]]])
    assert _Graph(parts, image, SPACING).surfaces[1][2] == pytest.approx((2, 2))
