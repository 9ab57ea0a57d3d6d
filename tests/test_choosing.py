import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import subject
from listening import Listening
from lowshot.choosing import choose
from lowshot.errors import InputError
from lowshot.imaging.files import write_volume
from lowshot.inputs.words import scan_files
from lowshot.progress import Silent

pytestmark = pytest.mark.usefixtures("brief_alignment")


@pytest.fixture
def folder(tmp_path):
    """Four bodies much alike, and one with a bright half."""
    for seed in range(5):
        scan = subject(seed, shape=(28, 30, 20)).scan
        voxels = scan.voxels.clone()
        if seed == 2:
            voxels[:, :14] += 150 * (voxels[:, :14] > 0)
        write_volume(voxels, scan.affine, tmp_path / f"case-{seed}.nii.gz")
    return tmp_path


def test_the_odd_one_out_comes_last_wherever_the_scans_lie(folder):
    before = choose(scan_files([folder]), progress=Silent())
    assert before.ranking[-1].scan == "case-2"
    distances = [each.distance for each in before.ranking]
    assert distances == sorted(distances)
    assert not before.failed
    scan = subject(1, shape=(28, 30, 20)).scan
    flipped = replace(scan, voxels=scan.voxels.flip(1), affine=scan.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    write_volume(flipped.voxels, flipped.affine, folder / "case-1.nii.gz")
    assert choose(scan_files([folder]), progress=Silent()).ranking[-1].scan == "case-2"


def test_a_scan_that_cannot_be_read_is_left_out_and_one_that_comes_twice_is_told(folder):
    (folder / "case-3.nii.gz").write_bytes(b"not an image")
    shutil.copy(folder / "case-0.nii.gz", folder / "copy.nii.gz")
    told = Listening()
    choice = choose(scan_files([folder]), progress=told)
    assert [name for name, _ in choice.failed] == ["case-3"]
    assert len(choice.ranking) == 5
    assert "copy: the same picture as case-0; was another scan meant?" in told.warnings


def test_a_blank_scan_is_left_out_and_a_label_map_is_told_of(folder):
    scan = subject(3, shape=(28, 30, 20))
    write_volume(torch.full((1, 28, 30, 20), 7.0), scan.scan.affine, folder / "case-3.nii.gz")
    write_volume(scan.truth.labels[None].float(), scan.scan.affine, folder / "case-4.nii.gz")
    told = Listening()
    choice = choose(scan_files([folder]), progress=told)
    assert [(name, str(error)) for name, error in choice.failed] == [
        ("case-3", "case-3: every voxel is 7; there is nothing to see")
    ]
    assert any(warning.startswith("case-4: ") and "label map" in warning for warning in told.warnings)


def test_one_scan_leaves_no_choice(tmp_path):
    write_volume(torch.rand(1, 8, 8, 8), np.eye(4), tmp_path / "only.nii.gz")
    with pytest.raises(InputError, match="at least two scans"):
        choose(scan_files([tmp_path]), progress=Silent())
