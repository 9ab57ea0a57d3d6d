import numpy as np
import pytest
import torch

from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.extent import extent_mm, unlike_shown

VOLUMES, SLICES = Preparation(), Preparation("in-plane")
SHOWN = [[200.0, 180.0, 150.0], [210.0, 220.0, 160.0]]


def scan(shape, mm, known=True):
    return Scan("case", torch.zeros(1, *shape), np.diag([*mm, 1.0]), spacing_known=known)


def test_sides_are_voxels_times_their_size():
    assert extent_mm(scan((4, 5, 6), (2, 1, 0.5))) == [8.0, 5.0, 3.0]
    assert extent_mm(scan((4, 5, 6), (2, 1, 0.5), known=False)) is None


@pytest.mark.parametrize(
    ("shape", "mm", "preparation"),
    [
        ((150, 200, 180), (1, 1, 1), VOLUMES),  # lies in another way
        ((60, 60, 45), (1, 1, 1), VOLUMES),  # a cut of it
        ((512, 512, 300), (1.5, 1.5, 2), VOLUMES),  # more of the body
        ((200, 180, 1), (1, 1, 5), SLICES),
        ((180, 200, 3), (1, 1, 8), SLICES),
    ],
)
def test_about_as_large_is_nothing_to_tell(shape, mm, preparation):
    assert unlike_shown(scan(shape, mm), SHOWN, preparation) is None


@pytest.mark.parametrize(
    ("shape", "mm", "preparation"),
    [
        ((200, 180, 1), (1, 1, 5), VOLUMES),  # one slice
        ((200, 180, 150), (0.1, 0.1, 0.1), VOLUMES),  # centimetres
        ((200, 180, 150), (10, 10, 10), VOLUMES),
        ((40, 180, 9), (1, 1, 8), SLICES),
    ],
)
def test_another_size_is_told_with_both(shape, mm, preparation):
    told = unlike_shown(scan(shape, mm), SHOWN, preparation)
    sides = " × ".join(f"{n * each:g}" for n, each in zip(shape, mm, strict=True))
    assert told.startswith(f"it measures {sides if preparation is VOLUMES else sides.rpartition(' × ')[0]} mm, the ann")


@pytest.mark.parametrize("shown", [[], [None], ["long"], [[1.0, 2.0]], [[1.0, 2.0, "3"]], [[0.0, 1.0, 1.0]]])
def test_a_model_that_does_not_tell_raises_no_doubt(shown):
    assert unlike_shown(scan((9, 9, 1), (1, 1, 1)), shown, VOLUMES) is None


def test_a_scan_that_does_not_tell_raises_no_doubt():
    assert unlike_shown(scan((9, 9, 1), (1, 1, 1), known=False), SHOWN, VOLUMES) is None
