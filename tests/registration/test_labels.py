import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.registration.labels import shares
from lowshot.registration.sampling import voxel_positions


def labels_of(shape, classes=5, seed=0):
    """A map of blocky pieces, one of the classes left out."""
    drawn = torch.randint(
        classes, tuple(-(-size // 2) for size in shape), generator=torch.Generator().manual_seed(seed)
    )
    drawn[drawn == 2] = 0
    for axis, size in enumerate(shape):
        drawn = drawn.repeat_interleave(2, dim=axis).narrow(axis, 0, size)
    return drawn.to(torch.int16)


def positions_in(shape, count=400, beyond=2.5, seed=0):
    drawn = torch.rand(count, 1, 1, 3, generator=torch.Generator().manual_seed(seed))
    return drawn * (torch.tensor(shape) - 1 + 2 * beyond) - beyond


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 1), (1, 1, 3)])
def test_they_are_what_interpolating_one_hot_maps_gives(shape, dtype):
    labels, positions = labels_of(shape).to(dtype), positions_in(shape)
    found = dict(shares(labels, positions))
    for label in range(1, 5):
        one_hot = (labels == label).numpy().astype(np.float32)
        expected = ndimage.map_coordinates(one_hot, positions.reshape(-1, 3).T.numpy(), order=1, mode="grid-constant")
        share = found.get(label, torch.zeros(400))
        np.testing.assert_allclose(share.flatten(), expected, atol=1e-5)


def test_the_shares_of_a_position_add_up_to_one():
    labels, positions = labels_of((7, 6, 5)), positions_in((7, 6, 5))
    total = sum(share for _, share in shares(labels, positions))
    torch.testing.assert_close(total, torch.ones(400, 1, 1))


def test_outside_is_background():
    far = torch.tensor([[-3.0, 2, 2], [2, 9, 2], [1e6, -1e6, 1e6]]).reshape(3, 1, 1, 3)
    (label, share), *others = shares(torch.full((5, 5, 5), 3, dtype=torch.int16), far)
    assert label == 0
    assert share.flatten().tolist() == [1, 1, 1]
    assert not others


def test_half_a_voxel_beyond_the_face_a_structure_has_half_of_it():
    edge = torch.tensor([[-0.5, 0, 0], [2.25, 0, 0]]).reshape(2, 1, 1, 3)
    found = dict(shares(torch.full((3, 1, 1), 4, dtype=torch.int16), edge))
    assert found[4].flatten().tolist() == [0.5, 0.75]
    assert found[0].flatten().tolist() == [0.5, 0.25]


def test_structures_that_are_not_there_do_not_come_and_background_always_does():
    labels = torch.ones(6, 6, 6, dtype=torch.int16)
    labels[4:] = 3
    found = dict(shares(labels, voxel_positions((2, 6, 6))))
    assert list(found) == [0, 1]
    assert not found[0].any()
    assert bool((found[1] == 1).all())


def test_at_its_own_voxels_a_map_is_itself():
    labels = labels_of((7, 6, 5))
    for label, share in shares(labels, voxel_positions((7, 6, 5))):
        assert torch.equal(share, (labels == label).float())
