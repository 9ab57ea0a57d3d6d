import pytest
import torch

import ball_files
from ball_files import NAMES, write_ball_files
from lowshot.errors import EmptySupport, InputError, UnknownLabel
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.inputs.base_files import BaseFiles
from lowshot.inputs.scan_files import ScanFiles
from lowshot.inputs.table import Row
from lowshot.inputs.task_files import ReadWhenAsked, TaskFiles, read_task


@pytest.fixture
def folder(tmp_path):
    return write_ball_files(tmp_path)


def row(folder, seed, **partly):
    return Row(ScanFiles.of(folder / "images" / f"s{seed}.nii.gz"), folder / "labels" / f"s{seed}.nii.gz", **partly)


def test_support_with_names(folder):
    task = read_task(TaskFiles([row(folder, 0), row(folder, 1)]), names=NAMES)
    assert task.names == NAMES
    assert [labelled.scan.name for labelled in task.support] == ["s0", "s1"]
    assert torch.equal(task.support[1].truth.labels, ball_files.labels(1))


def test_values_without_names_become_one_table_for_all_scans(folder):
    only_seven = Segmentation((ball_files.labels(1) == 2).short(), Names.of({7: "x"}), ball_files.AFFINE)
    write_segmentation(only_seven, folder / "labels" / "s1.nii.gz")
    task = read_task(TaskFiles([row(folder, 0), row(folder, 1)]))
    assert task.names == Names.from_values([3, 7, 9])
    assert all(labelled.truth.names == task.names for labelled in task.support)
    assert torch.equal(task.support[1].truth.labels == 2, ball_files.labels(1) == 2)
    assert torch.equal(task.support[0].truth.labels, ball_files.labels(0))


def test_what_is_annotated_is_kept(folder):
    task = read_task(
        TaskFiles([row(folder, 0, annotated_slice=(0, 7), annotated=frozenset({"left ball"}))]), names=NAMES
    )
    known, annotated = task.support[0].known, task.support[0].annotated
    assert annotated == {"left ball"}
    assert known[7].all()
    assert int(known.sum()) == 24 * 24


def test_an_ignored_value_is_unknown(folder):
    names = Names.of({3: "left ball", 9: "middle ball"})
    task = read_task(TaskFiles([row(folder, 0)]), names=names, ignore_value=7)
    assert torch.equal(~task.support[0].known, ball_files.labels(0) == 2)


def test_a_pool_is_read_one_by_one_when_it_is_asked_for():
    read = []
    pool = ReadWhenAsked(lambda name: read.append(name) or name.upper(), ["a", "b", "c"])
    assert len(pool) == 3
    first_two = pool[:2]
    assert read == []
    assert (pool[2], list(first_two)) == ("C", ["A", "B"])
    assert read == ["c", "a", "b"]


def test_the_pool_is_in_the_task(folder):
    pool = [ScanFiles.of(folder / "images" / f"s{seed}.nii.gz") for seed in (1, 2)]
    task = read_task(TaskFiles([row(folder, 0)], pool), names=NAMES)
    assert [scan.name for scan in task.unlabelled] == ["s1", "s2"]


def test_a_base_has_its_own_structures(folder):
    own = Names.of({3: "one", 7: "two", 9: "three"})
    files = TaskFiles([row(folder, 0)], base=BaseFiles([row(folder, 1)], own))
    task = read_task(files, names=NAMES)
    assert (task.names, task.base[0].truth.names) == (NAMES, own)
    unnamed = TaskFiles([row(folder, 0)], base=BaseFiles([row(folder, 1)]))
    assert read_task(unnamed, names=NAMES).base[0].truth.names == Names.from_values([3, 7, 9])


def test_a_base_alone_has_no_structure_to_be_learned_and_takes_the_names(folder):
    files = TaskFiles([], base=BaseFiles([row(folder, 1)], Names.of({3: "one", 7: "two", 9: "three"})))
    assert read_task(files).names == Names(("background",), (0,))
    assert read_task(files).base[0].truth.names.foreground == ("one", "two", "three")
    task = read_task(files, names=NAMES)
    assert (task.names.foreground, task.base[0].truth.names) == ((), NAMES)


def test_a_base_may_have_its_own_ignored_value(folder):
    names = Names.of({3: "one", 7: "two"})
    files = TaskFiles([row(folder, 0)], base=BaseFiles([row(folder, 1)], names, ignore_value=9))
    task = read_task(files, names=Names.of({3: "one", 9: "three"}), ignore_value=7)
    assert torch.equal(~task.support[0].known, ball_files.labels(0) == 2)
    assert torch.equal(~task.base[0].known, ball_files.labels(1) == 3)


def test_left_and_right_follow_from_names_and_places(folder):
    assert read_task(TaskFiles([row(folder, 0)]), names=NAMES, mirror="symmetric").mirror_pairs == ((1, 2),)
    assert read_task(TaskFiles([row(folder, 0)]), names=NAMES, mirror="off").mirror_pairs is None


def test_one_file_as_image_and_label_map_is_refused(folder):
    image = folder / "images" / "s0.nii.gz"
    with pytest.raises(EmptySupport, match=r"s0\.nii\.gz: given as the image and as its label map"):
        read_task(TaskFiles([Row(ScanFiles.of(image), image)]))


def test_errors_name_the_scan(folder):
    with pytest.raises(EmptySupport, match=r"s0\.nii\.gz: expected a label map"):
        read_task(TaskFiles([Row(ScanFiles.of(folder / "images" / "s0.nii.gz"))]))
    with pytest.raises(UnknownLabel, match=r"s0\.nii\.gz: label value 9"):
        read_task(TaskFiles([row(folder, 0)]), names=Names.of({3: "a", 7: "b"}))
    with pytest.raises(InputError, match="no slice 99"):
        read_task(TaskFiles([row(folder, 0, annotated_slice=99)]))


def test_every_file_of_a_task_is_listed(folder):
    pool = [ScanFiles.of(folder / "images" / "s2.nii.gz")]
    files = TaskFiles([row(folder, 0)], pool, BaseFiles([row(folder, 1)]))
    assert [path.relative_to(folder).as_posix() for path in files.paths] == [
        "images/s0.nii.gz",
        "labels/s0.nii.gz",
        "images/s1.nii.gz",
        "labels/s1.nii.gz",
        "images/s2.nii.gz",
    ]
