"""How far apart the colours are, as people with each kind of colour vision see them."""

import numpy as np
import pytest

from lowshot.reporting.palette import COLOURS, colour

VISIONS = {
    "normal": np.eye(3),
    # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
D65 = [0.9505, 1.0, 1.089]


def lab(vision, colours=COLOURS):
    """CIELAB of colours."""
    rgb = np.array([[*bytes.fromhex(each[1:])] for each in colours]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.transpose(vision), 0, 1) @ np.transpose(TO_XYZ) / D65
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def nearest(colours):
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    return distances[~np.eye(len(colours), dtype=bool)].min()


def test_the_conversion_to_lab():
    """Red, blue and white of sRGB, to be found in any colour calculator."""
    red, blue, white = lab(np.eye(3), ["#ff0000", "#0000ff", "#ffffff"])
    assert red == pytest.approx((53.2, 80.1, 67.2), abs=0.1)
    assert blue == pytest.approx((32.3, 79.2, -107.9), abs=0.1)
    assert white == pytest.approx((100, 0, 0), abs=0.1)


@pytest.mark.parametrize(("vision", "of_seven", "of_all"), [
    ("normal", 26, 16), ("protanopia", 20, 11.5), ("deuteranopia", 17, 11.5), ("tritanopia", 16, 8.5),
])  # fmt: skip
def test_colours_are_told_apart_with_any_colour_vision(vision, of_seven, of_all):
    seen = lab(VISIONS[vision])
    assert nearest(seen[:7]) > of_seven
    assert nearest(seen) > of_all


def test_colours_are_seen_on_a_grey_scan():
    lightness, a, b = lab(np.eye(3)).T
    assert lightness.min() > 40
    assert np.hypot(a, b).min() > 30


def test_more_structures_than_colours():
    assert colour(1) == "#e69f00"
    assert colour(29) == colour(1)
    assert len({colour(index) for index in range(1, 29)}) == 28
