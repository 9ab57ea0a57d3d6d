import io

import numpy as np
import pytest
import torch
from matplotlib import image as pixels

from lowshot.evaluation.comparable import with_blank_scan
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.reporting.figures import colour, overlays

NAMES = Names.of({1: "liver", 2: "spleen"})


def labelled(shape=(20, 24, 16), affine=None, spacing_known=True, boxes=None):
    affine = np.diag([1.0, 1.0, 3.0, 1.0]) if affine is None else affine
    labels = torch.zeros(shape, dtype=torch.int16)
    for index, slices in (boxes or {}).items():
        labels[slices] = index
    scan = Scan("a", torch.zeros(1, *shape), affine, spacing_known=spacing_known)
    return LabelledScan(scan, Segmentation(labels, NAMES, affine))


def decoded(picture):
    return pixels.imread(io.BytesIO(picture.data), format="png")[..., :3]


def coloured(picture, index):
    """Mask (row, column) of the pixels in the colour of a structure."""
    wanted = np.array([int(colour(index)[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.abs(decoded(picture) - wanted).max(axis=-1) < 0.1


def test_colours_are_distinct_for_many_structures():
    assert len({colour(k) for k in range(1, 29)}) == 28
    assert colour(1) == "#e69f00"
    assert colour(1000).startswith("#")


def test_three_planes_at_one_scale_true_to_millimetres():
    planes = overlays(labelled(boxes={1: (slice(5, 9),) * 3}), None)
    assert [picture.view for picture in planes] == ["axial", "coronal", "sagittal"]
    scale = 400 / 48  # 20 × 24 × 48 mm
    assert [picture.size for picture in planes] == [
        (round(20 * scale), round(24 * scale)),
        (round(20 * scale), 400),
        (round(24 * scale), 400),
    ]
    for picture in planes:
        assert decoded(picture).shape[:2] == picture.size[::-1]


@pytest.mark.parametrize("flip", [1, -1])
def test_the_patients_right_is_on_the_left_whatever_the_order_of_voxels(flip):
    """A structure on the patient's right, in front and high up."""
    affine = np.diag([flip, 1.0, 1.0, 1.0])
    right = slice(14, 18) if flip == 1 else slice(2, 6)
    truth = labelled((20, 20, 20), affine, boxes={1: (right, slice(14, 18), slice(14, 18))})
    for picture, (row_side, column_side) in zip(overlays(truth, None), [(0, 0), (0, 0), (0, 0)], strict=True):
        rows, columns = np.nonzero(coloured(picture, 1))
        width, height = picture.size
        assert (rows.mean() > height / 2) == row_side
        assert (columns.mean() > width / 2) == column_side


def test_an_outline_lies_where_the_structure_is():
    truth = labelled((20, 20, 1), np.eye(4), boxes={1: (slice(4, 8), slice(10, 16), 0)})
    [picture] = overlays(truth, None)
    rows, columns = np.nonzero(coloured(picture, 1))
    scale = 640 / 20
    # Mirrored along i: voxels 4 to 8 are 12 to 16 from the left; j runs up, so 10 to 16 are 4 to 10 from the top.
    assert (columns.min() / scale, columns.max() / scale) == pytest.approx((12, 16), abs=0.15)
    assert (rows.min() / scale, rows.max() / scale) == pytest.approx((4, 10), abs=0.15)


def test_truth_is_solid_and_the_prediction_dashed():
    truth = labelled((40, 40, 1), np.eye(4), boxes={1: (slice(10, 30), slice(10, 30), 0)})
    empty = labelled((40, 40, 1), np.eye(4))
    [solid] = overlays(truth, None)
    [dashed] = overlays(empty, truth.truth)
    assert 0.3 < coloured(dashed, 1).sum() / coloured(solid, 1).sum() < 0.9


def test_a_large_neighbour_does_not_cover_a_small_structure():
    small, around = (slice(15, 20), slice(15, 20), 0), (slice(5, 30), slice(5, 30), 0)
    for inner, outer in ((1, 2), (2, 1)):
        [picture] = overlays(labelled((40, 40, 1), np.eye(4), boxes={outer: around, inner: small}), None)
        assert coloured(picture, inner).sum() > 4 * 5 * 640 / 40  # at least one pixel all along its outline


def test_letters_only_where_the_orientation_is_known():
    known, unknown = (
        overlays(labelled((20, 20, 1), np.eye(4), spacing_known=known), None)[0] for known in (True, False)
    )
    assert (known.view, unknown.view) == ("axial", "picture")
    assert decoded(known).max() == 1
    assert decoded(unknown).max() == 0


def test_a_flat_image_of_any_plane_gives_one_picture():
    sagittal = np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    [picture] = overlays(labelled((20, 24, 1), sagittal), None)
    assert (picture.view, picture.size) == ("sagittal", (533, 640))


def test_unknown_voxels_and_other_structures_are_not_drawn():
    truth = labelled((20, 20, 1), np.eye(4), boxes={1: (slice(4, 8), slice(4, 8), 0), 2: (slice(12, 16),) * 2})
    part = LabelledScan(truth.scan, truth.truth, annotated=frozenset({"spleen"}))
    [picture] = overlays(part, truth.truth)
    assert not coloured(picture, 1).any()
    assert coloured(picture, 2).any()


def test_soft_tissue_keeps_its_contrast_beside_air_and_bone():
    """In Hounsfield units: two organs 60 HU apart, half the picture air, some of it bone."""
    truth = labelled(
        (40, 40, 1), np.eye(4), boxes={1: (slice(8, 20), slice(0, 20), 0), 2: (slice(20, 32), slice(0, 20), 0)}
    )
    generator = torch.Generator().manual_seed(0)
    hounsfield = torch.full((40, 40), -1000.0)
    hounsfield[:, :24] = -100
    hounsfield[8:20, :20], hounsfield[20:32, :20] = 40, 100
    hounsfield[:2, :20] = 1500
    hounsfield += torch.randn(40, 40, generator=generator) * 5
    scan = Scan("a", hounsfield[None, :, :, None], np.eye(4))
    [picture] = overlays(LabelledScan(scan, truth.truth), None)
    grey = decoded(picture)[480, :, 0]  # a row through both, mirrored along i
    assert abs(grey[640 * 26 // 40 + 20] - grey[640 * 14 // 40]) > 0.05


def test_jpeg_for_small_pages():
    truth = with_blank_scan(labelled().truth, "a")
    assert overlays(truth, None, format="jpeg")[0].data.startswith(b"\xff\xd8\xff")
