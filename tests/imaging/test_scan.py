from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.errors import ChannelMismatch, GridMismatch
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation


def labelled(shape=(4, 5, 6), shift_mm=0.0):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    moved = affine.copy()
    moved[0, 3] = shift_mm
    scan = Scan("case", torch.zeros(2, 4, 5, 6), affine, channels=("T1", "T2"))
    return LabelledScan(scan, Segmentation(torch.zeros(shape, dtype=torch.int16), Names.from_values([1]), moved))


def test_grids():
    example = labelled(shift_mm=1e-6)
    assert example.scan.grid.shape == example.truth.grid.shape == (4, 5, 6)
    assert example.scan.grid.spacing == (1, 1, 2)


def test_a_digest_is_of_the_picture_alone():
    scan = labelled().scan
    assert replace(scan, name="copy", affine=2 * scan.affine).digest() == scan.digest()
    other = scan.voxels.clone()
    other[1, 3, 4, 5] = 1
    assert replace(scan, voxels=other).digest() != scan.digest()
    turned = other.transpose(1, 2)
    assert replace(scan, voxels=turned).digest() == replace(scan, voxels=turned.contiguous()).digest()


def test_image_and_label_map_must_share_a_grid():
    with pytest.raises(GridMismatch, match=r"case: the image's grid \(4, 5, 6\).*by 3 mm at the corners"):
        labelled(shift_mm=3)
    with pytest.raises(GridMismatch, match=r"label map's \(4, 5, 7\) differ"):
        labelled(shape=(4, 5, 7))


def test_every_channel_has_a_name():
    with pytest.raises(
        ChannelMismatch, match="case: expected a tensor of 2 × i × j × k voxels, for the channels T1, T2"
    ):
        replace(labelled().scan, voxels=torch.zeros(1, 4, 5, 6))
