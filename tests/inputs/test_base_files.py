import json
import shutil

import pytest
import torch

import ball_files
from ball_files import NAMES, write_ball_files
from lowshot.errors import ChannelMismatch, EmptySupport, InputError, UnknownLabel, UnreadableFile
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.inputs.base_files import base_files
from lowshot.inputs.task_files import TaskFiles, read_labelled_row, read_task
from lowshot.phantoms.study import Study
from lowshot.phantoms.study_folder import write_study

DESCRIPTION = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "left ball": 3, "right ball": 7, "middle ball": 9},
    "file_ending": ".nii.gz",
}


@pytest.fixture
def folder(tmp_path):
    return write_ball_files(tmp_path / "study")


@pytest.fixture
def dataset(tmp_path):
    """Two cases as nnU-Net has them, with as many channels as asked for; the description changed as asked for."""

    def made(channels=1, **changes):
        where = tmp_path / "Dataset001_Balls"
        for seed in range(2):
            for k in range(channels):
                image = where / "imagesTr" / f"case_{seed}_{k:04d}.nii.gz"
                write_volume(ball_files.image(seed) + 10 * k, ball_files.AFFINE, image)
            truth = Segmentation(ball_files.labels(seed), NAMES, ball_files.AFFINE)
            write_segmentation(truth, where / "labelsTr" / f"case_{seed}.nii.gz")
        described = {key: value for key, value in (DESCRIPTION | changes).items() if value is not None}
        (where / "dataset.json").write_text(json.dumps(described))
        return where

    return made


def names_of(base):
    return [row.scan.name for row in base.rows]


def files_of(base, folder):
    """Of each row: its images and its label map."""
    paths = ((*row.scan.all_paths, row.labels) for row in base.rows)
    return [[path.relative_to(folder).as_posix() for path in each] for each in paths]


def read(base):
    """The first scan, as a task has it."""
    return read_task(TaskFiles([], base=base)).base[0]


# A CSV.


def write_table(folder, rows="images/s0.nii.gz,labels/s0.nii.gz\n"):
    (folder / "base.csv").write_text(f"image,labels\n{rows}")
    return folder / "base.csv"


def test_a_table_has_the_names_that_lie_beside_it(folder):
    assert base_files(write_table(folder)).names == NAMES
    (folder / "names.txt").rename(folder / "other.txt")
    assert base_files(write_table(folder)).names is None


def test_a_table_needs_label_maps(folder):
    with pytest.raises(
        EmptySupport, match=r"base\.csv: expected a label map for every scan of a base, found none for s1;"
    ):
        base_files(write_table(folder, "images/s0.nii.gz,labels/s0.nii.gz\nimages/s1.nii.gz,\n"))


# A folder of images and label maps.


def test_a_folder_pairs_images_and_label_maps_of_one_name(folder):
    base = base_files(folder)
    assert files_of(base, folder) == [[f"images/s{k}.nii.gz", f"labels/s{k}.nii.gz"] for k in range(3)]
    assert read(base).truth.names == base.names == NAMES


def test_images_may_lie_in_a_folder_for_each_patient(folder):
    for image in sorted((folder / "images").iterdir()):
        (folder / "images" / image.name.removesuffix(".nii.gz")).mkdir()
        image.rename(folder / "images" / image.name.removesuffix(".nii.gz") / "T1.nii.gz")
    base = base_files(folder)
    assert files_of(base, folder) == [[f"images/s{k}/T1.nii.gz", f"labels/s{k}.nii.gz"] for k in range(3)]
    assert names_of(base) == ["s0", "s1", "s2"]


def test_names_may_differ_in_words_that_say_what_a_file_is(folder):
    for path in (folder / "labels").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_seg.nii")))
    assert files_of(base_files(folder), folder)[0] == ["images/s0.nii.gz", "labels/s0_seg.nii.gz"]


@pytest.mark.parametrize(("name", "names"), [("labels.txt", NAMES), ("notes.txt", Names.from_values([3, 7, 9]))])
def test_names_are_read_from_the_usual_files_or_are_the_values(folder, name, names):
    (folder / "names.txt").rename(folder / name)
    assert read(base_files(folder)).truth.names == names


def test_a_synthetic_study_is_a_base(tmp_path):
    study = Study(subjects=2, shape=(24, 24, 12), structures=("liver", "spleen"))
    write_study(study, tmp_path)
    base = base_files(tmp_path)
    assert names_of(base) == ["subject-01", "subject-02"]
    assert set(base.names.foreground) == {"liver", "spleen"}


def test_names_without_a_value_that_occurs_are_told_when_it_is_read(folder):
    (folder / "names.txt").write_text("3 left ball\n")
    base = base_files(folder)
    with pytest.raises(UnknownLabel, match=r"s0\.nii\.gz: label value 7"):
        read_labelled_row(base.rows[0], base.names)


def gone(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def emptied(name):
    def change(folder):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "study: no such file or folder"),
        (gone("labels/s1.nii.gz"), "labels: expected a label map for every scan of a base, found none for s1;"),
        (
            gone("images/s0.nii.gz", "images/s1.nii.gz"),
            r"images: expected an image for every .*s0\.nii\.gz, s1\.nii\.gz",
        ),
        (emptied("images"), "images: expected scans in this folder, it is empty"),
        (emptied("labels"), "labels: expected label maps in this folder, found none"),
        (emptied(""), "study: expected images/ and labels/ .*or nnU-Net's dataset.json, .*found nothing"),
        (
            lambda folder: shutil.move(folder / "labels", folder / "truth"),
            "found images, names.txt, truth; arrange it so",
        ),
        (lambda folder: (folder / "names.txt").write_text("3 a\n3 b\n"), "names.txt: label value 3 has two names"),
    ],
)
def test_a_folder_that_is_no_base_is_one_error(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        base_files(folder)


# nnU-Net.


@pytest.mark.parametrize("word", ["", "dataset.json"])
def test_a_data_set_of_nnunet_is_a_base(dataset, word):
    where = dataset()
    base = base_files(where / word)
    assert names_of(base) == ["case_0", "case_1"]
    assert files_of(base, where)[0] == ["imagesTr/case_0_0000.nii.gz", "labelsTr/case_0.nii.gz"]
    assert base.names == NAMES
    assert read(base).scan.channels == ("image",)


def test_several_channels_have_their_names(dataset):
    scan = read(base_files(dataset(2, channel_names={"1": "FLAIR", "0": "T1"}))).scan
    assert scan.channels == ("T1", "FLAIR")
    assert float(scan.voxels[1].min()) > 5  # as the second file is written


def test_its_older_form_is_read(dataset):
    labels = {"0": "background", "3": "left ball", "7": "right ball", "9": "middle ball"}
    where = dataset(channel_names=None, file_ending=None, modality={"0": "CT"}, labels=labels)
    assert base_files(where).names == NAMES
    for image in (where / "imagesTr").iterdir():  # the Decathlon's own files have no number
        image.rename(image.with_name(image.name.replace("_0000", "")))
    (where / "imagesTr" / "._case_0.nii.gz").touch()
    assert files_of(base_files(where), where)[1] == ["imagesTr/case_1.nii.gz", "labelsTr/case_1.nii.gz"]


def test_the_decathlon_has_all_channels_in_one_file(dataset):
    where = dataset(channel_names=None, file_ending=None, modality={"0": "T2", "1": "ADC"})
    for seed in range(2):
        (where / "imagesTr" / f"case_{seed}_0000.nii.gz").unlink()
        image = ball_files.image(seed)
        write_volume(torch.cat([image, image + 10]), ball_files.AFFINE, where / "imagesTr" / f"case_{seed}.nii.gz")
    scan = read(base_files(where)).scan
    assert (scan.name, scan.channels) == ("case_0", ("T2", "ADC"))
    assert float(scan.voxels[1].min()) > 5
    assert base_files(where).rows[0].scan.read().channels == ("T2", "ADC")
    write_volume(ball_files.image(0), ball_files.AFFINE, where / "imagesTr" / "case_0.nii.gz")
    with pytest.raises(ChannelMismatch, match=r"case_0\.nii\.gz: expected 2 channels \(T2, ADC\), got 1"):
        base_files(where).rows[0].scan.read()


def test_its_ignored_value_is_unknown(dataset):
    labels = {"background": 0, "left ball": 3, "right ball": 7, "ignore": 9}
    base = base_files(dataset(labels=labels))
    labelled = read(base)
    assert (labelled.truth.names.foreground, base.ignore_value) == (("left ball", "right ball"), 9)
    assert labelled.known.logical_not().equal(ball_files.labels(0) == 3)


def test_files_of_another_ending_are_left_alone(dataset):
    where = dataset()
    (where / "imagesTr" / "notes.txt").write_text("two scans")
    assert names_of(base_files(where)) == ["case_0", "case_1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "got regions of several for whole, core, which"),
        ({"labels": None}, "found no labels in it"),
        ({"labels": [1, 2]}, "found no labels in it"),
        ({"labels": {"background": 0, "liver": "x"}}, "expected an integer label value and a name"),
        ({"labels": {"liver": 0}}, "value 0 is named 'liver'"),
        ({"channel_names": None}, 'expected "channel_names": .*got None'),
        ({"channel_names": {}}, 'expected "channel_names"'),
        ({"channel_names": {"1": "T1"}}, 'expected "channel_names": .*numbered from 0'),
        ({"channel_names": {"0": 3}}, 'expected "channel_names"'),
        ({"channel_names": {"0": "T\x1b[2J1"}}, 'expected "channel_names"'),
        ({"channel_names": {"0": "MR", "1": "MR"}}, "a name of its own for every channel, got MR, MR"),
        ({"file_ending": 3}, 'expected "file_ending"'),
        ({"file_ending": ".nrrd"}, r"imagesTr: expected files that end in \.nrrd .*found case_0_0000\.nii\.gz"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, r"imagesTr: expected case_0_0001\.nii\.gz \(T2\), case_1_0001"),
    ],
)
def test_a_description_that_cannot_be_used_is_one_error(dataset, changes, message):
    with pytest.raises(InputError, match=message):
        base_files(dataset(**changes))


@pytest.mark.parametrize("content", ["{", "[]", "3", '"x"', "[" * 100_000, "\udcff"])
def test_a_broken_description_is_one_error(dataset, content):
    where = dataset()
    (where / "dataset.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"dataset\.json: expected nnU-Net's dataset\.json"):
        base_files(where)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("imagesTr/case_1_0000.nii.gz", r"imagesTr: expected case_1_0000\.nii\.gz \(T1\) for the label maps of"),
        ("imagesTr/case_1_0001.nii.gz", r"imagesTr: expected case_1_0001\.nii\.gz \(T2\) for the label maps of"),
        ("labelsTr/case_1.nii.gz", r"labelsTr: expected a label map for every image .*found none for case_1_0000"),
    ],
)
def test_a_file_that_is_missing_is_named(dataset, missing, message):
    where = dataset(2, channel_names={"0": "T1", "1": "T2"})
    (where / missing).unlink()
    with pytest.raises(InputError, match=message):
        base_files(where)


def test_a_channel_without_a_name_is_no_silent_loss(dataset):
    with pytest.raises(InputError, match=r"a channel of dataset\.json for its number, found none for case_0_0001"):
        base_files(dataset(2))


def test_a_folder_that_is_missing_is_named(dataset):
    where = dataset()
    shutil.rmtree(where / "labelsTr")
    with pytest.raises(UnreadableFile, match="labelsTr: no such file or folder"):
        base_files(where)
