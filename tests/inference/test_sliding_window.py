import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowshot.inference.sliding_window import axis_coordinates, cut, mirrored, predict_tiles, tiles
from lowshot.training.run import Run

sizes = st.integers(1, 40)
shapes = st.tuples(sizes, sizes, sizes)


def plain_run():
    return Run(device="cpu", precision="float32", memory_format="contiguous")


def test_the_example_of_the_docstring():
    found = tiles((100, 36, 12), (36, 36, 12), (4, 4, 2))
    assert sorted({tile.slices[0].start for tile in found}) == [0, 28, 56, 84]
    assert sorted({tile.corner[0] for tile in found}) == [-4, 24, 52, 80]
    assert max(tile.slices[0].stop for tile in found) == 100


def test_the_papers_volume_takes_its_tiles():
    found = tiles((216, 216, 48), (36, 36, 12), (4, 4, 2))
    assert len(found) == 8 * 8 * 6
    assert found[0].corner == (-4, -4, -2)
    assert found[0].slices == (slice(0, 28), slice(0, 28), slice(0, 8))


@settings(deadline=None)
@given(shapes, shapes, st.tuples(*[st.integers(0, 8)] * 3))
def test_tiles_cover_each_voxel_once_and_lie_in_their_patch(shape, inner, margin):
    patch = tuple(size + 2 * edge for size, edge in zip(inner, margin, strict=True))
    covered = np.zeros(shape, dtype=int)
    for tile in tiles(shape, patch, margin):
        covered[tile.slices] += 1
        for corner, size, edge, part in zip(tile.corner, patch, margin, tile.slices, strict=True):
            assert corner + edge == part.start
            assert part.stop <= corner + size - edge
    assert (covered == 1).all()


def test_a_margin_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"patch \(8, 8, 8\) has nothing left inside a margin of \(4, 0, 0\)"):
        tiles((10, 10, 10), (8, 8, 8), (4, 0, 0))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(-30, 30), st.integers(1, 30))
def test_mirrored_indices_are_numpys_reflection(size, corner, length):
    line = np.arange(size)
    padded = np.pad(line, 64, mode="reflect") if size > 1 else np.zeros(129, dtype=int)
    assert mirrored(corner, length, size).tolist() == padded[64 + corner : 64 + corner + length].tolist()


def test_coordinates_go_on_beyond_the_faces():
    torch.testing.assert_close(axis_coordinates(-1, 7, 5), torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]))
    assert axis_coordinates(0, 1, 1).tolist() == [0.0]


def test_a_patch_that_reaches_out_is_mirrored_on_every_side():
    volume = torch.randn(2, 6, 5, 4)
    image, coordinates = cut(volume, (-2, -1, -3), (10, 7, 10))
    expected = np.pad(volume.numpy(), ((0, 0), (2, 2), (1, 1), (3, 3)), mode="reflect")
    np.testing.assert_array_equal(image.numpy(), expected)
    assert coordinates.shape == (3, 10, 7, 10)
    torch.testing.assert_close(coordinates[:, 2, 1, 3], torch.full((3,), -1.0))
    torch.testing.assert_close(coordinates[:, 7, 5, 6], torch.full((3,), 1.0))


class Voxelwise(nn.Module):
    """Logits that depend on one voxel and where it lies, so that tiles can be compared with the whole volume."""

    def forward(self, image, coordinates):
        return torch.cat([image, coordinates, 1 - image], dim=1)


def assembled(network, volume, classes, **settings):
    whole = torch.full((classes, *volume.shape[1:]), torch.nan)
    for region in predict_tiles(network, volume, run=plain_run(), **settings):
        assert region.classes == slice(None)
        whole[(slice(None), *region.slices)] = region.scores
    return whole


@pytest.mark.parametrize("shape", [(9, 8, 7), (3, 20, 5), (2, 2, 1)])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_tiles_give_what_the_whole_volume_gives(shape, batch):
    volume = torch.randn(1, *shape)
    image, coordinates = cut(volume, (0, 0, 0), shape)
    expected = Voxelwise()(image[None], coordinates[None])[0].softmax(0)
    found = assembled(Voxelwise(), volume, 5, patch=(6, 6, 6), margin=(1, 2, 1), batch=batch)
    torch.testing.assert_close(found, expected)


def test_a_network_that_looks_no_further_than_the_margin_sees_no_seams():
    torch.manual_seed(0)

    class Neighbours(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv3d(1, 2, 3)

        def forward(self, image, coordinates):
            return self.convolution(nn.functional.pad(image, [1] * 6, mode="reflect"))

    network, volume = Neighbours(), torch.randn(1, 13, 11, 12)
    expected = network(volume[None], None)[0].softmax(0)
    found = assembled(network, volume, 2, patch=(6, 6, 6), margin=(1, 1, 1), batch=4)
    torch.testing.assert_close(found, expected.detach())
    seams = assembled(network, volume, 2, patch=(6, 6, 6), margin=(0, 0, 0), batch=4)
    assert not torch.allclose(seams, expected)


def test_scores_are_probabilities_in_float32_without_gradient():
    network = nn.Conv3d(1, 3, 1)

    class Half(nn.Module):
        def forward(self, image, coordinates):
            return network(image).bfloat16()

    for region in predict_tiles(
        Half(), torch.randn(1, 5, 5, 5), patch=(4, 4, 4), margin=(0, 0, 0), batch=1, run=plain_run()
    ):
        assert region.scores.dtype == torch.float32
        assert not region.scores.requires_grad
        torch.testing.assert_close(region.scores.sum(0), torch.ones(region.scores.shape[1:]))
