from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import subject
from lowshot.choosing import choose
from lowshot.errors import InputError
from lowshot.imaging.files import write_volume
from lowshot.inputs.words import scan_files
from lowshot.progress import Silent


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


def test_the_odd_one_out_comes_last(folder):
    choice = choose(scan_files([folder]), progress=Silent())
    assert [each.scan for each in choice.ranking][-1] == "case-2"
    distances = [each.distance for each in choice.ranking]
    assert distances == sorted(distances)
    assert not choice.failed


def test_where_scans_lie_does_not_matter(folder, tmp_path):
    before = choose(scan_files([folder]), progress=Silent())
    scan = subject(1, shape=(28, 30, 20)).scan
    flipped = replace(scan, voxels=scan.voxels.flip(1), affine=scan.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    write_volume(flipped.voxels, flipped.affine, tmp_path / "case-1.nii.gz")
    after = choose(scan_files([folder]), progress=Silent())
    assert after.ranking[-1].scan == before.ranking[-1].scan == "case-2"


def test_a_scan_that_cannot_be_read_is_left_out(folder):
    (folder / "case-3.nii.gz").write_bytes(b"not an image")
    choice = choose(scan_files([folder]), progress=Silent())
    assert [name for name, _ in choice.failed] == ["case-3"]
    assert len(choice.ranking) == 4


def test_one_scan_leaves_no_choice(tmp_path):
    write_volume(torch.rand(1, 8, 8, 8), np.eye(4), tmp_path / "only.nii.gz")
    with pytest.raises(InputError, match="at least two scans"):
        choose(scan_files([tmp_path]), progress=Silent())
