import json
import shutil

import nibabel
import numpy as np
import pytest
import torch

from ball_files import AFFINE, NAMES
from lowshot.imaging.pieces import largest_pieces
from ray_workers import one_killed


def segment(typed, model, *words):
    return typed("segment", model, *words, "--device", "cpu", "--precision", "float32")


def test_a_folder_becomes_a_folder(typed, model, folder):
    done = segment(typed, model, folder / "images", "-o", folder / "out")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        f"s{n}.{suffix}" for n in range(3) for suffix in ("json", "nii.gz")
    ]
    assert "s2 (3 of 3): 24×24×24 voxels" in done.err
    assert all(f"s{n}" in done.out for n in range(3))
    about = json.loads((folder / "out" / "s1.json").read_text())["model"]
    assert {"file": "balls.safetensors", "method": "mre-net", "support": ["s0"]}.items() <= about.items()


def test_one_bad_scan_is_listed_and_the_exit_code_says_so(typed, model, folder):
    (folder / "images" / "s1.nii.gz").write_bytes(b"not an image")
    done = segment(typed, model, folder / "images", "-o", folder / "out", "--json")
    assert done.code == 3
    assert [each["case"] for each in done.json["segmented"]] == ["s0", "s2"]
    assert [each["case"] for each in done.json["failed"]] == ["s1"]
    assert done.events[-1]["message"] == "1 of 3 scans were not segmented: s1"


def test_what_a_result_is_doubted_for_is_told_at_once(typed, folder):
    image, labels, atlas = (folder / name for name in ("images/s0.nii.gz", "labels/s0.nii.gz", "atlas.safetensors"))
    words = ("--names", folder / "names.txt", "--method", "multi-atlas", "--preset", "fast", "-o", atlas)
    assert typed("fit", image, labels, *words).code == 0
    noise = np.random.default_rng(0).random((24, 24, 24), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, nibabel.load(image).affine), folder / "noise.nii.gz")
    done = segment(typed, atlas, folder / "noise.nii.gz", folder / "images" / "s1.nii.gz", "-o", folder / "out")
    assert done.code == 0, done.err
    assert "noise: it does not look like the annotated scan" in done.err
    assert "s1: it does not" not in done.err
    assert "does not look like" in json.loads((folder / "out" / "noise.json").read_text())["notes"][0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of the processes and sockets that it leaves to the system
def test_workers_of_a_cluster_write_the_same_though_one_is_killed_and_list_the_same_bad_scan(typed, model, folder):
    pytest.importorskip("ray")
    (folder / "images" / "s1.nii.gz").write_bytes(b"not an image")
    ours = segment(typed, model, folder / "images", "-o", folder / "here", "--threads", 1, "--json")
    with one_killed(lambda: True) as killed:
        theirs = segment(
            *(typed, model, folder / "images", "-o", folder / "there"), *("--engine", "ray", "--workers", 2, "--json")
        )
    assert killed
    assert theirs.code == ours.code == 3, theirs.err
    assert sorted(each["case"] for each in theirs.json["segmented"]) == ["s0", "s2"]
    assert [each["case"] for each in theirs.json["failed"]] == ["s1"]
    for name in ("s0", "s2"):
        here, there = (nibabel.load(folder / where / f"{name}.nii.gz") for where in ("here", "there"))
        assert np.array_equal(here.get_fdata(), there.get_fdata())
        about = [json.loads((folder / where / f"{name}.json").read_text()) for where in ("here", "there")]
        assert about[0] == about[1]


def test_words_of_a_cluster_without_one_are_refused(typed, model, folder):
    done = segment(typed, model, folder / "images", "-o", folder / "out", "--address", "auto")
    assert done.code == 2
    assert "belong to --engine ray" in done.err


def test_if_all_are_bad_the_first_reason_is_the_error(typed, model, folder):
    done = segment(typed, model, folder / "images" / "s7.nii.gz", "-o", folder / "out")
    assert done.code == 2
    assert "Did you mean" in done.err.splitlines()[-1]


def test_results_that_are_there_are_kept_unless_told(typed, model, folder):
    out = folder / "out"
    assert segment(typed, model, folder / "images" / "s0.nii.gz", "-o", out).code == 0
    (out / "s0.nii.gz").write_bytes(b"corrected by hand")
    refused = segment(typed, model, folder / "images", "-o", out)
    assert refused.code == 2
    assert "--skip-existing" in refused.err
    assert not (out / "s1.nii.gz").exists()
    assert segment(typed, model, folder / "images", "-o", out, "--skip-existing").code == 0
    assert (out / "s0.nii.gz").read_bytes() == b"corrected by hand"
    assert (out / "s1.nii.gz").exists()
    nothing_left = segment(typed, model, folder / "images", "-o", out, "--skip-existing", "--json")
    assert (nothing_left.code, nothing_left.json) == (0, {"segmented": [], "failed": []})
    spared = segment(typed, model, folder / "images", "-o", out, "--overwrite", "--json")
    assert (spared.code, len(spared.json["segmented"]), spared.json["failed"]) == (0, 2, [])
    assert (out / "s0.nii.gz").read_bytes() == b"corrected by hand"
    assert "s0: corrected by hand, and kept" in str(spared.events)
    (out / "s0.nii.gz").unlink()
    assert segment(typed, model, folder / "images" / "s0.nii.gz", "-o", out, "--overwrite").code == 0
    assert nibabel.load(out / "s0.nii.gz").shape == (24, 24, 24)


def test_results_of_another_model_or_with_other_options_are_kept_and_told(typed, model, folder):
    scan, out = folder / "images" / "s0.nii.gz", folder / "out"
    assert segment(typed, model, scan, "-o", out).code == 0
    kept = (out / "s0.nii.gz").read_bytes()
    again = segment(typed, model, folder / "images", "-o", out, "--skip-existing", "--one-piece", "--json")
    assert again.code == 0
    (warning,) = (each["message"] for each in again.events if each["event"] == "warning")
    assert "of the 1 results that are kept, this command would make 1 otherwise (1 with other options: s0)" in warning
    about = json.loads((out / "s2.json").read_text())
    (out / "s2.json").write_text(
        json.dumps(about | {"model": about["model"] | {"sha256": "0", "file": "old.safetensors"}})
    )
    told = segment(typed, model, folder / "images", "-o", out, "--skip-existing", "--one-piece")
    assert told.code == 0
    assert "(1 with other options: s0; 1 by another model, old.safetensors: s2)" in told.err
    assert (out / "s0.nii.gz").read_bytes() == kept


def test_keeping_and_replacing_exclude_each_other(typed, model, folder):
    done = segment(typed, model, folder / "images", "-o", folder / "out", "--skip-existing", "--overwrite")
    assert done.code == 2
    assert "give one of the two" in done.err
    assert not (folder / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused_before_any_work(typed, model, folder):
    done = segment(typed, model, folder / "images", "-o", folder / "names.txt")
    assert done.code == 2
    assert done.err.splitlines() == [
        f"lowshot: error: {folder}/names.txt: expected a folder for results, this is a file. Choose another place"
    ]


def test_tables_formats_and_probabilities(typed, model, folder):
    (folder / "scans.csv").write_text("name,image\nann,images/s1.nii.gz\n")
    done = segment(typed, model, folder / "scans.csv", "-o", folder / "out", "--format", "mha", "--probabilities")
    assert done.code == 0, done.err
    assert (folder / "out" / "ann.mha").exists()
    assert len(list((folder / "out" / "probabilities" / "ann").iterdir())) == len(NAMES)


def test_one_piece_of_every_structure(typed, model, folder):
    scan = folder / "images" / "s1.nii.gz"
    in_one = []
    for out, words in (("plain", ()), ("out", ("--one-piece",))):
        assert segment(typed, model, scan, "-o", folder / out, *words).code == 0
        labels = torch.as_tensor(np.asarray(nibabel.load(folder / out / "s1.nii.gz").dataobj).astype(np.int16))
        assert labels.any()
        in_one.append(bool(largest_pieces(labels).all()))
    assert in_one == [False, True]
    assert json.loads((folder / "out" / "s1.json").read_text())["model"]["options"] == {"one_piece": True}


def test_options_of_the_method(typed, model, folder):
    scan = folder / "images" / "s1.nii.gz"
    assert segment(typed, model, scan, "-o", folder / "out", "--set", "tiles_at_once=4").code == 0
    wrong = segment(typed, model, scan, "-o", folder / "other", "--set", "tiles=4")
    assert (wrong.code, "options of mre-net" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        ("T1=images/s0.nii.gz,T2=images/s1.nii.gz", "the model was made for the channels image"),
        ("images/s0.nii.gz images/../images/s0.nii.gz", "two scans are named s0"),
        ("images/*.mha", "this pattern matches nothing"),
        ("four.nii.gz", "declare their 2 names"),
    ],
)
def test_what_cannot_work_is_refused(typed, model, folder, monkeypatch, scan, message):
    monkeypatch.chdir(folder)
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 8, 2), np.float32), np.eye(4)), "four.nii.gz")
    done = segment(typed, model, *scan.split(), "-o", "out")
    assert done.code == 2
    assert message in done.err


def test_only_what_deforms_an_atlas_can_be_refined(typed, model, folder):
    done = segment(typed, model, folder / "images", "-o", folder / "out", "--refine")
    assert done.code == 2
    assert "--refine is for methods that deform an atlas, such as lt-net; this is mre-net" in done.err


def test_a_slice_for_a_volume_is_doubted(typed, model, folder):
    slab = nibabel.Nifti1Image(np.random.default_rng(0).random((24, 24, 1), np.float32), AFFINE)
    nibabel.save(slab, folder / "slice.nii.gz")
    done = segment(typed, model, folder / "slice.nii.gz", folder / "images" / "s1.nii.gz", "-o", folder / "out")
    assert "warning: slice: it measures 24 × 24 × 1.5 mm, the annotated scan 24 × 24 × 36 mm" in done.err
    assert "s1: it measures" not in done.err
    assert "it measures" in (folder / "out" / "slice.json").read_text()


def test_a_scan_is_never_replaced_by_its_segmentation(typed, model, folder):
    before = (folder / "images" / "s0.nii.gz").read_bytes()
    done = segment(typed, model, folder / "images", "-o", folder / "images", "--overwrite")
    assert done.code == 2
    assert "choose another output folder" in done.err
    assert (folder / "images" / "s0.nii.gz").read_bytes() == before


def test_a_file_that_is_no_model(typed, folder):
    done = segment(typed, folder / "names.txt", folder / "images", "-o", folder / "out")
    assert done.code == 2
    assert "expected a lowshot model" in done.err


def test_a_result_of_another_patient_is_not_taken_for_this_ones(typed, model, folder):
    """Folders of patients hold files of one name."""
    out, other = folder / "out", folder / "p2" / "s0.nii.gz"
    other.parent.mkdir()
    shutil.copy(folder / "images" / "s1.nii.gz", other)
    assert segment(typed, model, folder / "images" / "s0.nii.gz", "-o", out).code == 0
    refused = segment(typed, model, other, "-o", out, "--skip-existing")
    assert refused.code == 2
    assert "s0.nii.gz: is the result of another scan that is called s0, too" in refused.err
    replaced = segment(typed, model, other, "-o", out, "--overwrite")
    assert replaced.code == 0
    assert "s0: what is replaced are results of other scans of these names" in replaced.err
    assert segment(typed, model, other, "-o", out, "--skip-existing").code == 0


def test_a_folder_for_results_is_not_called_like_a_file(typed, model, folder):
    done = segment(typed, model, folder / "images" / "s0.nii.gz", "-o", folder / "s0_seg.nii.gz")
    assert done.code == 2
    assert "-o is a folder" in done.err
    assert not (folder / "s0_seg.nii.gz").exists()
