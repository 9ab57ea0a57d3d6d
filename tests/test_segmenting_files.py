import errno
import json
import re
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest

from ball_files import NAMES, TINY, labelled, write_ball_files
from imaging.dicom_series import series
from lowshot.contract import Quality
from lowshot.errors import BadVoxels, OutputError, SettingsError, UnreadableFile
from lowshot.fitting import fit
from lowshot.imaging.digests import digests
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.label_maps import read_labels
from lowshot.inputs.scan_files import ScanFiles, one_scan
from lowshot.inputs.words import scan_files
from lowshot.progress import Lines
from lowshot.segmenting_files import TRANSDUCTIVE, Batch, Failed, Outputs, Segmented, unlike_kept
from lowshot.task import LowShotTask
from lowshot.training.run import Run


@pytest.fixture(scope="module")
def fitted():
    return fit(LowShotTask(NAMES, [labelled(0)]), settings=TINY, steps=2, device="cpu", precision="float32")


@pytest.fixture
def folder(tmp_path):
    return write_ball_files(tmp_path)


def run(**more):
    return Run(device="cpu", precision="float32", memory_format="contiguous", **more)


def batch(fitted, folder, scans, **more):
    outputs = Outputs(folder / "out", **more)
    return list(Batch(fitted, outputs, run(), source={"method": "mre-net"}).segment(scans))


def test_each_scan_gets_a_label_map_on_its_grid_and_a_file_beside_it(fitted, folder):
    done = batch(fitted, folder, scan_files([folder / "images"]))
    assert [(each.case, each.path.name) for each in done] == [(f"s{n}", f"s{n}.nii.gz") for n in range(3)]
    image, made = nibabel.load(folder / "images" / "s1.nii.gz"), nibabel.load(folder / "out" / "s1.nii.gz")
    assert np.array_equal(image.affine, made.affine)
    values = np.unique(np.asarray(made.dataobj)).tolist()
    assert set(values) <= set(NAMES.values)
    assert {NAMES.names[NAMES.values.index(value)] for value in values if value} == set(done[1].present)
    beside = json.loads((folder / "out" / "s1.json").read_text())
    assert beside["model"] == {"method": "mre-net"}
    assert set(beside["structures"]) == set(NAMES.foreground)


def test_bad_scans_do_not_stop_the_others(fitted, folder):
    whole = (folder / "images" / "s0.nii.gz").read_bytes()
    (folder / "images" / "s0.nii.gz").write_bytes(whole[: len(whole) // 2])
    image = nibabel.load(folder / "images" / "s1.nii.gz")
    voxels = image.get_fdata()
    voxels[3, 3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), folder / "images" / "s1.nii.gz")
    first, second, third = batch(fitted, folder, scan_files([folder / "images"]))
    assert isinstance(first, Failed)
    assert isinstance(first.error, UnreadableFile)
    assert isinstance(second.error, BadVoxels)
    assert isinstance(third, Segmented)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["s2.json", "s2.nii.gz"]


def test_a_defect_of_ours_does_not_stop_the_others_either(fitted, folder, monkeypatch):
    original = ScanFiles.read

    def read(self, *args):
        if self.name == "s0":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 GB\nmore")
        if self.name == "s1":
            raise ZeroDivisionError("division by zero")
        return original(self, *args)

    monkeypatch.setattr(ScanFiles, "read", read)
    first, second, third = batch(fitted, folder, scan_files([folder / "images"]))
    assert str(first.error).startswith("s0: not enough memory")
    assert str(second.error) == "s1: ZeroDivisionError: division by zero"
    assert isinstance(third, Segmented)


def as_series(folder, *cases):
    """DICOM series of these names."""
    for case in cases:
        series(folder / "series" / case)
    return scan_files([folder / "series"])


@pytest.mark.parametrize("suffix", [".seg.dcm", ".rtstruct.dcm"])
def test_a_series_gets_a_result_in_dicom(fitted, folder, suffix):
    scans = as_series(folder, "p1", "p2")
    done = batch(fitted, folder, scans, suffix=suffix)
    assert [each.path.name for each in done] == [f"p1{suffix}", f"p2{suffix}"]
    scan = scans[0].read()
    found, _ = read_labels(done[0].path, NAMES, like=scan)
    told = json.loads((folder / "out" / "p1.json").read_text())["structures"]
    sizes = found.labels.flatten().bincount(minlength=len(NAMES)).tolist()
    assert [told[name]["voxels"] for name in NAMES.foreground] == sizes[1:]
    assert Outputs(folder / "out").there(scans[0]) == done[0].path


def test_no_scan_is_read_where_its_result_cannot_be_dicom(fitted, folder, monkeypatch):
    monkeypatch.setattr(ScanFiles, "read", lambda *_: pytest.fail("a scan was read"))
    with pytest.raises(OutputError, match=r"comes from .*s0\.nii\.gz; choose another --format"):
        batch(fitted, folder, scan_files([folder / "images"]), suffix=".seg.dcm")


def test_a_series_that_no_result_can_refer_to_does_not_stop_the_others(fitted, folder):
    series(folder / "series" / "p0", lacking=("FrameOfReferenceUID",))
    scans = as_series(folder, "p1")
    first, second = batch(fitted, folder, scans, suffix=".rtstruct.dcm")
    assert "lack FrameOfReferenceUID, which a result in DICOM repeats" in str(first.error)
    assert isinstance(second, Segmented)


def test_results_do_not_go_among_the_images(fitted, folder):
    scans = as_series(folder, "p1")
    with pytest.raises(OutputError, match=r"a scan to be segmented lies there .*; choose another output folder"):
        list(Batch(fitted, Outputs(folder / "series" / "p1", suffix=".seg.dcm"), run()).segment(scans))


def test_a_place_where_nothing_can_be_written_is_refused_before_any_scan_is_read(fitted, folder, monkeypatch):
    monkeypatch.setattr(ScanFiles, "read", lambda *_: pytest.fail("a scan was read"))
    (folder / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="out: expected a folder for results"):
        batch(fitted, folder, scan_files([folder / "images"]))


def test_what_cannot_be_written_stops_the_batch(fitted, folder, monkeypatch):
    def full(*_, **__):
        raise OutputError("no room") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lowshot.segmenting_files.write_sidecar", full)
    with pytest.raises(OutputError, match="no room"):
        batch(fitted, folder, scan_files([folder / "images"]))


def test_what_a_format_cannot_hold_fails_alone(fitted, folder):
    picture = 1 + np.arange(24.0)[:, None, None] * np.ones((24, 24, 1))
    nibabel.save(nibabel.Nifti1Image(picture.astype(np.float32), np.eye(4)), folder / "images" / "s3.nii.gz")
    done = batch(fitted, folder, scan_files([folder / "images"]), suffix=".png")
    assert [type(each) for each in done] == [Failed, Failed, Failed, Segmented]
    assert str(done[0].error).startswith(f"{folder / 'out' / 's0.png'}: PNG holds one slice")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["s3.json", "s3.png"]


@pytest.mark.parametrize("file", ["s0.json", "s0.nrrd"])
def test_a_file_of_somebody_else_is_never_replaced(fitted, folder, file):
    scans, theirs = scan_files([folder / "images" / "s0.nii.gz"]), folder / "out" / file
    theirs.parent.mkdir()
    theirs.write_text('{"RepetitionTime": 2.0, "structures": {}}')
    with pytest.raises(OutputError, match=rf"{file}: not written by lowshot; move it"):
        batch(fitted, folder, scans, suffix=".nrrd")
    assert theirs.exists()


def test_a_file_of_somebody_else_beside_a_result_in_another_format_is_not_replaced(fitted, folder):
    scans, theirs = scan_files([folder / "images" / "s0.nii.gz"]), folder / "out" / "s0.nrrd"
    theirs.parent.mkdir()
    theirs.write_text("an annotation")
    batch(fitted, folder, scans, suffix=".nii.gz")  # the JSON file is of this one
    with pytest.raises(OutputError, match="not written by lowshot"):
        batch(fitted, folder, scans, suffix=".nrrd")
    assert theirs.read_text() == "an annotation"


def test_what_lowshot_wrote_is_a_result_in_any_format_and_may_be_replaced(fitted, folder):
    scans, outputs = scan_files([folder / "images" / "s0.nii.gz"]), Outputs(folder / "out", ".nrrd")
    assert outputs.there(scans[0]) is None
    batch(fitted, folder, scans, suffix=".nrrd")
    made = folder / "out" / "s0.nrrd"
    assert outputs.there(scans[0]) == Outputs(folder / "out", ".mha").there(scans[0]) == made
    assert isinstance(*batch(fitted, folder, scans, suffix=".nrrd"), Segmented)
    made.unlink()
    assert outputs.there(scans[0]) is None  # as a killed process leaves it


def test_an_example_of_the_model_is_known_by_its_voxels(fitted, folder):
    """Names may be those of other patients."""
    shutil.copy(folder / "images" / "s0.nii.gz", folder / "images" / "renamed.nii.gz")
    write_volume(labelled(0).scan.voxels, labelled(0).scan.affine, folder / "images" / "own.nrrd")
    batch(fitted, folder, scan_files([folder / "images"]))
    told = {path.stem: json.loads(path.read_text())["example"] for path in (folder / "out").glob("*.json")}
    assert told == {"s0": True, "renamed": True, "own": True, "s1": False, "s2": False}


def test_a_scan_of_the_pool_is_told_to_be_one(fitted, folder):
    learned = digests([folder / "images" / "s0.nii.gz", folder / "images" / "s1.nii.gz"])
    knowing = replace(fitted, provenance={**fitted.provenance, "training_files": list(learned.values())})
    done = batch(knowing, folder, scan_files([folder / "images"]))
    assert [TRANSDUCTIVE in each.notes for each in done] == [False, True, False]  # the first is the example itself
    assert TRANSDUCTIVE in json.loads((folder / "out" / "s1.json").read_text())["notes"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_correction_by_hand_is_not_replaced_and_does_not_stop_the_others(fitted, folder, suffix):
    scans, made = scan_files([folder / "images"]), folder / "out" / "s1.nii.gz"
    batch(fitted, folder, scans)
    found, _ = read_labels(made)
    found.labels[0, 0, :2] = 1
    write_segmentation(found, made)
    corrected = made.read_bytes()
    done = batch(fitted, folder, scans, suffix=suffix)
    assert [type(each) for each in done] == [Segmented, Failed, Segmented]
    assert "s1.nii.gz: was changed since lowshot wrote it; move it to keep it" in str(done[1].error)
    assert made.read_bytes() == corrected
    made.unlink()
    assert all(isinstance(each, Segmented) for each in batch(fitted, folder, scans, suffix=suffix))


def test_a_structure_that_was_moved_counts_as_corrected_too(fitted, folder):
    """Its voxels are as many as before."""
    scans, made = scan_files([folder / "images" / "s1.nii.gz"]), folder / "out" / "s1.nii.gz"
    batch(fitted, folder, scans)
    found, _ = read_labels(made)
    write_segmentation(replace(found, labels=found.labels.roll(3, dims=0)), made)
    (failed,) = batch(fitted, folder, scans)
    assert "was changed since lowshot wrote it" in str(failed.error)


def test_a_dicom_result_that_was_corrected_is_not_replaced(fitted, folder):
    scans, made = as_series(folder, "p1"), folder / "out" / "p1.rtstruct.dcm"
    assert isinstance(*batch(fitted, folder, scans, suffix=".rtstruct.dcm"), Segmented)
    assert isinstance(*batch(fitted, folder, scans, suffix=".rtstruct.dcm"), Segmented)
    corrected = pydicom.dcmread(made)
    corrected.StructureSetLabel = "corrected"
    corrected.save_as(made)
    (failed,) = batch(fitted, folder, scans, suffix=".rtstruct.dcm")
    assert "p1.rtstruct.dcm: was changed since lowshot wrote it" in str(failed.error)


def test_probabilities_of_an_earlier_result_do_not_outlive_it(fitted, folder):
    scans, kept = scan_files([folder / "images" / "s0.nii.gz"]), folder / "out" / "probabilities" / "s0"
    list(Batch(fitted, Outputs(folder / "out", probabilities=True), run()).segment(scans))
    (kept / "9-of-another-model.nii.gz").write_bytes(b"")
    (kept / "notes.txt").write_text("somebody's own")
    list(Batch(fitted, Outputs(folder / "out", probabilities=True), run()).segment(scans))
    assert len(list(kept.glob("*.nii.gz"))) == len(NAMES)
    assert not (kept / "9-of-another-model.nii.gz").exists()
    batch(fitted, folder, scans)
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]


def test_a_result_takes_the_place_of_one_in_another_format(fitted, folder):
    scans, out = scan_files([folder / "images" / "s0.nii.gz"]), folder / "out"
    batch(fitted, folder, scans)
    (out / "s0.mha").write_text("somebody's own")
    batch(fitted, folder, scans, suffix=".nrrd")
    assert sorted(path.name for path in out.iterdir()) == ["s0.json", "s0.mha", "s0.nrrd"]


@pytest.mark.parametrize("suffix", [None, ".nrrd"])
def test_results_do_not_go_among_the_scans(fitted, folder, suffix):
    """Over them, or so that the next call takes them for scans."""
    scans, outputs = scan_files([folder / "images" / "s0.nii.gz"]), Outputs(folder / "images", suffix)
    with pytest.raises(OutputError, match=r"images: a scan to be segmented lies there \(s0.nii.gz\); choose another"):
        next(Batch(fitted, outputs, run()).segment(scans))


def test_a_name_that_no_file_can_have_fails_one_scan_alone(fitted, folder):
    long = "m" * 240  # a file of this name can be read; the temporary one beside it could not be made
    shutil.copy(folder / "images" / "s1.nii.gz", folder / "images" / f"{long}.nii.gz")
    ended = batch(fitted, folder, scan_files([folder / "images"]))
    (failed,) = (each for each in ended if isinstance(each, Failed))
    assert failed.case == long
    assert "Shorten the name of the scan" in str(failed.error)
    assert sum(isinstance(each, Segmented) for each in ended) == len(ended) - 1 > 1


def test_options_are_checked_before_the_first_scan(fitted, folder):
    with pytest.raises(SettingsError, match="tiles"):
        next(Batch(fitted, Outputs(folder / "out"), run(), options={"tiles": 2}).segment([one_scan("missing.nii")]))


@pytest.mark.parametrize(
    ("file", "suffix", "expected"),
    [
        ("a.nii.gz", None, "a.nii.gz"),
        ("a.NII", None, "a.nii"),
        ("a.nrrd", None, "a.nrrd"),
        ("a.mgz", None, "a.nii.gz"),
        ("a.tiff", None, "a.nii.gz"),
        ("series", None, "series.nii.gz"),
        ("a.nii.gz", ".mha", "a.mha"),
        ("T1=ann_T1.mha,T2=ann_T2.mha", None, "ann.mha"),
    ],
)
def test_results_keep_the_scans_format_where_it_can_be_written(tmp_path, file, suffix, expected):
    assert Outputs(tmp_path, suffix).path(one_scan(file)) == tmp_path / expected


def test_probabilities_are_one_file_for_each_structure_and_add_up(fitted, folder):
    batch(fitted, folder, scan_files([folder / "images" / "s1.nii.gz"]), probabilities=True)
    kept = sorted((folder / "out" / "probabilities" / "s1").iterdir())
    assert [path.name for path in kept] == [
        "0-background.nii.gz",
        "3-left-ball.nii.gz",
        "7-right-ball.nii.gz",
        "9-middle-ball.nii.gz",
    ]
    total = sum(nibabel.load(path).get_fdata() for path in kept)
    assert abs(total[12, 12, 12] - 1) < 0.01
    assert total.max() < 1.01


def test_each_scan_is_announced_with_its_memory_and_its_progress(fitted, folder, tmp_path):
    with (tmp_path / "log").open("w") as log:
        made = Batch(fitted, Outputs(folder / "out"), run(progress=Lines(log)))
        list(made.segment(scan_files([folder / "images" / "s1.nii.gz"])))
    said = (tmp_path / "log").read_text()
    assert re.search(r"s1 \(1 of 1\): 24×24×24 voxels, takes \d+\.\d GB of memory", said)
    assert "segmenting s1 100/100" in said


def test_the_least_trusted_structure_is_named(tmp_path):
    def segmented(quality):
        return Segmented("a", tmp_path, quality, (), (), 1.0)

    assert segmented({"liver": Quality(0.9), "aorta": Quality(0.4), "spleen": None}).lowest == ("aorta", 0.4)
    assert segmented({"liver": None}).lowest is None


OURS = {"file": "m.safetensors", "sha256": "1"}


def told_of_kept(fitted, folder, models, options=(), **outputs):
    """What is said of kept label maps, of which each was made by one of these models; None: nobody knows by which."""
    (folder / "out").mkdir()
    for name, model in models.items():
        (folder / "out" / f"{name}.nii.gz").touch()
        if model is not None:
            (folder / "out" / f"{name}.json").write_text(json.dumps({"structures": {}, "model": model}))
    scans = [one_scan(folder / f"{name}.nii.gz") for name in models]
    return unlike_kept(scans, Outputs(folder / "out", **outputs), fitted, OURS | {"options": dict(options)})


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (OURS, {}),
        (OURS, {"one_piece": False}),  # as it is without being said
        (OURS, {"tiles_at_once": 7}),  # which only takes other time
        (OURS | {"options": {"one_piece": True}}, {"one_piece": True}),
        (None, {"one_piece": True}),
        ({}, {"one_piece": True}),
    ],
)
def test_nothing_is_said_of_a_kept_result_that_is_alike_or_of_unknown_origin(fitted, tmp_path, model, options):
    assert told_of_kept(fitted, tmp_path, {"a": model}, options) is None


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ({"file": "old.safetensors", "sha256": "2"}, {}, "1 by another model, old.safetensors: a"),
        (OURS | {"sha256": "2"}, {}, "1 by another m.safetensors: a"),
        ({"file": "\x1b[2J", "sha256": "2"}, {}, "1 by another model, ?[2J: a"),
        (OURS, {"one_piece": True}, "1 with other options: a"),
        (OURS | {"options": {"one_piece": True}}, {}, "1 with other options: a"),
        (OURS | {"options": {"unheard_of": 1}}, {}, "1 with other options: a"),
        (OURS | {"options": "damaged"}, {}, "1 with other options: a"),
    ],
)
def test_a_kept_result_that_would_be_another_now_is_told(fitted, tmp_path, model, options, told):
    assert f"({told})" in told_of_kept(fitted, tmp_path, {"a": model}, options)


def test_many_kept_results_are_counted_and_the_first_are_named(fitted, tmp_path):
    said = told_of_kept(fitted, tmp_path, {"ok": OURS} | dict.fromkeys("abcde", OURS | {"sha256": "2"}))
    assert said.startswith("of the 6 results that are kept, this command would make 5 otherwise (5 by ")
    assert "a, b, c and 2 more)" in said


def test_kept_results_without_what_is_asked_for_are_told(fitted, folder, tmp_path):
    assert "(1 in another format: a)" in told_of_kept(fitted, tmp_path, {"a": OURS}, suffix=".mha")
    shutil.rmtree(tmp_path / "out")
    assert "(1 without probabilities: a)" in told_of_kept(fitted, tmp_path, {"a": OURS}, probabilities=True)
    shutil.rmtree(tmp_path / "out")
    scans = scan_files([folder / "images" / "s0.nii.gz"])
    batch(fitted, folder, scans, probabilities=True)
    assert unlike_kept(scans, Outputs(folder / "out", probabilities=True), fitted, OURS) is None
