from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from lowshot.imaging.label_maps import read_labelled
from lowshot.phantoms.study import Study
from lowshot.phantoms.study_folder import write_study

TINY = Study(subjects=2, shape=(20, 20, 16))


@pytest.fixture(scope="module")
def study():
    return list(TINY)


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
