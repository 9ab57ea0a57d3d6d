import re
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from lowshot.training.differences import differences

PATHS = st.text("ab/", min_size=1, max_size=6)
FILES = st.dictionaries(PATHS, st.sampled_from("xyz").map(lambda text: sha256(text.encode()).hexdigest()), max_size=8)


def files(**contents):
    return {"files": {f"/home/ann/d/{name}": sha256(text.encode()).hexdigest() for name, text in contents.items()}}


def study(case, text=""):
    return files(**{f"images/{case}.nii.gz": text, f"labels/{case}.nii.gz": text})


def test_other_files_are_told_by_as_much_of_their_paths_as_tells_them_apart():
    assert differences(files(**{"s1.nii.gz": ""}), files(**{"s2.nii.gz": ""})) == [
        "it uses s1.nii.gz, you gave s2.nii.gz"
    ]
    assert differences(study("s1"), study("s2")) == [
        "it uses images/s1.nii.gz and labels/s1.nii.gz, you gave images/s2.nii.gz and labels/s2.nii.gz"
    ]
    assert differences(files(**{"a/s1.nii": ""}), files(**{"b/s1.nii": ""})) == ["it uses a/s1.nii, you gave b/s1.nii"]


def test_files_that_one_of_them_lacks():
    one, two = files(a=""), files(a="", b="")
    assert differences(one, two) == ["it does not use b, which you gave"]
    assert differences(two, one) == ["it also uses b, which you did not give"]
    assert differences(files(), one) == ["it does not use a, which you gave"]


def test_a_file_of_the_same_name_with_other_content_has_changed():
    assert differences(study("s1"), study("s1", "other")) == ["images/s1.nii.gz and labels/s1.nii.gz have changed"]
    assert differences(files(a="1", b="2"), files(a="1", b="3")) == ["b has changed"]
    assert differences({"names": sha256(b"1").hexdigest()}, {"names": sha256(b"2").hexdigest()}) == [
        "names has changed"
    ]


def test_many_files_are_counted():
    begun = files(**{f"s{number}": "" for number in range(9)})
    assert differences(begun, files(s9="")) == ["it uses s0, s1, s2 and 6 more, you gave s9"]


@given(FILES, FILES)
def test_tables_of_files_differ_in_words_without_digests(then, now):
    found = differences({"files": then}, {"files": now})
    assert bool(found) == (list(then.items()) != list(now.items()))
    assert not re.search("[0-9a-f]{8}", " ".join(found))


def test_values_are_told_as_they_were_and_are():
    begun = {"seed": 0, "budget": {"steps": 20, "minutes": None}, "channels": ["T1", "T2"], "widths": [8, 8, 16]}
    asked = {"seed": 1, "budget": {"steps": None, "minutes": 5}, "channels": ["T1"], "widths": [8, 16], "base": ["a"]}
    assert differences(begun, asked) == [
        "seed was 0, is now 1",
        "budget: steps was 20, is now not given",
        "budget: minutes was not given, is now 5",
        "channels was T1 and T2, is now T1",
        "widths was [8, 8, 16], is now [8, 16]",
        "base was not given, is now a",
    ]


def test_what_differs_only_in_a_part_of_a_digest_has_changed():
    one, other = ({"annotation": [f"576 voxels ({part}) of all structures"]} for part in ("0123abcd", "0123abce"))
    assert differences(one, other) == ["annotation has changed"]
    whole = {"annotation": ["all voxels of all structures"] * 2}
    assert differences(one, whole) == [
        "annotation was 576 voxels of all structures, is now 2 × all voxels of all structures"
    ]


def test_what_is_long_is_cut():
    (found,) = differences({"pairs": list(range(1000))}, {"pairs": None})
    assert len(found) < 120
    assert found.endswith("…, is now not given")


def test_equal_requests_do_not_differ():
    assert differences({"seed": 0, **study("s1")}, {**study("s1"), "seed": 0, "base": None}) == []


def test_the_same_files_in_another_order_are_another_request():
    """What is kept of a pool goes by its order, and a channel by its place."""
    one = files(a="1", b="2")
    another = {"files": dict(reversed(one["files"].items()))}
    assert differences(one, another) == ["it uses the same files in another order, or as other channels"]
