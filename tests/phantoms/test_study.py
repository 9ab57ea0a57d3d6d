from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from lowshot.errors import SettingsError
from lowshot.imaging.files import read_labelled
from lowshot.phantoms.study import DEMO, Study, write_study

TINY = Study(subjects=2, shape=(20, 20, 16))


@pytest.fixture(scope="module")
def study():
    return list(TINY)


def test_a_study_has_as_many_subjects_as_asked_with_names_in_order(study):
    assert len(TINY) == len(study) == 2
    assert [subject.scan.name for subject in study] == ["subject-01", "subject-02"]
    assert not torch.equal(study[0].truth.labels, study[1].truth.labels)


def test_more_subjects_leave_the_first_ones_as_they_were(study):
    (alone,) = replace(TINY, subjects=1)
    assert torch.equal(alone.scan.voxels, study[0].scan.voxels)


def test_another_seed_gives_other_subjects(study):
    assert not torch.equal(next(iter(replace(TINY, seed=1))).scan.voxels, study[0].scan.voxels)


def test_an_unknown_anatomy_is_refused_with_a_list_of_those_there_are():
    with pytest.raises(SettingsError, match="no anatomy named 'unicorn'; there are: abdomen-ct, abdomen-mr, brain-mr"):
        Study(anatomy="unicorn")


def test_what_is_written_reads_back_as_it_was(study, tmp_path):
    write_study(study, tmp_path)
    for subject in study:
        file = f"{subject.scan.name}.nii.gz"
        image, labels = tmp_path / "images" / file, tmp_path / "labels" / file
        again = read_labelled(image, labels, names=subject.truth.names)
        assert torch.equal(again.scan.voxels, subject.scan.voxels)
        assert torch.equal(again.truth.labels.long(), subject.truth.labels.long())
        np.testing.assert_allclose(again.scan.affine, subject.scan.affine, atol=1e-4)


def test_the_header_is_that_of_a_ct(study, tmp_path):
    write_study(study[:1], tmp_path)
    image = nibabel.load(tmp_path / "images" / "subject-01.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms() == pytest.approx((19.2, 19.2, 18.0))
    assert image.header.get_xyzt_units()[0] == "mm"
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1


def test_names_are_written_as_value_tab_name(tmp_path):
    write_study(replace(TINY, subjects=1, structures=("pancreas", "liver")), tmp_path)
    assert (tmp_path / "names.txt").read_text() == "6\tliver\n11\tpancreas\n"


def test_the_demo_is_small_and_shows_all_that_it_annotates():
    subject = next(iter(DEMO))
    assert subject.scan.grid.shape == (96, 80, 64)
    counts = np.bincount(subject.truth.labels.numpy().ravel(), minlength=len(subject.truth.names))
    assert set(DEMO.structures) == set(subject.truth.names.foreground)
    assert counts.min() > 300
    assert not subject.truth.labels.numpy()[[0, -1]].any()  # nothing is cut off at the sides
