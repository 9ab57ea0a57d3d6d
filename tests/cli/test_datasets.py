from ball_files import write_ball_files
from datasets.test_reader import exported
from lowshot.datasets.export import export_nnunet
from lowshot.datasets.table import DATASETS
from lowshot.imaging.label_maps import read_labelled
from lowshot.imaging.names_file import read_names


def test_every_data_set_is_listed_with_its_licence_and_where_it_comes_from(typed):
    done = typed("datasets", "--json")
    assert list(done.json) == [*DATASETS, "plain", "nnunet", "table"]
    assert all(done.json[name]["licence"] and done.json[name]["source"] for name in DATASETS)


def test_a_folder_is_recognised_and_what_is_missing_is_told(typed, tmp_path):
    exported("chaos-mr", tmp_path / "chaos")
    exported("btcv", tmp_path / "btcv")
    next(tmp_path.rglob("label0001.nii.gz")).unlink()
    done = typed("datasets", tmp_path, "--json")
    assert done.code == 0
    assert done.json["chaos-mr"] == {"cases": ["1", "2"], "expected": 20, "problems": []}
    assert done.json["btcv"] == {"cases": ["0002"], "expected": 30, "problems": ["0001: no label map"]}
    assert "1 of 30 cases; 0001: no label map" in typed("datasets", tmp_path).out


def test_numbered_copies_are_named_by_what_their_label_maps_hold(typed, tmp_path):
    exported("image-n", tmp_path)
    assert "CHAOS MR as image_N.nii.gz, label_N.nii.gz: 2 of 20 cases" in typed("datasets", tmp_path).out


def test_a_numbered_label_map_that_cannot_be_read_does_not_hide_what_is_there(typed, tmp_path):
    exported("image-n", tmp_path)
    next(tmp_path.rglob("label_1.nii.gz")).write_bytes(b"not an image")
    done = typed("datasets", tmp_path, "--json")
    assert (done.code, done.json["image-n"]["cases"]) == (0, ["1", "2"])


def test_general_layouts_are_recognised(typed, tmp_path):
    plain = write_ball_files(tmp_path / "plain", count=2)
    names = read_names(plain / "names.txt")
    balls = [
        read_labelled(plain / "images" / file, plain / "labels" / file, names=names)
        for file in ("s0.nii.gz", "s1.nii.gz")
    ]
    raw = tmp_path / "raw"
    export_nnunet(balls, raw)
    seen = {"cases": ["s0", "s1"], "expected": None, "problems": []}
    assert typed("datasets", plain, "--json").json == {"plain": seen}
    assert typed("datasets", raw, "--json").json == {"nnunet": seen}
    (plain / "cases.csv").write_text("image,labels\nimages/s1.nii.gz,labels/s1.nii.gz\n")
    assert typed("datasets", plain, "--json").json == {"table": seen | {"cases": ["s1"]}}
    (plain / "cases.csv").unlink()
    (plain / "labels" / "s1.nii.gz").unlink()
    (problem,) = typed("datasets", plain, "--json").json["plain"]["problems"]
    assert "expected a label map for every scan" in problem


def test_a_folder_that_is_none_or_holds_none_is_refused(typed, tmp_path):
    assert "none of chaos-mr" in typed("datasets", tmp_path).err
    gone = typed("datasets", tmp_path / "gone")
    assert gone.code == 2
    assert gone.err == f"lowshot: error: {tmp_path}/gone: no such folder\n"
