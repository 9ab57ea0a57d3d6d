import io

import numpy as np
import pytest
import torch
from PIL import Image

from lowshot.evaluation.comparable import with_blank_scan
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.reporting.figures import LARGEST_LABELS, LARGEST_PIXELS, outline_path, overlays
from lowshot.reporting.palette import colour

NAMES = Names.of({1: "liver", 2: "spleen"})


def labelled(shape=(20, 24, 16), affine=None, spacing_known=True, boxes=None, image=None):
    affine = np.diag([1.0, 1.0, 3.0, 1.0]) if affine is None else affine
    labels = torch.zeros(shape, dtype=torch.int16)
    for index, slices in (boxes or {}).items():
        labels[slices] = index
    voxels = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) if image is None else image[None]
    return LabelledScan(Scan("a", voxels, affine, spacing_known=spacing_known), Segmentation(labels, NAMES, affine))


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def corners(path):
    """Corner points of each closed line of an outline."""
    for line in path.removesuffix("z").split("z"):
        start, steps = line.removeprefix("M").split("l")
        walk = np.array([start.split(), *np.reshape(steps.split(), (-1, 2))], dtype=int)
        yield walk.cumsum(axis=0)


def test_outline_of_one_pixel_is_a_diamond_around_its_centre():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True  # centre at (2.5, 1.5) pixels, (5, 3) half pixels
    [line] = corners(outline_path(mask))
    assert {tuple(point) for point in line.tolist()} == {(4, 3), (5, 2), (6, 3), (5, 4)}


def test_outline_of_a_box_has_eight_corners_whatever_its_size():
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 5:30] = True
    [line] = corners(outline_path(mask))
    assert len(line) == 8
    assert line.min(axis=0).tolist() == [10, 20]
    assert line.max(axis=0).tolist() == [60, 40]


def test_a_hole_and_a_part_at_the_border_have_closed_lines_of_their_own():
    mask = np.ones((9, 9), dtype=bool)
    mask[4, 4] = False
    outer, hole = sorted(corners(outline_path(mask)), key=len, reverse=True)
    assert (outer.min(), outer.max()) == (0, 18)
    assert (hole.min(), hole.max()) == (8, 10)


def test_layers_have_the_colour_of_their_structure_and_lie_on_each_other():
    truth = labelled((20, 20, 1), np.eye(4), boxes={1: np.s_[4:8, 10:16, 0]})
    prediction = labelled((20, 20, 1), np.eye(4), boxes={2: np.s_[4:8, 10:16, 0]}).truth
    [overlay] = overlays(truth, prediction)
    [outline] = overlay.outlines
    assert (outline.structure, outline.colour) == ("liver", colour(1))
    filled = decoded(overlay.prediction)
    rows, columns = np.nonzero(filled[..., 3])
    assert {tuple(pixel) for pixel in filled[rows, columns].tolist()} == {(*bytes.fromhex(colour(2)[1:]), 255)}
    [line] = corners(outline.path)
    assert (line.min(axis=0) / 2).tolist() == [columns.min(), rows.min()]
    assert (line.max(axis=0) / 2).tolist() == [columns.max() + 1, rows.max() + 1]


def test_small_structures_are_outlined_last():
    inner, around = np.s_[15:20, 15:20, 0], np.s_[5:30, 5:30, 0]
    for small, large in ((1, 2), (2, 1)):
        [overlay] = overlays(labelled((40, 40, 1), np.eye(4), boxes={large: around, small: inner}), None)
        assert [outline.structure for outline in overlay.outlines] == [NAMES.names[large], NAMES.names[small]]


def test_pictures_are_true_to_millimetres():
    planes = overlays(labelled(boxes={1: np.s_[:, :, :]}), None)
    assert [plane.view for plane in planes] == ["axial", "coronal", "sagittal"]
    assert [plane.size_mm for plane in planes] == [(20, 24), (20, 48), (24, 48)]
    for plane in planes:
        width, height = plane.size_mm
        pixels = decoded(plane.scan)
        assert max(pixels.shape) == LARGEST_PIXELS[3]
        assert pixels.shape[1] / pixels.shape[0] == pytest.approx(width / height, abs=0.01)
        across, down = plane.path_unit_mm
        rows, columns = decoded(plane.prediction).shape[:2]
        assert (2 * across * columns, 2 * down * rows) == pytest.approx((width, height))
    assert {plane.scale_bar_mm for plane in planes} == {5}  # at most a third of the narrowest, 20 mm


def test_scale_bar_and_letters_only_where_the_file_tells():
    boxes = {1: np.s_[4:8, 4:8, 0]}
    known, unknown = (
        overlays(labelled((20, 20, 1), np.eye(4), spacing_known=known, boxes=boxes), None)[0] for known in (True, False)
    )
    assert (known.letters, unknown.letters) == ("RLPA", "")
    assert (known.scale_bar_mm is not None, unknown.scale_bar_mm) == (True, None)


def test_a_huge_image_is_drawn_small():
    """Half of the picture is one structure; so it is when only every fourth row and column is drawn."""
    side = 4 * LARGEST_LABELS
    truth = labelled((side, side, 1), np.eye(4), boxes={1: np.s_[: side // 2, :, 0]}, image=torch.zeros(side, side, 1))
    [overlay] = overlays(truth, truth.truth)
    filled = decoded(overlay.prediction)
    assert max(filled.shape) <= LARGEST_LABELS
    assert overlay.size_mm[0] / filled.shape[1] == pytest.approx(2 * overlay.path_unit_mm[0])
    share_of_whole = (side // 2) / overlay.size_mm[0]
    assert (filled[..., 3] > 0).mean() == pytest.approx(share_of_whole, abs=0.01)


def test_a_scan_that_was_not_given_is_not_drawn():
    truth = with_blank_scan(labelled(boxes={1: np.s_[5:9, 5:9, 5:9]}).truth, "a")
    assert [overlay.scan for overlay in overlays(truth, None)] == [None] * 3


def test_soft_tissue_keeps_its_contrast_beside_air_and_bone():
    """In Hounsfield units: two organs 60 HU apart, half the picture air, some of it bone."""
    hounsfield = torch.full((40, 40, 1), -1000.0)
    hounsfield[:, :24] = -100
    hounsfield[8:20, :20], hounsfield[20:32, :20] = 40, 100
    hounsfield[:2, :20] = 1500
    hounsfield += torch.randn(40, 40, 1, generator=torch.Generator().manual_seed(0)) * 5
    boxes = {1: np.s_[8:20, 0:20, 0], 2: np.s_[20:32, 0:20, 0]}
    truth = labelled((40, 40, 1), np.eye(4), boxes=boxes, image=hounsfield)
    [overlay] = overlays(truth, truth.truth)
    grey = np.asarray(Image.open(io.BytesIO(overlay.scan)).resize(decoded(overlay.prediction).shape[1::-1])).astype(
        float
    )
    liver, spleen = (
        grey[(decoded(overlay.prediction)[..., :3] == [*bytes.fromhex(colour(index)[1:])]).all(axis=-1)].mean()
        for index in (1, 2)
    )
    assert spleen - liver > 0.05 * 255
