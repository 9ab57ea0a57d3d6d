import json
import shutil


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


def test_nothing_to_compare(typed, folder):
    done = typed("evaluate", folder / "predictons", folder / "labels", "-o", folder / "scores")
    assert done.code == 2
    assert "no such file or folder" in done.err
