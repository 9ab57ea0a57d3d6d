import numpy as np
import torch

from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.reporting.palette import colour
from lowshot.reporting.query_pictures import SegmentedSlice, query_pictures

NAMES = Names(("background", "left", "right"), (0, 1, 2))
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def pictured(title="best: s1"):
    labels = np.zeros((12, 12, 6), dtype=np.int16)
    labels[2:6, 3:9, 1:5], labels[7:10, 3:9, 1:5] = 1, 2
    predicted = np.where(labels == 2, 0, labels).astype(np.int16)
    scan = Scan("s1", torch.from_numpy(labels[None].astype(np.float32)), AFFINE)
    truth = LabelledScan(scan, Segmentation(torch.from_numpy(labels), NAMES, AFFINE))
    return SegmentedSlice.of(title, truth, Segmentation(torch.from_numpy(predicted), NAMES, AFFINE))


def test_each_system_has_a_row():
    rows = [(name, [pictured(f"{what}: s1") for what in ("best", "median", "worst")]) for name in ("unet", "mre-net")]
    panels = query_pictures(rows).axes
    assert [panel.get_title() for panel in panels] == ["best: s1", "median: s1", "worst: s1"] * 2
    assert [panel.get_ylabel() for panel in panels if panel.get_ylabel()] == ["unet", "mre-net"]


def test_truth_is_outlined_and_the_prediction_is_coloured():
    figure = query_pictures([("unet", [pictured()])])
    (panel,) = figure.axes
    assert len(panel.collections) == 2  # outlines of both structures
    _, layer = panel.images
    seen = {tuple(pixel) for pixel in np.asarray(layer.get_array()).reshape(-1, 4)}
    red, green, blue = bytes.fromhex(colour(1).removeprefix("#"))
    assert {pixel[:3] for pixel in seen if pixel[3]} == {(red, green, blue)}


def test_the_legend_names_what_is_seen():
    (legend,) = query_pictures([("unet", [pictured()])]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["left", "right"]
