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


def test_a_folder_that_is_none_or_holds_none_is_refused(typed, tmp_path):
    assert "none of chaos-mr" in typed("datasets", tmp_path).err
    gone = typed("datasets", tmp_path / "gone")
    assert gone.code == 2
    assert "there is none" in gone.err
