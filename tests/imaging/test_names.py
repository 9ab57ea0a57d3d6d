import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowshot.errors import UnknownLabel
from lowshot.imaging.names import Names, lateral_pairs, merged


@given(values=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=40, unique=True), seed=st.integers(0, 99))
def test_any_integers_become_indices_and_come_back(values, seed):
    names = Names.from_values(values, background=values[0])
    voxels = np.random.default_rng(seed).choice(np.array(values), (3, 4, 5))
    indices = names.encode(voxels)
    assert names.values[0] == values[0]
    assert indices.dtype == np.int16
    assert indices.min() >= 0
    assert (indices == 0).sum() == (voxels == values[0]).sum()
    np.testing.assert_array_equal(names.decode(indices), voxels)


def test_the_table_is_ordered_by_value_behind_the_background():
    names = Names.of({600: "atrium", 200: "myocardium", 500: "ventricle"})
    assert names.names == ("background", "myocardium", "ventricle", "atrium")
    assert names.values == (0, 200, 500, 600)
    assert names.foreground == ("myocardium", "ventricle", "atrium")
    assert names.index("atrium") == 3
    assert len(names) == 4
    assert Names.of({1: "air", 7: "body"}, background=1).names == ("air", "body")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_every_value_of_a_type_is_its_own_index_or_unknown(dtype):
    low, high = max(np.iinfo(dtype).min, -40_000), min(np.iinfo(dtype).max, 40_000)
    names = Names.from_values([low, 5, 7, high])
    values = np.array([[0, low, 5], [7, high, low]], dtype=dtype)
    expected = [[names.values.index(int(value)) for value in row] for row in values]
    assert names.encode(values).tolist() == expected
    with pytest.raises(UnknownLabel, match="label value 6, 8 has no name"):
        names.encode(np.array([low, 8, 6, high], dtype=dtype))


def test_unknown_values_are_listed_with_the_file():
    with pytest.raises(UnknownLabel, match=r"case\.nii: label value 4, 9 has no name; the table knows 0, 1"):
        Names.of({1: "liver"}).encode(np.array([0, 1, 9, 4]), "case.nii")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(UnknownLabel, match="no structure named 'lever'; there are: liver"):
        Names.of({1: "liver"}).index("lever")


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (("background", "liver"), (0,), "2 names for 1 label values"),
        (("background", "liver", "liver"), (0, 1, 2), "name liver occurs twice"),
        (("background", "liver", "spleen"), (0, 1, 1), "value 1 occurs twice"),
        (("background", "\x1b[2Jliver"), (0, 1), r"the name '\\x1b\[2Jliver' holds control characters"),
        (("background", "liver\n"), (0, 1), r"the name 'liver\\n' holds control characters"),
        (("\ud800", "liver"), (0, 1), r"the name '\\ud800' holds control characters, or half a letter"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(names, values, message):
    with pytest.raises(UnknownLabel, match=message):
        Names(names, values)


def test_letters_of_every_script_are_names():
    names = ("background", "Niere ½", "肝臓", "کلیه\u200cها", "🫀")
    assert Names(names, tuple(range(5))).names == names


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left kidney", "right kidney"),
        ("Left-Thalamus-Proper", "Right-Thalamus-Proper"),
        ("ctx-lh-insula", "ctx-rh-insula"),
        ("lung_upper_L", "lung_upper_R"),
        ("kidney (left)", "kidney (right)"),
    ],
)
def test_sides_are_paired(left, right):
    names = Names.of({1: right, 2: "liver", 3: left})
    assert lateral_pairs(names) == ((3, 1),)


@pytest.mark.parametrize("name", ["liver", "colon", "aorta", "bladder", "lateral ventricle", "rib"])
def test_other_names_are_not(name):
    assert lateral_pairs(Names.of({1: name, 2: "left kidney", 3: "right lung"})) == ()


def test_tables_are_merged_by_name():
    one, other = Names.of({1: "liver", 6: "spleen"}), Names.of({6: "spleen", 2: "kidney"})
    assert merged([one, other]) == Names.of({1: "liver", 6: "spleen", 2: "kidney"})
    unnamed = [Names.from_values([3, 9]), Names.from_values([3, 7])]
    assert merged(unnamed) == Names.from_values([3, 7, 9])


def test_names_that_claim_one_value_are_numbered_anew():
    one, other = Names.of({1: "liver", 2: "spleen"}), Names.of({1: "kidney", 2: "liver"})
    assert merged([one, other]) == Names.of({1: "liver", 2: "spleen", 3: "kidney"})


@pytest.mark.parametrize(
    ("written", "found"),
    [("left kidney", 1), ("Left_Kidney", 1), ("LEFT-KIDNEY", 1), ("CTV+", 2), ("ctv+", 2), ("CTV-", 3), ("CTV", None)],
)
def test_names_are_found_however_they_are_written(written, found):
    assert Names.of({7: "left kidney", 8: "CTV+", 9: "CTV-"}).find(written) == found


def test_where_two_are_alike_only_the_very_name_is_found():
    names = Names.of({1: "liver", 2: "Liver"})
    assert (names.find("liver"), names.find("Liver"), names.find("LIVER")) == (1, 2, None)


def test_one_structure_written_in_two_ways_is_merged():
    assert merged([Names.of({1: "left kidney"}), Names.of({1: "Left_Kidney", 2: "liver"})]).foreground == (
        "left kidney",
        "liver",
    )
