import pytest
import torch
from scipy import ndimage

from lowshot.inference.largest_piece import keep_largest_pieces


def scores_of(labels, classes):
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 0).float() * 0.8 + 0.1


def test_the_smaller_piece_becomes_background_and_its_probability_goes_there():
    labels = torch.zeros(6, 6, 1, dtype=torch.int64)
    labels[:2, :2], labels[4, 4] = 1, 1
    kept = keep_largest_pieces(scores_of(labels, 2))
    assert kept[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.9])
    assert kept[:, 4, 4, 0].tolist() == pytest.approx([1.0, 0.0])


def test_pieces_that_touch_at_a_corner_of_neighbouring_slices_are_one():
    labels = torch.zeros(4, 4, 2, dtype=torch.int64)
    labels[0, 0, 0], labels[1, 1, 1] = 1, 1
    scores = scores_of(labels, 2)
    assert keep_largest_pieces(scores.clone()).equal(scores)


def test_a_structure_in_one_piece_or_in_none_stays_as_it_is():
    labels = torch.zeros(5, 5, 3, dtype=torch.int64)
    labels[1:4, 1:4, 1:] = 2
    scores = scores_of(labels, 4)
    assert keep_largest_pieces(scores.clone()).equal(scores)


@pytest.mark.parametrize("seed", range(5))
def test_every_structure_is_left_with_one_piece_and_probabilities_sum_to_one(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, 9, 9, 5, generator=generator).mul(3).softmax(dim=0)
    before = scores.argmax(dim=0)
    kept = keep_largest_pieces(scores.clone())
    after = kept.argmax(dim=0)
    torch.testing.assert_close(kept.sum(dim=0), torch.ones(9, 9, 5))
    for k in (1, 2):
        _, count = ndimage.label((after == k).numpy(), structure=torch.ones(3, 3, 3).numpy())
        pieces, _ = ndimage.label((before == k).numpy(), structure=torch.ones(3, 3, 3).numpy())
        sizes = torch.from_numpy(pieces).flatten().bincount()[1:]
        assert count == 1
        assert int((after == k).sum()) == int(sizes.max())
