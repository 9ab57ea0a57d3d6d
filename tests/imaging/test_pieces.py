import torch
from hypothesis import given
from hypothesis import strategies as st

from lowshot.imaging.pieces import largest_pieces


def test_the_largest_piece_of_each_structure_stays():
    labels = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 2], [2, 0, 2, 2]], dtype=torch.int16)
    assert largest_pieces(labels).tolist() == [[True, True, True, False], [True] * 4, [False, True, True, True]]


def test_corners_do_not_connect_and_the_first_of_equal_pieces_stays():
    assert largest_pieces(torch.eye(2, dtype=torch.int16)).tolist() == [[True, True], [True, False]]


@given(st.lists(st.integers(0, 3), min_size=24, max_size=24))
def test_what_stays_is_one_piece_of_every_structure(values):
    labels = torch.tensor(values, dtype=torch.int16).reshape(2, 3, 4)
    cleaned = labels.masked_fill(~largest_pieces(labels), 0)
    assert set(cleaned.unique().tolist()) | {0} == set(values) | {0}
    assert bool(largest_pieces(cleaned).all())
    assert torch.equal(largest_pieces(labels.flip(0)).sum(), largest_pieces(labels).sum())
