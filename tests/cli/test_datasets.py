import json

from ball_files import write_ball_files
from datasets.test_reader import exported
from lowshot.datasets.table import DATASETS


def test_every_data_set_is_listed_with_its_licence_and_where_it_comes_from(typed):
    done = typed("datasets", "--json")
    assert list(done.json) == list(DATASETS)
    assert all(each["licence"] and each["source"] for each in done.json.values())


def test_a_folder_is_recognised_and_what_is_missing_is_told(typed, tmp_path):
    exported("chaos-mr", tmp_path / "chaos")
    exported("btcv", tmp_path / "btcv")
    next(tmp_path.rglob("label0001.nii.gz")).unlink()
    done = typed("datasets", tmp_path, "--json")
    assert done.code == 0
    assert done.json["chaos-mr"] == {"cases": ["1", "2"], "expected": 20, "problems": []}
    assert done.json["btcv"] == {"cases": ["0002"], "expected": 30, "problems": ["0001: no label map"]}
    assert "1 of 30 cases; 0001: no label map" in typed("datasets", tmp_path).out


def test_the_plain_layout_and_nnunet_s_are_recognised(typed, tmp_path):
    plain, raw = write_ball_files(tmp_path / "plain", count=2), tmp_path / "raw"
    (raw / "labelsTr").mkdir(parents=True)
    (raw / "imagesTr").mkdir()
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(described))
    for name in ("s0", "s1"):
        (raw / "imagesTr" / f"{name}_0000.nii.gz").write_bytes((plain / "images" / f"{name}.nii.gz").read_bytes())
        (raw / "labelsTr" / f"{name}.nii.gz").write_bytes((plain / "labels" / f"{name}.nii.gz").read_bytes())
    seen = {"cases": ["s0", "s1"], "expected": None, "problems": []}
    assert typed("datasets", plain, "--json").json == {"plain": seen}
    assert typed("datasets", raw, "--json").json == {"nnunet": seen}
    (plain / "labels" / "s1.nii.gz").unlink()
    (problem,) = typed("datasets", plain, "--json").json["plain"]["problems"]
    assert "expected a label map for every scan" in problem


def test_a_folder_that_is_none_or_holds_none_is_refused(typed, tmp_path):
    assert "none of chaos-mr" in typed("datasets", tmp_path).err
    gone = typed("datasets", tmp_path / "gone")
    assert gone.code == 2
    assert "there is none" in gone.err
