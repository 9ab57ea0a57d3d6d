import unicodedata
from pathlib import Path

import pytest

from lowshot.errors import InputError, UnreadableFile
from lowshot.evaluation.pairing import bare_name, pair_files
from lowshot.imaging.files import scan_name


@pytest.fixture
def folders(tmp_path):
    def make(predictions, truth, images=()):
        for folder, names in (("predictions", predictions), ("truth", truth), ("images", images)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        return tmp_path / "predictions", tmp_path / "truth", tmp_path / "images"

    return make


def pairs(predictions, truth, images=None):
    files = pair_files(predictions, truth, images).files
    return {each.case: each.prediction.name if each.prediction else None for each in files}


def test_extensions_do_not_count_and_other_files_are_ignored(folders):
    predictions, truth, _ = folders(["a.nii.gz", "b.mha", "b.json", ".b.nii.gz"], ["b.png", "a.nrrd", "notes.txt"])
    assert pairs(predictions, truth) == {"a": "a.nii.gz", "b": "b.mha"}


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        ("patient1.nii.gz", "patient1_seg.nii.gz"),
        ("image_12.nii.gz", "label_12.nii.gz"),
        ("img0001.nii.gz", "label0001.nii.gz"),
        ("Case 3_pred.nii.gz", "case-3_gt.nii.gz"),
        ("benign (1).png", "benign (1)_mask.png"),
        ("p1_LGE.nii.gz", "p1_LGE_manual.nii.gz"),
        ("ct_0000.nii.gz", "ct.nii.gz"),
        ("ann.seg.nrrd", "ann.nii.gz"),
    ],
)
def test_decorated_names(folders, prediction, truth):
    predictions, true, _ = folders([prediction, "else.nii.gz"], [truth, "other_thing_9.nii.gz"])
    assert pairs(predictions, true)[scan_name(Path(truth))] == prediction


@pytest.mark.parametrize(("one", "other"), [("case10000", "case1"), ("segal", "al"), ("ct_1", "ct_2"), ("p1_C0", "p1")])
def test_names_that_only_look_decorated(folders, one, other):
    predictions, truth, _ = folders([f"{one}.nii", "same.nii"], [f"{other}.nii", "same.nii"])
    assert pairs(predictions, truth)[other] is None


def test_equal_names_win_over_similar_ones(folders):
    predictions, truth, _ = folders(["a.nii", "a_seg.nii"], ["a_seg.nii", "a.nii"])
    assert pairs(predictions, truth) == {"a": "a.nii", "a_seg": "a_seg.nii"}


def test_two_predictions_for_one_truth_are_refused(folders):
    predictions, truth, _ = folders(["a_pred.nii", "a_seg.nii"], ["a_gt.nii"])
    with pytest.raises(InputError, match=r"'a' fits several files: .*a_gt.*a_pred.*a_seg"):
        pair_files(predictions, truth)


def test_two_files_of_the_truth_for_one_case_are_refused_by_name(folders):
    predictions, truth, _ = folders(["a.nii"], ["a.nii", "c.nii", "c.nii.gz"])
    with pytest.raises(InputError, match=r"'c' is the name of several files of the truth: \S+c\.nii, \S+c\.nii\.gz;"):
        pair_files(predictions, truth)
    assert pairs(predictions / "a.nii", truth) == {"a": "a.nii"}


@pytest.mark.parametrize("word", ["", "_seg"])
def test_accents_are_the_same_however_they_are_stored(folders, word):
    """macOS writes them as characters of their own, behind their letters."""
    name = "Müller é"
    predictions, truth, _ = folders(
        [unicodedata.normalize("NFD", name) + f"{word}.nii"], [unicodedata.normalize("NFC", name) + ".nii"]
    )
    assert list(pairs(predictions, truth).values()) == [unicodedata.normalize("NFD", name) + f"{word}.nii"]
    assert bare_name(unicodedata.normalize("NFD", name)) == bare_name(name)


def test_missing_and_surplus_files_are_named_with_a_guess(folders):
    predictions, truth, _ = folders(["1001.nii", "patient_lo2.nii"], ["1001.nii", "patient_102.nii", "zebra.nii"])
    pairing = pair_files(predictions, truth)
    assert [files.prediction is None for files in pairing.files] == [False, True, True]
    assert [path.name for path in pairing.surplus] == ["patient_lo2.nii"]
    assert pairing.notes == ("patient_lo2.nii: no truth of this name (did you mean patient_102?); not scored",)


def test_nothing_fits(folders):
    predictions, truth, _ = folders(["subject_7.nii"], ["subject_07.nii", "x.nii"])
    with pytest.raises(InputError, match=r"subject_7\.nii.*subject_07\.nii.*did you mean subject_07"):
        pair_files(predictions, truth)


def test_a_folder_that_is_not_there(folders):
    predictions, truth, _ = folders(["a.nii"], ["a.nii"])
    with pytest.raises(UnreadableFile, match=r"predictoins: no such file or folder\. Did you mean predictions"):
        pair_files(predictions.with_name("predictoins"), truth)


def test_a_folder_without_label_maps(folders):
    predictions, truth, _ = folders(["a.txt"], ["a.nii"])
    with pytest.raises(UnreadableFile, match="no label map in this folder"):
        pair_files(predictions, truth)


def test_a_folder_without_images(folders):
    predictions, truth, images = folders(["a.nii"], ["a.nii"], ["a.dcm"])
    with pytest.raises(UnreadableFile, match="no image in this folder"):
        pair_files(predictions, truth, images)


def test_single_files_and_images(folders):
    predictions, truth, images = folders(["out.nii", "a.nii"], ["a_seg.nii"], ["a.nii.gz"])
    alone = pair_files(predictions / "out.nii", truth / "a_seg.nii").files
    assert [(each.case, each.prediction.name) for each in alone] == [("a_seg", "out.nii")]
    assert pair_files(predictions, truth, images).files[0].image == images / "a.nii.gz"


def test_images_may_lie_in_a_folder_for_each_patient(folders):
    predictions, truth, images = folders(["a.nii", "b.nii"], ["a.nii", "b.nii"], [])
    for file in ("a/T1.nii.gz", "b/IM0001"):
        (images / file).parent.mkdir(parents=True)
        (images / file).write_bytes(b"x")
    found = [each.image for each in pair_files(predictions, truth, images).files]
    assert found == [images / "a" / "T1.nii.gz", images / "b"]
    (images / "a.nii.gz").write_bytes(b"x")
    assert pair_files(predictions, truth, images).files[0].image == images / "a.nii.gz"


def test_one_prediction_against_a_folder_is_one_case(folders):
    predictions, truth, _ = folders(["a.nii", "b.nii"], ["a.nii", "b.nii", "c.nii"])
    assert pairs(predictions / "b.nii", truth) == {"b": "b.nii"}
