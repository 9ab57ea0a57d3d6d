"""What is written, read by libraries that know nothing of us; phantoms under a data set's names."""

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
import torch

from datasets.test_reader import AFFINE, SHAPE, exported, subject
from lowshot.datasets.export import export, export_nnunet
from lowshot.datasets.reader import find_cases, read_case
from lowshot.datasets.table import DATASETS
from lowshot.errors import SettingsError
from lowshot.inputs.base_files import base_files
from lowshot.inputs.task_files import TaskFiles, read_task
from lowshot.phantoms import brain_mr

LPS = np.diag([-1.0, -1.0, 1.0])
TURNED = np.array([[0, 0, 3, 7], [-1.5, 0, 0, 4], [0, -2, 0, 5], [0, 0, 0, 1.0]])


def series(folder):
    """The volume that ITK makes of a folder of DICOM."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("name", ["chaos-mr", "chaos-ct"])
@pytest.mark.parametrize("affine", [AFFINE, TURNED], ids=["axial", "sagittal"])
def test_itk_finds_every_voxel_of_the_dicom_where_it_lies(name, affine, tmp_path):
    dataset = DATASETS[name]
    ours = subject(dataset, 0, affine)
    ours.scan.voxels[:] -= 200 if name == "chaos-ct" else 0
    export(dataset, [ours], tmp_path)
    volume = series(next(tmp_path.rglob("DICOM_anon")))
    assert volume.GetNumberOfPixels() == np.prod(SHAPE)
    for voxel in np.ndindex(*SHAPE):
        place = LPS @ (affine @ [*voxel, 1])[:3]
        there = volume.TransformPhysicalPointToIndex(place.tolist())
        assert volume.GetPixel(there) == ours.scan.voxels[0][voxel]


def test_ct_is_stored_above_an_offset_and_says_so(tmp_path):
    exported("chaos-ct", tmp_path, count=1)
    first = pydicom.dcmread(sorted(tmp_path.rglob("*.dcm"))[0])
    assert (first.Modality, first.RescaleIntercept, first.RescaleSlope) == ("CT", -1024, 1)


def test_structures_of_a_phantom_that_a_data_set_divides_otherwise_are_put_together(tmp_path):
    dataset = DATASETS["mrbrains18"]
    phantom = brain_mr.subject(0, (32, 40, 32))
    export(dataset, [phantom], tmp_path)
    read = read_case(dataset, find_cases(dataset, tmp_path).cases["1"])

    def where(labelled, *names):
        wanted = torch.tensor([labelled.truth.names.index(name) for name in names])
        return torch.isin(labelled.truth.labels, wanted)

    sides, parts = ("left", "right"), ("thalamus", "caudate", "putamen", "pallidum")
    deep = [f"{side} {part}" for side in sides for part in parts]
    cortex = [f"{side} cerebral cortex" for side in sides]
    assert where(read, "basal ganglia").equal(where(phantom, *deep))
    assert where(read, "cortical grey matter").equal(where(phantom, *cortex))
    assert where(read, "brain stem").equal(where(phantom, "brain stem"))


def test_a_layout_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no layout named 'mine'; there are: chaos-mr"):
        export(replace(DATASETS["chaos-mr"], name="mine"), [], tmp_path)


def test_a_study_written_for_nnunet_is_read_as_it_was(tmp_path):
    channels, subjects = ("T1", "FLAIR"), []
    for seed in range(2):
        one = subject(DATASETS["mrbrains18"], seed)
        both = torch.cat([one.scan.voxels, -one.scan.voxels])
        subjects.append(replace(one, scan=replace(one.scan, voxels=both, channels=channels)))
    export_nnunet(subjects, tmp_path)
    base = base_files(tmp_path)
    assert [row.scan.name for row in base.rows] == ["case-0", "case-1"]
    for ours, read in zip(subjects, read_task(TaskFiles([], base=base)).base, strict=True):
        assert read.scan.channels == channels
        assert read.scan.voxels.equal(ours.scan.voxels)
        assert read.truth.names == ours.truth.names
        assert read.truth.labels.equal(ours.truth.labels)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "T1", "1": "FLAIR"}
    assert content["numTraining"] == 2


def test_no_subjects_are_no_data_set_of_nnunets(tmp_path):
    with pytest.raises(SettingsError, match="at least one subject"):
        export_nnunet([], tmp_path)
