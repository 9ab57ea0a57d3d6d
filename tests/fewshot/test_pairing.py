import math

import pytest
import torch

from lowshot.errors import SettingsError
from lowshot.fewshot.pairing import PairingOptions, chunk_pairs, pair_chunks, pair_whole, signatures


def examples(*words):
    return [chunk.middle for chunk in chunk_pairs(*words)]


def flags(count, *places):
    return torch.tensor([place in places for place in range(count)])


def numbers(pairs):
    return [None if each is None else each.tolist() for each in pairs]


def alike(queries, slices, **best):
    """Query q looks most like slice ``best["q…"]``, and else like the nearer to the beginning the more."""
    found = -torch.arange(float(slices)).expand(queries, -1).clone()
    for word, place in best.items():
        found[int(word[1:]), place] = 9.0
    return found


def test_three_chunks_of_twelve_support_and_seven_query_slices():
    assert examples(12, 7, 3) == [2, 2, 6, 6, 10, 10, 10]
    assert [chunk.slices for chunk in chunk_pairs(12, 7, 3)][::3] == [range(4), range(4, 8), range(8, 12)]


def test_the_released_form_leaves_one_slice_to_the_last_chunk():
    """round(linspace(0, 11, 4))[:-1] + 12 // 3 // 2 = 2, 6, 9; query chunks begin at round(linspace(0, 6, 3))."""
    assert examples(12, 7, 3, "legacy") == [2, 2, 2, 6, 6, 6, 9]
    assert [chunk.slices for chunk in chunk_pairs(12, 7, 3, "legacy")][::3] == [range(4), range(4, 7), range(7, 12)]


@pytest.mark.parametrize("support", range(3, 41))
def test_three_chunks_have_the_slices_at_a_sixth_a_half_and_five_sixths(support):
    assert examples(support, 3, 3) == [support // 6, support // 2, 5 * support // 6]


@pytest.mark.parametrize("chunks", [1, 2, 3, 8, 12])
@pytest.mark.parametrize("form", ["clean", "legacy"])
def test_every_query_slice_has_an_example_and_they_run_in_one_direction(form, chunks):
    for support in range(1, 25):
        for query in range(1, 25):
            found = chunk_pairs(support, query, chunks, form)
            middles = [chunk.middle for chunk in found]
            assert len(found) == query
            assert middles == sorted(middles)
            assert 0 <= middles[0] <= middles[-1] < support
            assert all(0 <= c.slices.start < c.slices.stop <= support for c in found)
            assert len(set(middles)) <= min(chunks, support, query)


def test_the_clean_form_is_that_of_its_formula():
    for support in range(1, 30):
        for query in range(1, 30):
            count = min(8, support, query)
            wanted = [
                math.floor((i + 0.5) * support / count)
                for i in range(count)
                for _ in range(i * query // count, (i + 1) * query // count)
            ]
            assert examples(support, query, 8) == wanted


def test_no_more_chunks_than_slices():
    assert examples(2, 5, 12) == [0, 0, 1, 1, 1]
    assert examples(9, 1, 3) == [4]
    assert examples(9, 2, 1, "legacy") == [4, 4]


def test_chunks_are_of_the_slices_that_show_the_structure():
    shown = flags(10, 3, 4, 5, 8, 9, 7)
    found = pair_chunks(shown, torch.zeros(3, 10), PairingOptions(pairing="chunks"))
    assert numbers(found) == [[4], [7], [9]]


def test_a_query_stored_the_other_way_round_gets_the_examples_the_other_way_round():
    shown = flags(14, *range(1, 13))
    ways = [
        pair_chunks(shown, torch.zeros(7, 14), PairingOptions(pairing="chunks"), reversed_=turned)
        for turned in (False, True)
    ]
    assert numbers(ways[0]) == [[3], [3], [7], [7], [11], [11], [11]]
    assert numbers(ways[1]) == numbers(ways[0])[::-1]


def test_the_slice_most_alike_is_sought_within_the_chunk():
    """Query slice 0 looks most like slice 9, which is another chunk's; then slice 1, the best of its own."""
    options = PairingOptions(pairing="chunks", in_chunk="most alike")
    grades = alike(7, 14, q0=9, q3=6, q6=12)
    shown = flags(14, *range(1, 13))
    assert numbers(pair_chunks(shown, grades, options)) == [[1], [1], [5], [6], [9], [9], [12]]
    assert numbers(pair_chunks(shown, grades, options, reversed_=True)) == [[9], [9], [9], [6], [5], [1], [1]]


LAID = torch.arange(12.0)


def whole(shown, lacking, options, laid=LAID, grades=None):
    count = 12 if laid is None else len(laid)
    return numbers(pair_whole(shown, lacking, torch.zeros(count, 12) if grades is None else grades, laid, options))


def test_a_structure_ends_at_the_slices_that_are_known_to_lack_it():
    shown, rest = flags(12, 4, 5, 6, 7), flags(12, 0, 1, 2, 3, 8, 9, 10, 11)
    found = whole(shown, rest, PairingOptions(reach=0.0))
    assert [place for place, pair in enumerate(found) if pair is not None] == list(range(3, 9))
    wider = whole(shown, rest, PairingOptions(reach=0.4))  # of a length of 3: 1.2 slices
    assert [place for place, pair in enumerate(wider) if pair is not None] == list(range(2, 10))


def test_across_unknown_slices_it_may_go_on():
    shown = flags(12, 4, 5, 6, 7)
    found = whole(shown, flags(12, 0, 1, 10), PairingOptions(reach=0.0))
    assert [place for place, pair in enumerate(found) if pair is not None] == list(range(1, 11))
    assert None not in whole(shown, flags(12), PairingOptions())


def test_of_one_annotated_slice_the_structure_may_be_anywhere():
    assert whole(flags(12, 6), flags(12), PairingOptions(shots=3)) == [[6]] * 12


def test_a_hole_in_the_structure_does_not_end_it():
    found = whole(flags(12, 3, 8), flags(12, 0, 1, 2, 5, 6, 9), PairingOptions(reach=0.0))
    assert [place for place, pair in enumerate(found) if pair is not None] == list(range(2, 10))
    assert found[2:10] == [[3]] * 4 + [[8]] * 4


def test_the_example_is_the_slice_most_alike_of_the_neighbourhood():
    shown = flags(12, *range(12))
    grades = alike(12, 12, q4=11, q5=7, q6=3)
    found = whole(shown, flags(12), PairingOptions(shots=1), grades=grades)
    assert found[4:7] == [[2], [7], [4]]
    assert sorted(whole(shown, flags(12), PairingOptions(shots=3), grades=grades)[5]) == [3, 4, 7]


def test_where_nobody_knows_how_the_scans_lie_all_examples_are_compared():
    grades = alike(2, 12, q0=11, q1=4)
    found = pair_whole(flags(12, 4, 5, 11), flags(12, 0), grades, None, PairingOptions(shots=1))
    assert numbers(found) == [[11], [4]]
    more = pair_whole(flags(12, 4, 5), flags(12), grades, None, PairingOptions(shots=5))
    assert numbers(more) == [[4, 5], [4, 5]]


def test_slices_are_compared_by_what_they_show_not_by_their_brightness():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(3, 1, 48, 60, generator=random)
    found = signatures(image * 3 + 7) @ signatures(image).mT
    torch.testing.assert_close(found.diagonal(), torch.ones(3))
    assert (found - torch.eye(3)).abs().max() < 0.3
    assert not signatures(torch.ones(1, 1, 48, 60)).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chunks": 0}, "chunks: expected at least 1"),
        ({"shots": 0}, "shots: expected at least 1"),
        ({"slices_at_once": 0}, "slices_at_once: expected at least 1"),
        ({"reach": -0.1}, "reach: expected a number from 0 on"),
        ({"reach": float("nan")}, "reach: expected a number from 0 on"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        PairingOptions(**wrong)
