import numpy as np
import pytest
import torch

from lowshot.inference.sliding_window import cut
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.patches import Patches, PatchSampling, Volume, sample_patches, sample_volume
from lowshot.transforms.spatial import SpatialRanges

SHAPE = (11, 9, 7)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def volume(shape=SHAPE, *, classes=3, channels=1, known=None, spacing=(1.0, 1.0, 1.0), seed=0):
    """Every voxel has its own intensity, so that it can be recognised."""
    image = torch.randperm(channels * torch.Size(shape).numel(), generator=generator(seed)).float()
    image = (image / len(image)).reshape(channels, *shape)
    labels = torch.randint(classes, shape, generator=generator(seed + 1), dtype=torch.int16)
    return Volume(image, labels, torch.ones(shape, dtype=torch.bool) if known is None else known, spacing)


def corners(patches: Patches, shape) -> np.ndarray:
    """First voxel of every patch, from its coordinates."""
    middle = (torch.tensor(shape) - 1) / 2
    return (patches.coordinates[:, :, 0, 0, 0] * middle.clamp_min(0.5) + middle).round().int().numpy()


def reflected(array, corner, size):
    """The piece of a volume that a patch shows, by numpy; the volume is mirrored beyond its faces."""
    pads = [(4 * n, 4 * n) if n > 1 else (0, 0) for n in array.shape]
    padded = np.pad(array, pads, mode="reflect")
    start = [first + before if before else 0 for first, (before, _) in zip(corner, pads, strict=True)]
    return padded[tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (SHAPE, (4, 5, 3)),
        (SHAPE, SHAPE),
        (SHAPE, (16, 12, 8)),  # larger than the volume
        ((12, 10, 1), (4, 4, 1)),  # an image
        ((12, 10, 5), (4, 4, 1)),  # slices of a volume
    ],
)
@pytest.mark.parametrize("balanced", [0.0, 1.0])
def test_without_transforms_a_patch_shows_the_scans_own_voxels(shape, size, balanced):
    scan = volume(shape, channels=2)
    patches = sample_patches([scan], PatchSampling(size, 20, balanced), generator())
    assert patches.image.shape == (20, 2, *size)
    assert patches.labels.dtype == scan.labels.dtype
    assert patches.known.all()
    for n, corner in enumerate(corners(patches, shape)):
        labels = reflected(scan.labels.numpy(), corner, size)
        np.testing.assert_array_equal(patches.labels[n].numpy(), labels)
        for c in range(2):
            image = reflected(scan.image[c].numpy(), corner, size)
            np.testing.assert_allclose(patches.image[n, c].numpy(), image, atol=1e-5)


def test_anisotropic_spacing_changes_nothing_without_transforms():
    sampling = PatchSampling((4, 4, 4), 10)
    cubic, flat = (volume(spacing=spacing) for spacing in ((1.0, 1.0, 1.0), (0.7, 1.3, 5.1)))
    for first, second in zip(*(sample_patches([each], sampling, generator()) for each in (cubic, flat)), strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_training_and_inference_agree_on_image_and_coordinates():
    scan, size = volume(), (8, 8, 8)
    patches = sample_patches([scan], PatchSampling(size, 10, balanced=1.0), generator())
    for n, (i, j, k) in enumerate(corners(patches, SHAPE).tolist()):
        image, coordinates = cut(scan.image, (i, j, k), size)
        torch.testing.assert_close(patches.image[n], image, atol=1e-5, rtol=0)
        torch.testing.assert_close(patches.coordinates[n], coordinates, atol=1e-5, rtol=0)


def test_coordinates_run_from_the_first_voxel_to_the_last():
    patches = sample_patches([volume()], PatchSampling(SHAPE, 1), generator())
    for axis, n in enumerate(SHAPE):
        line = patches.coordinates[0, axis].movedim(axis, 0)
        torch.testing.assert_close(line, torch.linspace(-1, 1, n)[:, None, None].expand_as(line))


def test_patches_lie_inside_and_everywhere():
    patches = sample_patches([volume()], PatchSampling((4, 4, 4), 500), generator())
    found = corners(patches, SHAPE)
    for axis, n in enumerate(SHAPE):
        assert set(found[:, axis]) == set(range(n - 4 + 1))


@pytest.mark.parametrize("size", [(3, 3, 3), (4, 4, 4)])
def test_balanced_patches_are_centred_on_classes_drawn_uniformly(size):
    scan = volume((20, 20, 20), classes=1)
    scan.labels[3, 4, 5] = 1
    scan.labels[15:17, 15, 15] = 7
    patches = sample_patches([scan], PatchSampling(size, 300, balanced=1.0), generator())
    holds = [(patches.labels == k).flatten(1).any(1) for k in (1, 7)]
    for each in holds:
        assert 70 <= int(each.sum()) <= 130


def test_balanced_share_is_a_share():
    scan = volume((40, 40, 40), classes=1)
    scan.labels[20, 20, 20] = 1
    patches = sample_patches([scan], PatchSampling((3, 3, 3), 400, balanced=0.5), generator())
    assert 60 <= int(patches.labels.flatten(1).any(1).sum()) <= 140  # a quarter: half of a half


def test_balanced_centres_are_known_voxels():
    known = torch.zeros(SHAPE, dtype=torch.bool)
    known[:, :, 2] = True
    patches = sample_patches([volume(known=known)], PatchSampling((3, 3, 3), 50, balanced=1.0), generator())
    assert patches.known[:, 1, 1, 1].all()
    assert not patches.known[:, :, :, 0].any()


STRONG = SpatialRanges(20.0, 0.2, 0.1, 0.1, 5.0, 2.0, 8.0)


@pytest.mark.parametrize("spatial", [SpatialRanges(), STRONG])
@pytest.mark.parametrize("mirror_pairs", [None, ((1, 2),)])
def test_unknown_voxels_stay_unknown_and_tell_nothing(spatial, mirror_pairs):
    """What stands in unknown voxels may be anything: the mini-batch is the same."""
    known = torch.rand(SHAPE, generator=generator(5)) < 0.5
    scan = volume(known=known)
    lie = Volume(scan.image, torch.where(known, scan.labels, 2), known, scan.spacing)
    sampling = PatchSampling((6, 6, 6), 8, 0.5, spatial, mirror_pairs=mirror_pairs)
    first, second = (sample_patches([each], sampling, generator()) for each in (scan, lie))
    assert 0.2 < first.known.float().mean() < 0.8
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_known_follows_the_scan():
    known = torch.zeros(SHAPE, dtype=torch.bool)
    known[4:] = True
    patches = sample_patches([volume(known=known)], PatchSampling(SHAPE, 1), generator())
    assert torch.equal(patches.known[0], known)


def test_mirroring_is_from_left_to_right_and_swaps_the_sides():
    labels = torch.zeros(SHAPE, dtype=torch.int16)
    labels[:4], labels[7:], labels[5] = 1, 2, 3
    scan = Volume(volume().image, labels, torch.ones(SHAPE, dtype=torch.bool), (1.0, 2.0, 3.0))
    sampling = PatchSampling(SHAPE, 40, mirror_pairs=((1, 2),))
    patches = sample_patches([scan], sampling, generator())
    mirrored = 0
    for image, seen in zip(patches.image, patches.labels, strict=True):
        # Left stays left: the flip and the swap undo each other in this symmetrical body.
        assert torch.equal(seen, labels)
        flipped = torch.allclose(image, scan.image.flip(1), atol=1e-5)
        assert flipped or torch.allclose(image, scan.image, atol=1e-5)
        mirrored += flipped
    assert 10 <= mirrored <= 30


def test_a_mirrored_body_without_pairs_is_flipped_and_not_renamed():
    labels = torch.zeros(SHAPE, dtype=torch.int16)
    labels[:4] = 1
    scan = Volume(volume().image, labels, torch.ones(SHAPE, dtype=torch.bool), (1.0, 1.0, 1.0))
    patches = sample_patches([scan], PatchSampling(SHAPE, 40, mirror_pairs=()), generator())
    kinds = {bool(torch.equal(seen, labels.flip(0))) for seen in patches.labels}
    assert kinds == {True, False}
    assert all(torch.equal(seen, labels) or torch.equal(seen, labels.flip(0)) for seen in patches.labels)


def test_nothing_is_mirrored_unless_told():
    patches = sample_patches([volume()], PatchSampling(SHAPE, 20), generator())
    assert (patches.image - volume().image).abs().max() < 1e-5


def test_image_labels_and_known_are_moved_together():
    """The image shows the labels, so it must still do so after any transform."""
    x, y, z = torch.meshgrid(*[torch.arange(30.0)] * 3, indexing="ij")
    labels = ((x - 14) ** 2 + (y - 12) ** 2 + (z - 15) ** 2 < 81).to(torch.int16)
    scan = Volume(labels[None].float(), labels, x < 15, (1.0, 1.0, 1.0))
    sampling = PatchSampling((16, 16, 16), 6, 1.0, STRONG, mirror_pairs=())
    patches = sample_patches([scan], sampling, generator())
    clear = (patches.image[:, 0] - 0.5).abs() > 0.45
    assert torch.equal((patches.image[:, 0] > 0.5)[clear & patches.known], patches.labels[clear & patches.known] == 1)
    assert clear.float().mean() > 0.5
    assert 0.1 < patches.known.float().mean() < 0.9


def test_balanced_centres_survive_spatial_transforms():
    scan = volume((40, 40, 40), classes=1)
    scan.labels[25:28, 25:28, 25:28] = 1
    ranges = SpatialRanges(rotation_degrees=30.0, scale=0.2, stretch=0.2, shear=0.1, shift_mm=10.0)
    patches = sample_patches([scan], PatchSampling((7, 7, 7), 100, 1.0, ranges), generator())
    assert patches.labels.flatten(1).any(1).float().mean() > 0.4  # half of the centres are of class 1


def test_a_patch_at_p_shows_the_scan_at_p_plus_the_shift():
    millimetres = 2.0 * (torch.arange(30.0) - 14.5)
    ramp = millimetres[:, None, None].expand(30, 30, 30)
    labels = torch.zeros(30, 30, 30, dtype=torch.int16)
    scan = Volume(ramp[None], labels, labels == 0, (2.0, 2.0, 2.0))
    patches = sample_patches([scan], PatchSampling((4, 4, 4), 30, 0.0, SpatialRanges(shift_mm=5.0)), generator())
    shifts = (patches.image[:, 0] - 29.0 * patches.coordinates[:, 0]).flatten(1)
    inside = shifts.amax(1) - shifts.amin(1) < 1e-3  # the others touch a face, where the scan is mirrored
    assert inside.sum() > 20
    shifts = shifts[inside]
    assert 4 < shifts.abs().max() <= 5 + 1e-3


def test_scans_are_drawn_uniformly_and_may_differ_in_size():
    first, second = volume((8, 8, 8)), volume((12, 10, 9), seed=4)
    first.image.fill_(0.0), second.image.fill_(1.0)
    patches = sample_patches([first, second], PatchSampling((6, 6, 6), 200), generator())
    assert 70 <= int(patches.image[:, 0, 0, 0, 0].sum()) <= 130


@pytest.mark.parametrize("balanced", [0.0, 0.5])
def test_the_generator_decides_alone(balanced):
    sampling = PatchSampling((4, 4, 4), 6, balanced, STRONG, IntensityRanges(noise=0.1), ((1, 2),))
    first, again, other = (sample_patches([volume()], sampling, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first.image, other.image)


def test_intensity_transforms_touch_the_image_alone():
    plain = sample_patches([volume()], PatchSampling((4, 4, 4), 6), generator())
    noisy = sample_patches([volume()], PatchSampling((4, 4, 4), 6, intensity=IntensityRanges(noise=1.0)), generator())
    assert torch.equal(plain.labels, noisy.labels)
    assert torch.equal(plain.coordinates, noisy.coordinates)
    assert not torch.allclose(plain.image, noisy.image, atol=1e-3)


def test_sampling_between_voxels_is_linear():
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    indices = torch.tensor([0.5, 1.25, 2.75]).reshape(1, 1, 1, 1, 3)
    value = sample_volume(image, indices, "bilinear")
    assert float(value) == pytest.approx(0.5 * 12 + 1.25 * 4 + 2.75, abs=1e-4)


def test_a_patch_of_one_slice_shows_that_slice_alone():
    """Or grey values of two would be mixed, and the label would be of one of them."""
    labels = torch.arange(6).expand(16, 16, 6).to(torch.int16)
    slices = Volume(labels[None].float(), labels, torch.ones(16, 16, 6, dtype=torch.bool), (1.0, 1.0, 8.0))
    strong = SpatialRanges(20.0, 0.2, 0.2, 0.1, 4.0, elastic_mm=2.0)
    patches = sample_patches([slices], PatchSampling((16, 16, 1), 20, spatial=strong), generator())
    assert torch.allclose(patches.image[:, 0], patches.labels.float(), atol=1e-4)
    assert len(patches.labels.unique()) > 1


def test_mirrored_labels_need_not_be_known():
    far = SpatialRanges(scale=0.6)
    shape = (8, 8, 8)
    inside = PatchSampling(shape, 30, spatial=far, mirrored_is_known=False)
    made, plain = volume(shape), PatchSampling(shape, 30, spatial=far)
    strict, lax = sample_patches([made], inside, generator()), sample_patches([made], plain, generator())
    assert bool(lax.known.all())
    assert 0.1 < float(strict.known.float().mean()) < 0.9
    assert torch.equal(strict.image, lax.image)
    assert bool(sample_patches([made], PatchSampling(shape, 3, mirrored_is_known=False), generator()).known.all())
