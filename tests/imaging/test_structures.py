import numpy as np
import pytest

from lowshot.errors import UnknownLabel
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.structures import Structures, legible_names


def structures(names, masks, looked_for=None):
    """Structures of a row of voxels."""
    arrays = [np.array(mask, dtype=bool)[:, None, None] for mask in masks]
    grid = Grid(arrays[0].shape, np.eye(4))
    every = frozenset(range(len(names)))
    return Structures("plan.dcm", tuple(names), grid, lambda k: arrays[k], every if looked_for is None else looked_for)


LIVER, KIDNEY = (1, 1, 0, 0, 0), (0, 0, 0, 1, 0)


def test_without_a_table_values_count_the_structures():
    values, names = structures(["liver", "kidney", "liver (2)"], [LIVER, KIDNEY, (0, 0, 0, 0, 1)]).label_map(None)
    assert values[:, 0, 0].tolist() == [1, 1, 0, 2, 3]
    assert names == Names(("background", "liver", "kidney", "liver (2)"), (0, 1, 2, 3))


def test_a_table_chooses_by_name_and_gives_its_values():
    """Capitals, spaces and underscores do not count; the body's outline is not asked for."""
    table = Names(("nothing", "left kidney", "liver", "spleen"), (5, 2, 7, 9))
    found = structures(["BODY", "Liver", "Left_Kidney"], [(1, 1, 1, 1, 1), LIVER, KIDNEY])
    values, names = found.label_map(table)
    assert values[:, 0, 0].tolist() == [7, 7, 5, 2, 5]
    assert names is table
    assert found.annotated(table) == {"liver", "left kidney"}  # nobody looked for a spleen


def test_what_only_has_a_name_was_not_looked_for():
    found = structures(["liver", "kidney"], [LIVER, (0, 0, 0, 0, 0)], looked_for=frozenset({0}))
    table = Names.of({1: "liver", 2: "kidney"})
    assert found.annotated(table) == {"liver"}
    values, names = found.label_map(None)
    assert (names.foreground, int(values.max())) == (("liver",), 1)
    with pytest.raises(UnknownLabel, match="lists kidney, but nothing of that is drawn"):
        found.annotated(Names.of({2: "kidney"}))


def test_of_two_that_overlap_the_table_says_which():
    found = structures(["liver", "tumour"], [(1, 1, 1, 0, 0), (0, 1, 0, 0, 0)])
    with pytest.raises(UnknownLabel, match=r"liver and tumour overlap in 2 voxels; name those that are meant"):
        structures(["liver", "tumour"], [(1, 1, 1, 0, 0), (0, 1, 1, 0, 0)]).label_map(None)
    for names in ({1: "liver", 2: "tumour"}, {1: "tumour", 2: "liver"}):
        last = max(names)
        values, _ = found.label_map(Names.of(names))
        assert values[1, 0, 0] == last


def test_a_border_drawn_twice_is_no_overlap():
    one, other = np.arange(400) < 201, np.arange(400) >= 199
    values, _ = structures(["white", "grey"], [one, other]).label_map(None)
    assert np.bincount(values[:, 0, 0]).tolist() == [0, 199, 201]
    with pytest.raises(UnknownLabel, match="overlap"):
        structures(["white", "grey"], [np.arange(400) < 204, other]).label_map(None)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("PTV", "BODY"), r"none of its structures \(PTV, BODY\) is among the names \(liver\)"),
        (("liver", "Liver"), "liver, Liver go by one name"),
    ],
)
def test_names_that_do_not_tell_are_refused(names, message):
    with pytest.raises(UnknownLabel, match=message):
        structures(names, [LIVER, KIDNEY]).label_map(Names.of({1: "liver"}))


def test_names_of_a_file_are_made_legible_and_each_its_own():
    stored = ("liver", "background", "liver", "a\x1b[2Jb", "liver (2)")
    assert legible_names(stored) == ("liver", "background (2)", "liver (2)", "a?[2Jb", "liver (2) (2)")
