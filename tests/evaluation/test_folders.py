import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from imaging.dicom_series import NAMES as DICOM_NAMES
from imaging.dicom_series import segmentation, series
from lowshot.errors import InputError, UnknownLabel
from lowshot.evaluation.folders import evaluate_folders
from lowshot.imaging.digests import digest
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

NAMES = Names.of({5: "liver", 500: "spleen"})
SPACED = np.diag([1.0, 1.0, 3.0, 1.0])


@pytest.fixture
def folders(tmp_path):
    """Three truths; predictions shifted by 1 voxel; images."""
    for k, case in enumerate(("a", "b", "c")):
        truth = torch.zeros(10, 10, 10, dtype=torch.int16)
        truth[2:6, 2:6, 2:6] = 1
        truth[7:9, 7:9, 7:9] = 2
        prediction = truth.roll(k, dims=0)
        write_segmentation(Segmentation(truth, NAMES, SPACED), tmp_path / "truth" / f"{case}_seg.nii.gz")
        write_segmentation(Segmentation(prediction, NAMES, SPACED), tmp_path / "predictions" / f"{case}.nrrd")
        write_volume(torch.rand(1, 10, 10, 10), SPACED, tmp_path / "images" / f"{case}.nii.gz")
    return tmp_path / "predictions", tmp_path / "truth", tmp_path / "images"


def dice_of(evaluation):
    return {(score.case, score.structure): score.dice for score in evaluation.scores}


def test_scores_files_of_any_format_and_label_value(folders):
    evaluation = evaluate_folders(*folders[:2], names=NAMES)
    assert dice_of(evaluation)["a_seg", "spleen"] == 1
    assert dice_of(evaluation)["b_seg", "liver"] == pytest.approx(0.75)
    assert {score.hd95_unit for score in evaluation.scores} == {"mm"}


def test_values_nobody_named_are_structures_in_every_case(folders):
    predictions, truth, _ = folders
    labels = torch.zeros(10, 10, 10, dtype=torch.int16)
    labels[0, 0, 0] = 1
    write_segmentation(Segmentation(labels, Names.of({77: "x"}), SPACED), predictions / "c.nrrd")
    scores = dice_of(evaluate_folders(predictions, truth))
    assert scores["a_seg", "label 500"] == 1
    assert scores["c_seg", "label 77"] == 0  # only the prediction has it


def tell_values(predictions, **values_of):
    """Write the JSON file of each case, which says which value is which structure."""
    for case, values in values_of.items():
        structures = {name: {"value": value, "expected_dice": 0.8} for name, value in values.items()}
        (predictions / f"{case}.json").write_text(json.dumps({"structures": structures}))


def test_values_have_the_names_that_stand_beside_the_predictions(folders):
    predictions, truth, _ = folders
    tell_values(predictions, **{case: {"liver": 5, "aorta": 9} for case in "abc"})
    evaluation = evaluate_folders(predictions, truth)
    assert evaluation.structures == ("liver", "label 500")
    assert evaluation.cases[0].scores[0].expected_dice == 0.8


@pytest.mark.parametrize(
    "values_of",
    [
        {"a": {"liver": 5}, "b": {"liver": 5}},  # nothing beside c
        {"a": {"liver": 5}, "b": {"liver": 5}, "c": {"spleen": 5}},
        {case: {"label 500": 5} for case in "abc"},  # which would stand for two values
        {case: {"li\nver": 5} for case in "abc"},
    ],
)
def test_names_that_are_not_sure_are_left_out(folders, values_of):
    predictions, truth, _ = folders
    tell_values(predictions, **values_of)
    assert evaluate_folders(predictions, truth).structures == ("label 5", "label 500")


def test_the_pictures_scan_is_the_image_or_else_black(folders):
    predictions, truth, images = folders
    with_images = evaluate_folders(predictions, truth, images=images, names=NAMES)
    assert 0 < with_images.pairs[0].truth.scan.voxels.max() <= 1
    assert evaluate_folders(predictions, truth, names=NAMES).pairs[0].truth.scan.voxels.max() == 0


def test_a_bad_image_does_not_spoil_the_scores(folders):
    predictions, truth, images = folders
    (images / "b.nii.gz").write_bytes(b"no image")
    evaluation = evaluate_folders(predictions, truth, images=images, names=NAMES)
    assert len(evaluation.cases) == 3
    assert "the image is not shown" in evaluation.cases[1].notes[0]
    assert evaluation.notes[0].startswith("b_seg: the image is not shown")


def test_a_bad_prediction_is_listed_and_the_others_are_scored(folders):
    predictions, truth, _ = folders
    (predictions / "b.nrrd").write_bytes(b"no label map")
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert [case.case for case in evaluation.cases] == ["a_seg", "c_seg"]
    assert "b.nrrd" in evaluation.failed[0]


def test_a_bad_file_names_no_values_but_stops_nothing(folders):
    predictions, truth, _ = folders
    whole = (predictions / "b.nrrd").read_bytes()
    (predictions / "b.nrrd").write_bytes(whole[: len(whole) // 2])
    evaluation = evaluate_folders(predictions, truth)
    assert [case.case for case in evaluation.cases] == ["a_seg", "c_seg"]
    assert evaluation.structures == ("label 5", "label 500")
    assert "b.nrrd" in evaluation.failed[0]


def test_another_grid_is_listed_with_its_file(folders):
    predictions, truth, _ = folders
    labels = torch.zeros(10, 10, 11, dtype=torch.int16)
    write_segmentation(Segmentation(labels, NAMES, SPACED), predictions / "b.nrrd")
    shifted = SPACED + np.eye(4)[:, :1] * [0, 0, 0, 7.0]
    write_segmentation(Segmentation(labels[..., :10], NAMES, shifted), predictions / "c.nrrd")
    failed = evaluate_folders(predictions, truth, names=NAMES).failed
    assert "b.nrrd: lies on another grid than its truth" in failed[0]
    assert "b_seg.nii.gz (shapes differ); results lie" in failed[0]
    assert "c_seg.nii.gz (7 mm apart at the corners); results lie" in failed[1]


def test_an_annotated_slice_without_structures_is_told(folders):
    predictions, truth, _ = folders
    told = evaluate_folders(predictions, truth, names=NAMES, annotated_slice=(1, 6)).cases[0].notes
    assert told == (
        "a_seg.nii.gz: shows no structure in slice 6 along axis 1, the only annotated one; was another meant?",
    )
    assert not evaluate_folders(predictions, truth, names=NAMES, annotated_slice=3).cases[0].notes


def test_a_truth_that_was_saved_with_the_qform_alone_is_of_the_same_scan(folders):
    """As ITK-SNAP and 3D Slicer save it, where the two forms of the scan's file differ."""
    predictions, truth, _ = folders
    labels = np.asarray(nibabel.load(truth / "a_seg.nii.gz").dataobj)
    both = nibabel.Nifti1Image(labels, SPACED)
    both.set_qform(SPACED + np.eye(4)[:, :1] * [0, 0, 0, 4.0], 1)
    both.set_sform(SPACED, 4)
    nibabel.save(both, predictions / "a.nii.gz")
    (predictions / "a.nrrd").unlink()
    SimpleITK.WriteImage(SimpleITK.ReadImage(predictions / "a.nii.gz"), truth / "a_seg.nii.gz")
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert not evaluation.failed
    assert dice_of(evaluation)["a_seg", "liver"] == 1


def test_an_ignored_value_is_not_scored(folders):
    predictions, truth, _ = folders
    evaluation = evaluate_folders(predictions, truth, ignore_value=500)
    assert evaluation.structures == ("label 5",)
    known = evaluation.pairs[0].truth.known
    assert (known.sum(), known[7:9, 7:9, 7:9].any()) == (1000 - 8, False)
    assert evaluation.settings["ignore value"] == 500


@pytest.mark.parametrize(("annotated_slice", "known"), [(3, (2, 3)), ((0, 5), (0, 5))])
def test_only_the_annotated_slice_is_scored(folders, annotated_slice, known):
    predictions, truth, _ = folders
    evaluation = evaluate_folders(predictions, truth, names=NAMES, annotated_slice=annotated_slice)
    expected = torch.zeros(10, 10, 10, dtype=torch.bool)
    expected.select(*known).fill_(True)
    assert torch.equal(evaluation.pairs[0].truth.known, expected)
    # b is shifted by one of four voxels along i: in slice k = 3 it is as in the whole, in slice i = 5 it is right.
    assert dice_of(evaluation)["b_seg", "liver"] == (0.75 if known == (2, 3) else 1)
    assert evaluation.settings["annotated slice"] == f"{known[1]} along axis {known[0]}"


def test_missing_and_surplus_files(folders):
    predictions, truth, _ = folders
    (predictions / "b.nrrd").rename(predictions / "x.nrrd")
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert evaluation.missing == ("b_seg",)
    assert "x.nrrd: no truth of this name" in evaluation.notes[0]


def test_scans_of_other_names_are_told(folders, tmp_path):
    predictions, truth, _ = folders
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(truth / "a_seg.nii.gz", other / "somebody.nii.gz")
    evaluation = evaluate_folders(predictions, truth, names=NAMES, images=other)
    assert evaluation.notes == (
        f"{other}: no scan has the name of one that is scored, so the report is without pictures",
    )


def test_the_models_own_example_is_no_missing_case(folders):
    predictions, truth, _ = folders
    (predictions / "a.nrrd").unlink()
    model = {"method": "mre-net", "support": ["a", "c"]}
    for case in "bc":
        structures = {"liver": {"expected_dice": 0.8}}
        (predictions / f"{case}.json").write_text(json.dumps({"structures": structures, "model": model}))
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert evaluation.missing == ()
    assert [case.case for case in evaluation.cases] == ["b_seg"]
    assert evaluation.notes == tuple(f"{case}_seg: the model's own example; not scored" for case in "ac")
    assert evaluation.settings["model"] == model
    assert evaluation.cases[0].scores[0].expected_dice == 0.8


def test_what_stands_beside_a_prediction_tells_better_than_names_whether_it_is_an_example(folders):
    """Patients whose scans are all called T2, and an example under another name."""
    predictions, truth, _ = folders
    model = {"method": "mre-net", "support": ["a"]}
    for case, example in (("a", False), ("b", True), ("c", False)):
        beside = {"structures": {"liver": {"expected_dice": 0.8}}, "model": model, "example": example}
        (predictions / f"{case}.json").write_text(json.dumps(beside))
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert [case.case for case in evaluation.cases] == ["a_seg", "c_seg"]
    assert evaluation.notes[0] == "b_seg: the model's own example; not scored"


def test_of_a_prediction_that_was_changed_since_nothing_is_the_models(folders):
    predictions, truth, _ = folders
    for case, sha256 in (("a", digest(predictions / "a.nrrd")), ("b", digest(predictions / "c.nrrd"))):
        beside = {"structures": {"liver": {"expected_dice": 0.8}}, "model": {"method": "mre-net"}, "sha256": sha256}
        (predictions / f"{case}.json").write_text(json.dumps(beside))
    kept, changed, _ = evaluate_folders(predictions, truth, names=NAMES).cases
    assert (kept.scores[0].expected_dice, kept.notes) == (0.8, ())
    assert np.isnan(changed.scores[0].expected_dice)
    assert changed.notes == (
        "b.nrrd: was changed since lowshot wrote it; the Dice that the model expected is left out",
    )


def test_folders_in_each_others_place_are_told(folders):
    predictions, truth, _ = folders
    assert "given as predictions and as truth" in evaluate_folders(truth, truth, names=NAMES).notes[-1]
    (predictions / "a.json").write_text(json.dumps({"structures": {"liver": {"expected_dice": 0.8}}}))
    evaluation = evaluate_folders(truth, predictions, names=NAMES)
    assert "are predictions and truth exchanged?" in evaluation.notes[-1]


def test_where_there_are_only_the_models_own_examples_their_scores_are_no_test(folders):
    predictions, truth, _ = folders
    for case in "bc":
        (predictions / f"{case}.nrrd").unlink()
        (truth / f"{case}_seg.nii.gz").unlink()
    (predictions / "a.json").write_text(json.dumps({"structures": {}, "model": {"support": ["a"]}}))
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert [case.case for case in evaluation.cases] == ["a_seg"]
    assert evaluation.notes == ("a_seg: the model's own example; its score is not a test",)


def test_values_that_have_nothing_in_common_are_refused_unless_they_have_names(tmp_path):
    """0 and 255 as pictures have it, 0 and 1 as models do."""
    labels = torch.zeros(8, 8, 4, dtype=torch.int16)
    labels[2:6, 2:6] = 1
    write_segmentation(Segmentation(labels, Names.of({255: "organ"}), np.eye(4)), tmp_path / "truth" / "a.nii.gz")
    write_segmentation(Segmentation(labels, Names.of({1: "organ"}), np.eye(4)), tmp_path / "predictions" / "a.nii.gz")
    both = tmp_path / "predictions", tmp_path / "truth"
    with pytest.raises(UnknownLabel, match="the truth has 255, the predictions 1"):
        evaluate_folders(*both)
    [score, _] = evaluate_folders(*both, names=Names.of({1: "one", 255: "another"})).scores
    assert score.dice == 0


def test_what_was_not_annotated_is_told_and_can_be_left_out(folders):
    predictions, truth, _ = folders
    for path in truth.iterdir():
        labels, _ = read_labels(path, NAMES)
        write_segmentation(replace(labels, labels=labels.labels * (labels.labels == 1)), path)
    evaluation = evaluate_folders(predictions, truth, names=NAMES)
    assert dice_of(evaluation)["a_seg", "spleen"] == 0
    assert any(note.startswith("spleen: predicted, and in no truth") for note in evaluation.notes)
    evaluation = evaluate_folders(predictions, truth, names=NAMES, structures=["liver"])
    assert {score.structure for score in evaluation.scores} == {"liver"}
    assert evaluation.settings["structures"] == "liver"
    assert not any("in no truth" in note for note in evaluation.notes)
    with pytest.raises(UnknownLabel, match="no structure named 'kidney'"):
        evaluate_folders(predictions, truth, names=NAMES, structures=["kidney"])


def test_images_in_the_place_of_truth_are_refused_unless_the_values_have_names(folders):
    predictions, truth, _ = folders
    shown = Names.from_values(range(1, 200))
    labels = torch.arange(1000, dtype=torch.int16).reshape(10, 10, 10) % 200
    for case in ("a_seg", "b_seg", "c_seg"):
        write_segmentation(Segmentation(labels, shown, SPACED), truth / f"{case}.nii.gz")
    with pytest.raises(UnknownLabel, match="199 different values in the truth, "):
        evaluate_folders(predictions, truth)
    assert evaluate_folders(predictions, truth, names=Names.from_values(range(1, 501))).scores


def test_a_prediction_on_another_grid_is_told_with_its_truth(folders):
    predictions, truth, _ = folders
    small = Segmentation(torch.zeros(4, 4, 4, dtype=torch.int16), NAMES, np.eye(4))
    write_segmentation(small, predictions / "b.nrrd")
    [failure] = evaluate_folders(predictions, truth, names=NAMES).failed
    assert str(predictions / "b.nrrd") in failure
    assert str(truth / "b_seg.nii.gz") in failure


def test_pictures_without_spacing_count_pixels(tmp_path):
    labels = torch.zeros(10, 12, 1, dtype=torch.int16)
    labels[2:6, 2:6] = 1
    lesion = Names.of({255: "lesion"})
    write_segmentation(Segmentation(labels, lesion, np.eye(4)), tmp_path / "truth" / "benign (1)_mask.png")
    write_segmentation(Segmentation(labels.roll(1, 1), lesion, np.eye(4)), tmp_path / "predictions" / "benign (1).png")
    [score] = evaluate_folders(tmp_path / "predictions", tmp_path / "truth", names=lesion).scores
    assert (score.dice, score.hd95, score.hd95_unit) == (0.75, 1, "voxels")
    assert (score.volume_truth, score.volume_unit) == (16, "voxels")


@pytest.fixture
def in_dicom(tmp_path):
    """Two series, their true contours, and predictions as a DICOM segmentation and as NIfTI."""
    for case in ("a", "b"):
        scan = series(tmp_path / "scans" / case)
        truth = segmentation(scan)
        write_segmentation(truth, tmp_path / "truth" / f"{case}.rtstruct.dcm", scan.source)
        write_segmentation(truth, tmp_path / "seg" / f"{case}.seg.dcm", scan.source)
        write_segmentation(truth, tmp_path / "nifti" / f"{case}.nii.gz")
    return tmp_path


def test_structures_of_dicom_are_told_by_name(in_dicom):
    """Contours have no values. Nobody drew a tumour, so that it is in no table."""
    scans = in_dicom / "scans"
    for predictions in ("seg", "truth"):
        scores = dice_of(evaluate_folders(in_dicom / predictions, in_dicom / "truth", images=scans))
        assert {(case, name): dice for (case, name), dice in scores.items() if name != "tumour"} == {
            (case, name): 1 for case in "ab" for name in ("liver", "left kidney")
        }
    values = DICOM_NAMES.values[1:]
    for case in ("a", "b"):
        tell_values(in_dicom / "nifti", **{case: dict(zip(DICOM_NAMES.foreground, values, strict=True))})
    assert dice_of(evaluate_folders(in_dicom / "nifti", in_dicom / "truth"))["a", "liver"] == 1


def test_names_and_values_do_not_meet_by_chance(in_dicom):
    with pytest.raises(UnknownLabel, match="say what the values mean"):
        evaluate_folders(in_dicom / "nifti", in_dicom / "truth")


def test_contours_on_both_sides_need_the_scans(in_dicom):
    with pytest.raises(InputError, match=r"give that \(--images\)"):
        evaluate_folders(in_dicom / "truth", in_dicom / "truth")
