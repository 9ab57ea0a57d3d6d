import json
import shutil

import pytest


def test_the_truth_against_itself_is_perfect(typed, folder):
    words = [folder / "labels", folder / "labels", "--names", folder / "names.txt", "--images", folder / "images"]
    done = typed("evaluate", *words, "-o", folder / "scores")
    assert done.code == 0, done.err
    assert "left ball" in done.out
    assert "1.000" in done.out
    assert f"Report: {folder}/scores/report.html" in done.out
    assert "<html" in (folder / "scores" / "report.html").read_text()
    assert json.loads((folder / "scores" / "summary.json").read_text())["made by"]["names"] == f"{folder}/names.txt"


def test_programs_get_the_summary(typed, folder):
    done = typed("evaluate", folder / "labels", folder / "labels", "-o", folder / "scores", "--json")
    assert done.json["all structures"]["dice"]["mean"] == 1.0
    assert done.json["files"]["report"].endswith("report.html")


def test_a_missing_prediction_is_told_and_counted(typed, folder):
    shutil.copytree(folder / "labels", folder / "predictions")
    (folder / "predictions" / "s2.nii.gz").unlink()
    done = typed("evaluate", folder / "predictions", folder / "labels", "-o", folder / "scores", "--json")
    assert done.code == 0
    assert done.json["missing"] == ["s2"]
    assert [event["message"] for event in done.events if event["event"] == "warning"] == [
        "no prediction, which counts as an empty one: s2"
    ]


def test_a_bad_case_among_good_ones(typed, folder):
    shutil.copytree(folder / "labels", folder / "predictions")
    (folder / "predictions" / "s2.nii.gz").write_bytes(b"damaged")
    words = [folder / "predictions", folder / "labels", "--names", folder / "names.txt", "-o", folder / "scores"]
    done = typed("evaluate", *words, "--json")
    assert done.code == 3
    assert done.json["all structures"]["dice"]["n"] == 2


def test_a_place_that_holds_no_report_is_refused_before_anything_is_scored(typed, folder, monkeypatch):
    monkeypatch.setattr("lowshot.evaluation.folders.evaluate_folders", lambda *_, **__: pytest.fail("it was scored"))
    done = typed("evaluate", folder / "labels", folder / "labels", "-o", folder / "names.txt")
    assert done.code == 2
    assert f"{folder}/names.txt: expected a folder for results, this is a file" in done.err


def test_an_earlier_report_is_kept_unless_told(typed, folder):
    words = ["evaluate", folder / "labels", folder / "labels", "-o", folder / "scores"]
    assert typed(*words).code == 0
    before = (folder / "scores" / "scores.csv").read_bytes()
    (folder / "labels" / "s2.nii.gz").unlink()
    refused = typed(*words)
    assert refused.code == 2
    assert "scores/scores.csv: is there already; add --overwrite to replace it" in refused.err
    assert (folder / "scores" / "scores.csv").read_bytes() == before
    assert typed(*words, "--overwrite").code == 0
    assert (folder / "scores" / "scores.csv").read_bytes() != before


def test_names_come_from_the_files_beside_the_predictions(typed, model, folder):
    segmented = typed("segment", model, folder / "images", "-o", folder / "out", "--device", "cpu")
    assert segmented.code == 0, segmented.err
    done = typed("evaluate", folder / "out", folder / "labels", "-o", folder / "scores", "--json")
    assert {each["structure"] for each in done.json["structures"]} == {"left ball", "right ball", "middle ball"}


def test_structures_that_nobody_annotated_are_not_scored(typed, folder):
    words = [folder / "labels", folder / "labels", "--names", folder / "names.txt", "-o", folder / "scores"]
    done = typed("evaluate", *words, "--structures", "left ball, right ball", "--json")
    assert [each["structure"] for each in done.json["structures"]] == ["left ball", "right ball"]


def test_nothing_to_compare(typed, folder):
    done = typed("evaluate", folder / "predictons", folder / "labels", "-o", folder / "scores")
    assert done.code == 2
    assert "no such file or folder" in done.err
