from collections import Counter

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from lowshot.phantoms.breast.lesion import PROBABILITY, lesion
from lowshot.phantoms.variability import Variability


def outline(found):
    """The lesion's mask in the plane of the picture, every 0.25 mm."""
    x, y = np.meshgrid(np.arange(-22, 22, 0.25), np.arange(-40, 5, 0.25), indexing="ij")
    return found.shape.distance(np.stack([x, y, np.zeros_like(x)]).astype(np.float32)) < 0


def solidity(mask):
    """Share of its convex hull that a mask fills: 1 for an ellipse."""
    corners = np.argwhere(mask)[:, None] + np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    return mask.sum() / ConvexHull(corners.reshape(-1, 2)).volume  # in the plane, an area


def test_kinds_are_as_frequent_as_stated():
    kinds = Counter(lesion(Variability(seed)).kind for seed in range(600))
    assert kinds["carcinoma"] / 600 == pytest.approx(PROBABILITY["carcinoma"], abs=0.06)
    assert kinds["cyst"] / (600 - kinds["carcinoma"]) == pytest.approx(PROBABILITY["cyst"], abs=0.06)


def test_at_half_variation_all_are_benign():
    assert {lesion(Variability(seed, 0.5)).kind for seed in range(50)} == {"fibroadenoma"}


def test_benign_lesions_are_smooth_and_wider_than_tall_carcinomas_are_neither():
    found = [lesion(Variability(seed)) for seed in range(40)]
    fill: dict[str, list[float]] = {"carcinoma": [], "benign": []}
    ratio: dict[str, list[float]] = {"carcinoma": [], "benign": []}
    for each in found:
        mask, name = outline(each), "carcinoma" if each.kind == "carcinoma" else "benign"
        width, height = (np.ptp(along) + 1 for along in np.nonzero(mask))
        fill[name].append(solidity(mask))
        ratio[name].append(height / width)
    assert min(fill["benign"]) > 0.9
    assert np.mean(fill["carcinoma"]) < 0.88
    assert np.mean(ratio["benign"]) < 0.75
    assert np.mean(ratio["carcinoma"]) > 0.85


def test_margins_of_carcinomas_are_blurred():
    margins: dict[str, list[float]] = {"carcinoma": [], "cyst": [], "fibroadenoma": []}
    for found in (lesion(Variability(seed)) for seed in range(100)):
        margins[found.kind].append(found.margin_mm)
    assert np.mean(margins["carcinoma"]) > 1.5 * np.mean(margins["fibroadenoma"]) > 1.5 * np.mean(margins["cyst"])
