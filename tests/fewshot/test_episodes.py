import pytest
import torch

from listening import Listening
from lowshot.errors import EmptySupport
from lowshot.fewshot.base_slices import Base
from lowshot.fewshot.episodes import Sampling, Shown, draw_pairs, draw_structures, episode
from lowshot.training.run import Run
from lowshot.transforms.levels import AUGMENTATION

RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
NAMES = ("background", "a", "b", "c")
DRAWS = 200


def base(*shown, scans=None, hidden=()):
    """A slice for each word such as "ab", which shows these structures, each on three of twelve rows."""
    labels = torch.zeros(len(shown), 12, 10, dtype=torch.int16)
    for slice_number, word in enumerate(shown):
        for letter in word:
            k = NAMES.index(letter)
            labels[slice_number, 3 * k : 3 * k + 3] = k
    known = torch.ones_like(labels, dtype=torch.bool)
    known[list(hidden)] = False
    scan = torch.tensor(scans or [0] * len(shown))
    count = int(scan.max()) + 1
    return Base(
        labels[:, None].float(),
        labels,
        known,
        scan,
        torch.ones(count, len(NAMES), dtype=torch.bool),
        NAMES,
        ((1.0, 1.0, 1.0),) * count,
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(shown, structure, shots=1):
    random = generator()
    return {
        (query, *support.tolist()) for query, support in (shown.draw(structure, shots, random) for _ in range(DRAWS))
    }


def draws_alike(shown, shots=1):
    random = generator()
    drawn = [shown.draw_alike(shots, random) for _ in range(DRAWS)]
    return {(query, *support.tolist(), *(NAMES[k] for k in structures)) for query, support, structures in drawn}


def test_every_two_slices_that_show_a_structure_are_support_and_query_of_each_other():
    shown = Shown(base("a", "ab", "b", "a", ""), 0.005)
    assert draws(shown, 1) == {(0, 1), (1, 0), (0, 3), (3, 0), (1, 3), (3, 1)}
    assert draws(shown, 2) == {(1, 2), (2, 1)}


def test_structures_that_can_never_be_asked_for_are_told():
    heard = Listening()
    assert Shown.of(base("ab", "a", "a"), 0.005, heard).structures == [1]
    assert heard.warnings == [
        "nothing is learned from b: fewer than two slices show as much of it as 0.50% of a slice (setting "
        "least_share), so it is background in all"
    ]
    Shown.of(base("ab", "ab"), 0.005, heard)
    assert len(heard.warnings) == 1


@pytest.mark.parametrize(("scans", "told"), [([0, 0, 1, 1], True), ([0, 1, 1, 0], False), ([0, 0, 0, 0], False)])
def test_a_base_whose_scans_share_no_structure_is_told(scans, told):
    heard = Listening()
    Shown.of(base("a", "a", "b", "b", scans=scans), 0.005, heard)
    assert [warning.startswith("no structure is annotated in two scans") for warning in heard.warnings] == [True] * told


def test_a_slice_of_which_nothing_is_known_is_never_drawn():
    shown = Shown(base("a", "a", "a", hidden=(1,)), 0.005)
    assert not shown.shown[1].any()
    assert draws(shown, 1) == {(0, 2), (2, 0)}
    assert {numbers[:2] for numbers in draws_alike(shown)} == {(0, 2), (2, 0)}


def test_what_covers_less_than_the_least_share_is_not_shown():
    slices = base("a", "a", "a")
    slices.labels[0, 4:] = 0  # 10 of 120 pixels are left
    assert draws(Shown(slices, 0.1), 1) == {(1, 2), (2, 1)}
    assert (0, 1) in draws(Shown(slices, 0.08), 1)


def test_what_one_slice_alone_shows_cannot_be_asked_for():
    shown = Shown(base("ab", "b", "c"), 0.005)
    assert shown.structures == [2]
    with pytest.raises(EmptySupport, match=r"two slices of the base.*0\.50%"):
        Shown(base("a", "b"), 0.005)


def test_from_one_scan_support_and_query_come_where_that_is_asked():
    slices = base("a", "a", "a", "a", "a", scans=[0, 0, 1, 1, 2])
    shown = Shown(slices, 0.005, same_scan=True)
    assert draws(shown, 1) == {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert {numbers[:2] for numbers in draws_alike(shown)} == {(0, 1), (1, 0), (2, 3), (3, 2)}
    with pytest.raises(EmptySupport, match="two slices of one scan"):
        Shown(base("a", "a", scans=[0, 1]), 0.005, same_scan=True)


def test_several_shots_are_several_slices_and_repeat_only_where_they_must():
    four = draws(Shown(base("a", "a", "a", "a"), 0.005), 1, shots=3)
    assert all(sorted(numbers) == [0, 1, 2, 3] for numbers in four)
    two = draws(Shown(base("a", "a"), 0.005), 1, shots=3)
    assert two == {(0, 1, 1, 1), (1, 0, 0, 0)}


def test_alike_are_slices_that_show_the_same_structures():
    shown = Shown(base("ab", "ab", "a", "a", "", ""), 0.005)
    assert draws_alike(shown) == {(0, 1, "a", "b"), (1, 0, "a", "b"), (2, 3, "a"), (3, 2, "a")}


def test_a_slice_whose_set_is_its_own_is_asked_for_one_of_its_structures():
    shown = Shown(base("abc", "a", "b", "a"), 0.005)
    found = draws_alike(shown)
    assert {each for each in found if each[0] == 0} == {(0, 1, "a"), (0, 3, "a"), (0, 2, "b")}
    assert {each for each in found if each[0] == 2} == {(2, 0, "b")}
    assert {each for each in found if each[0] == 1} == {(1, 3, "a")}


def test_a_step_asks_for_different_structures_as_long_as_there_are_some():
    shown = Shown(base("abc", "abc", "abc"), 0.005)
    for step in range(20):
        drawn = draw_structures(shown, Sampling(tasks=5), RUN, step, generator(step))
        assert sorted(drawn.structure[:3].tolist()) == [1, 2, 3]
        assert drawn.structure[3:].tolist() == drawn.structure[:2].tolist()


def test_an_episode_marks_the_asked_structure_and_nothing_else():
    slices = base("abc", "abc", "ab")
    drawn = episode(slices, [(0, torch.tensor([1, 2]), [2])], AUGMENTATION["none"], RUN, generator())
    assert (drawn.support.shape, drawn.masks.shape) == ((1, 2, 1, 12, 10), (1, 2, 12, 10))
    assert (drawn.query.shape, drawn.truth.shape, drawn.known.shape) == ((1, 1, 12, 10), (1, 12, 10), (1, 12, 10))
    assert drawn.masks[0].equal((slices.labels[1:] == 2).float())
    assert drawn.truth[0].equal((slices.labels[0] == 2).float())
    assert drawn.support[0].equal(slices.image[1:])
    assert (drawn.structure.tolist(), drawn.slices.tolist()) == ([2], [0])


def test_what_is_unknown_is_neither_inside_nor_known():
    slices = base("a", "a")
    slices.known[:, 4:] = False
    drawn = episode(slices, [(0, torch.tensor([1]), [1])], AUGMENTATION["none"], RUN, generator())
    assert drawn.truth.sum() == drawn.masks.sum() == 10  # one row of three
    assert drawn.known[0].equal(slices.known[0])


def test_all_structures_of_a_pair_are_asked_for_in_the_very_same_slices():
    slices, support = base("ab", "ab", "c", "c"), torch.tensor([1])
    pairs = [(0, support, [1, 2]), (3, torch.tensor([2]), [3]), (0, support, [1])]
    drawn = episode(slices, pairs, AUGMENTATION["strong"], RUN, generator())
    assert drawn.slices.tolist() == [0, 0, 3, 0]
    assert drawn.pair.tolist() == [0, 0, 1, 2]  # the same slices again, but otherwise varied
    assert drawn.structure.tolist() == [1, 2, 3, 1]
    assert drawn.query[0].equal(drawn.query[1])
    assert drawn.support[0].equal(drawn.support[1])
    assert not (drawn.truth[0] * drawn.truth[1]).any()


def test_pairs_are_drawn_for_all_that_they_show():
    shown = Shown(base("ab", "ab", "ab"), 0.005)
    drawn = draw_pairs(shown, Sampling(tasks=2, shots=2), RUN, 0, generator())
    assert drawn.structure.tolist() == [1, 2, 1, 2]
    assert drawn.support.shape == (4, 2, 1, 12, 10)


def test_support_and_query_are_turned_each_its_own_way_and_masks_with_them():
    slices = base("c", "c")
    drawn = episode(slices, [(0, torch.tensor([1]), [3])] * 4, AUGMENTATION["turns"], RUN, generator())
    assert not drawn.masks[:, 0].equal(drawn.truth)
    for image, mask in ((drawn.query, drawn.truth), (drawn.support[:, 0], drawn.masks[:, 0])):
        assert (image[:, 0][mask > 0] > 1.5 - 1e-4).all()  # of 3 inside, 0 outside
        assert (image[:, 0][mask == 0] < 1.5 + 1e-4).float().mean() > 0.95


def test_an_episode_is_a_function_of_its_generator():
    shown = Shown(base("abc", "ab", "bc", "a"), 0.005)
    one, same, other = (
        draw_structures(shown, Sampling(tasks=2, augmentation=AUGMENTATION["strong"]), RUN, 0, generator(seed))
        for seed in (1, 1, 2)
    )
    assert all(a.equal(b) for a, b in zip(one, same, strict=True))
    assert not one.query.equal(other.query)
