"""Every data set: written as it is distributed, found, read; and copies that are damaged."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from lowshot.datasets.export import export
from lowshot.datasets.reader import find_cases, read_case
from lowshot.datasets.table import DATASETS
from lowshot.errors import GridMismatch, InputError, LowshotError, UnknownLabel, UnreadableFile
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

AFFINE = np.array([[1.5, 0, 0, -10], [0, 2, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1.0]])
FLAT = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (7, 6, 5)


def is_flat(dataset):
    return "ultrasound" in dataset.modality or "2-D" in dataset.modality


def subject(dataset, seed, affine=AFFINE):
    flat = is_flat(dataset)
    shape = (*SHAPE[:2], 1) if flat else SHAPE
    random = np.random.default_rng(seed)
    names = Names.of(dict(dataset.structures))
    voxels = torch.from_numpy(random.integers(0, 200, (1, *shape)).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, len(names), shape).astype(np.int16))
    affine = FLAT if flat else affine
    return LabelledScan(Scan(f"case-{seed}", voxels, affine), Segmentation(labels, names, affine))


def exported(name, folder, count=2):
    dataset = DATASETS[name]
    subjects = [subject(dataset, seed) for seed in range(count)]
    export(dataset, subjects, folder)
    return dataset, subjects


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_written_as_distributed_is_read_as_it_was(name, tmp_path):
    dataset, subjects = exported(name, tmp_path)
    found = find_cases(dataset, tmp_path)
    assert found.problems == {}
    assert len(found.cases) == 2
    for ours, files in zip(subjects, found.cases.values(), strict=True):
        read = read_case(dataset, files)
        assert read.scan.voxels.shape[0] == len(dataset.images)
        assert all(channel.equal(ours.scan.voxels[0]) for channel in read.scan.voxels)
        assert read.truth.labels.equal(ours.truth.labels)
        assert read.truth.names == ours.truth.names
        assert np.allclose(read.scan.affine, ours.scan.affine)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "image-n"])
def test_no_other_data_set_is_seen_in_it(name, tmp_path):
    exported(name, tmp_path)
    seen = [other for other, dataset in DATASETS.items() if find_cases(dataset, tmp_path).cases]
    assert seen == [name]


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_label_map_is_named_and_the_others_are_used(name, tmp_path):
    dataset, _ = exported(name, tmp_path)
    first = next(iter(find_cases(dataset, tmp_path).cases.values()))
    for path in first.labels:
        path.unlink()
    found = find_cases(dataset, tmp_path)
    assert found.problems == {first.case: f"{first.case}: no label map"}
    assert len(found.cases) == 1


def test_a_missing_sequence_is_named(tmp_path):
    dataset, _ = exported("mrbrains18", tmp_path)
    next(tmp_path.rglob("1/pre/FLAIR.nii.gz")).unlink()
    assert find_cases(dataset, tmp_path).problems == {"1": "1: no FLAIR"}


@pytest.mark.parametrize("name", DATASETS)
def test_an_identifier_that_is_there_twice_is_refused(name, tmp_path):
    dataset, _ = exported(name, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    found = find_cases(dataset, tmp_path)
    assert found.cases == {}
    assert len(found.problems) == 2
    assert all("there twice: " in problem for problem in found.problems.values())


def test_cases_come_in_the_order_of_their_numbers(tmp_path):
    dataset, _ = exported("ms-cmrseg", tmp_path, count=11)
    assert list(find_cases(dataset, tmp_path).cases) == [str(n) for n in range(1, 12)]


def chaos(tmp_path):
    dataset, subjects = exported("chaos-mr", tmp_path, count=1)
    (files,) = find_cases(dataset, tmp_path).cases.values()
    return dataset, subjects[0], files


def test_slices_are_ordered_by_position_whatever_their_files_are_called(tmp_path):
    dataset, ours, files = chaos(tmp_path)
    (folder,) = files.images.values()
    for kind, place in ((".dcm", folder), (".png", files.labels[0].parent)):
        for number, other in ((1, 90), (2, 1), (90, 2)):
            (place / f"IMG-0002-{number:05d}{kind}").rename(place / f"IMG-0002-{other:05d}{kind}")
    (files,) = find_cases(dataset, tmp_path).cases.values()
    read = read_case(dataset, files)
    assert read.scan.voxels.equal(ours.scan.voxels)
    assert read.truth.labels.equal(ours.truth.labels)


@pytest.mark.parametrize("name", ["i{:04d},0000b.dcm", "IMG-0004-{:05d}.dcm"])
def test_both_ways_in_which_ct_slices_are_named_are_paired_with_their_labels(name, tmp_path):
    dataset, (ours,) = exported("chaos-ct", tmp_path, count=1)
    (folder,) = next(iter(find_cases(dataset, tmp_path).cases.values())).images.values()
    for path in list(folder.iterdir()):
        number = int(path.name[1:5])
        path.rename(folder / name.format(number))
    read = read_case(dataset, find_cases(dataset, tmp_path).cases["1"])
    assert read.scan.voxels.equal(ours.scan.voxels)
    assert read.truth.labels.equal(ours.truth.labels)


@pytest.mark.parametrize("name", [name for name in DATASETS if not is_flat(DATASETS[name])])
def test_another_orientation_comes_out_right(name, tmp_path):
    dataset = DATASETS[name]
    turned = np.array([[0, 0, 3, 7], [-1.5, 0, 0, 4], [0, -2, 0, 5], [0, 0, 0, 1.0]])  # sagittal slices
    ours = subject(dataset, 0, turned)
    export(dataset, [ours], tmp_path)
    (files,) = find_cases(dataset, tmp_path).cases.values()
    read = read_case(dataset, files)
    for voxel in ((0, 0, 0), (6, 2, 4), (3, 5, 1)):
        place = np.linalg.inv(read.scan.affine) @ ours.scan.affine @ [*voxel, 1]
        there = tuple(np.rint(place[:3]).astype(int))
        assert read.scan.voxels[0][there] == ours.scan.voxels[0][voxel]
        assert read.truth.labels[there] == ours.truth.labels[voxel]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda image, label: Image.new("L", (9, 9)).save(label), GridMismatch, "of 7 × 6 pixels, got 9 × 9"),
        (lambda image, label: Image.new("L", (7, 6), 100).save(label), UnknownLabel, "value 100 is none of CHAOS"),
        (lambda image, label: image.write_bytes(image.read_bytes()[:-20]), UnreadableFile, "IMG-0002-00003"),
        (lambda image, label: moved(image), UnreadableFile, "slices lie where others lie"),
    ],
)
def test_a_damaged_slice_is_one_clear_message(damage, error, message, tmp_path):
    dataset, _, files = chaos(tmp_path)
    (folder,) = files.images.values()
    damage(folder / "IMG-0002-00003.dcm", files.labels[2])
    (files,) = find_cases(dataset, tmp_path).cases.values()
    with pytest.raises(error, match=message):
        read_case(dataset, files)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda image, label: image.unlink(), "each of 4 images, got 5; without a partner: 3"),
        (lambda image, label: label.unlink(), "each of 5 images, got 4; without a partner: 3"),
        (lambda image, label: label.rename(label.with_name("slice.png")), "slice.png: expected a number in its name"),
        (
            lambda image, label: shutil.copy(image, image.with_name("IMG-0009-00003.dcm")),
            "numbers that occur twice|got 5",
        ),
    ],
)
def test_a_slice_without_its_partner_is_told_before_anything_is_read(damage, message, tmp_path):
    dataset, _, files = chaos(tmp_path)
    (folder,) = files.images.values()
    damage(folder / "IMG-0002-00003.dcm", files.labels[2])
    found = find_cases(dataset, tmp_path)
    assert not found.cases
    assert re.search(message, found.problems["1"])


def test_slices_that_changed_since_they_were_found_are_refused(tmp_path):
    dataset, _, files = chaos(tmp_path)
    files.labels[2].unlink()
    with pytest.raises(GridMismatch, match="without a partner: 3"):
        read_case(dataset, replace(files, labels=files.labels[:2] + files.labels[3:]))


def moved(image):
    """To where another slice lies."""
    slice_ = pydicom.dcmread(image)
    slice_.ImagePositionPatient[2] += 3
    slice_.save_as(image)


def test_a_slice_missing_in_the_middle_of_both_is_refused(tmp_path):
    dataset, _, files = chaos(tmp_path)
    (folder,) = files.images.values()
    for path in (folder / "IMG-0002-00003.dcm", files.labels[2]):
        path.unlink()
    (files,) = find_cases(dataset, tmp_path).cases.values()
    with pytest.raises(LowshotError, match="evenly spaced slices"):
        read_case(dataset, files)


def test_values_near_the_written_ones_count_in_chaos(tmp_path):
    dataset, ours, files = chaos(tmp_path)
    for path in files.labels:
        values = np.array(Image.open(path)).astype(int)
        Image.fromarray(np.uint8(np.where(values > 0, values - 3, 0))).save(path)
    assert read_case(dataset, files).truth.labels.equal(ours.truth.labels)


def test_masks_of_one_picture_are_put_together(tmp_path):
    dataset, subjects = exported("busi", tmp_path, count=1)
    (mask,) = next(iter(find_cases(dataset, tmp_path).cases.values())).labels
    other = np.zeros((6, 7), np.uint8)
    other[0, 0] = 255
    Image.fromarray(other).save(mask.with_name("benign (1)_mask_1.png"))
    read = read_case(dataset, next(iter(find_cases(dataset, tmp_path).cases.values())))
    wanted = subjects[0].truth.labels.clone()
    wanted[0, 0, 0] = 1
    assert read.truth.labels.equal(wanted)


def test_a_normal_breast_needs_no_mask(tmp_path):
    dataset, _ = exported("busi", tmp_path, count=1)
    normal = tmp_path / "Dataset_BUSI_with_GT" / "normal" / "normal (1).png"
    normal.parent.mkdir()
    Image.fromarray(np.full((6, 7), 9, np.uint8)).save(normal)
    read = read_case(dataset, find_cases(dataset, tmp_path).cases["normal (1)"])
    assert read.truth.names.foreground == ("lesion",)
    assert read.truth.labels.equal(torch.zeros(7, 6, 1, dtype=torch.int16))


def test_hearts_that_are_distributed_without_label_maps_are_no_problem(tmp_path):
    dataset, _ = exported("ms-cmrseg", tmp_path, count=2)
    (image,) = tmp_path.rglob("patient1_C0.nii.gz")
    for number in (36, 45, 35):
        shutil.copy(image, image.with_name(f"patient{number}_C0.nii.gz"))
    found = find_cases(dataset, tmp_path)
    assert (list(found.cases), found.problems) == (["1", "2"], {"35": "35: no label map"})


def test_the_one_picture_of_two_names_is_left_out_and_told(tmp_path):
    dataset, _ = exported("busi", tmp_path, count=2)
    for path in sorted(tmp_path.rglob("benign (1)*.png")):
        path.rename(path.with_name(path.name.replace("(1)", "(234)")))
    found = find_cases(dataset, tmp_path)
    assert list(found.cases) == ["benign (2)"]
    assert found.problems == {"benign (234)": "benign (234): left out: one picture under two names, with colour"}


def test_two_masks_of_one_name_are_not_put_together(tmp_path):
    dataset, _ = exported("original-gt", tmp_path, count=1)
    mask = tmp_path / "GT" / "000001.png"
    Image.open(mask).save(mask.with_suffix(".tif"))
    assert "two label maps" in find_cases(dataset, tmp_path).problems["000001"]


def test_both_frames_of_a_heart_are_cases(tmp_path):
    dataset, subjects = exported("acdc", tmp_path)
    patient = tmp_path / "training" / "patient001"
    for kind in ("", "_gt"):
        later = tmp_path / "training" / "patient002" / f"patient002_frame01{kind}.nii.gz"
        later.rename(patient / f"patient001_frame12{kind}.nii.gz")
    shutil.copy(patient / "patient001_frame01.nii.gz", patient / "patient001_4d.nii.gz")
    found = find_cases(dataset, tmp_path)
    assert list(found.cases) == ["patient001_frame01", "patient001_frame12"]
    assert read_case(dataset, found.cases["patient001_frame12"]).truth.labels.equal(subjects[1].truth.labels)


def test_the_test_patients_of_newer_copies_are_no_training_cases(tmp_path):
    dataset, _ = exported("acdc", tmp_path)
    for number in (99, 100, 101, 150):
        kind = "training" if number <= 100 else "testing"
        shutil.copytree(tmp_path / "training" / "patient001", tmp_path / kind / f"patient{number:03d}")
        for path in (tmp_path / kind / f"patient{number:03d}").iterdir():
            path.rename(path.with_name(path.name.replace("patient001", f"patient{number:03d}")))
    found = find_cases(dataset, tmp_path)
    assert list(found.cases) == [f"patient{number:03d}_frame01" for number in (1, 2, 99, 100)]
    assert found.problems == {}


def test_a_layout_s_first_folders_may_be_those_above_the_given_one(tmp_path, monkeypatch):
    dataset, _ = exported("chaos-mr", tmp_path)
    monkeypatch.chdir(tmp_path / "Train_Sets" / "MR")
    assert list(find_cases(dataset, Path()).cases) == ["1", "2"]


def test_copies_of_candi_in_another_space_are_no_cases(tmp_path):
    dataset, _ = exported("candi", tmp_path, count=1)
    (files,) = find_cases(dataset, tmp_path).cases.values()
    for path, name in ((files.images["T1"], "HC_001_linear_MRI"), (files.labels[0], "HC_001_linear_SEG")):
        copy = path.parent / "MNI152_2mm_Linear" / f"{name}.nii.gz"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    found = find_cases(dataset, tmp_path)
    assert (list(found.cases), found.problems) == (["HC_001"], {})


def test_what_the_challenge_masks_out_is_unknown_and_not_background(tmp_path):
    dataset = DATASETS["mrbrains18"]
    names = Names.of({**dataset.structures, 9: "infarction"})
    ours = subject(dataset, 0)
    ours = replace(ours, truth=replace(ours.truth, names=names))
    ours.truth.labels[0, 0, 0] = len(names) - 1
    export(replace(dataset, structures={**dataset.structures, 9: "infarction"}), [ours], tmp_path)
    (files,) = find_cases(dataset, tmp_path).cases.values()
    read = read_case(dataset, files)
    assert (~read.known).nonzero().tolist() == [[0, 0, 0]]
    assert read.truth.labels[0, 0, 0] == 0


def test_candis_other_structures_are_background(tmp_path):
    dataset = DATASETS["candi"]
    export(replace(dataset, structures={**dataset.structures, 5: "left inferior horn"}), [odd(dataset)], tmp_path)
    (files,) = find_cases(dataset, tmp_path).cases.values()
    assert read_case(dataset, files).truth.labels[0, 0, 0] == 0


def odd(dataset):
    ours = subject(dataset, 0)
    names = Names.of({**dataset.structures, 5: "left inferior horn"})
    labels = torch.from_numpy(names.encode(ours.truth.names.decode(ours.truth.labels.numpy())))
    labels[0, 0, 0] = names.index("left inferior horn")
    return replace(ours, truth=replace(ours.truth, labels=labels, names=names))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_cases(DATASETS["chaos-mr"], tmp_path / "nowhere")
