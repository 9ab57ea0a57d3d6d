import numpy as np
import pytest
import torch

from lowshot.imaging.placement import placement, unlike_shown
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan

VOLUMES, SLICES = Preparation(), Preparation("in-plane")
AXIAL = [0.0, 0.0, 1.0]
SHOWN = [{"sides_mm": sides, "slices_along": AXIAL} for sides in ([200.0, 180.0, 150.0], [210.0, 220.0, 160.0])]
CORONAL = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def scan(shape, mm=(1, 1, 1), known=True, turned=None):
    affine = np.diag([*map(float, mm), 1.0])
    return Scan("case", torch.zeros(1, *shape), affine if turned is None else turned @ affine, spacing_known=known)


def tilted(degrees):
    a = np.radians(degrees)
    return np.array([[1, 0, 0, 0], [0, np.cos(a), -np.sin(a), 0], [0, np.sin(a), np.cos(a), 0], [0, 0, 0, 1.0]])


def test_sides_are_voxels_times_their_size_and_slices_have_a_normal():
    assert placement(scan((4, 5, 6), (2, 1, 0.5))) == {"sides_mm": [8.0, 5.0, 3.0], "slices_along": AXIAL}
    assert placement(scan((4, 5, 6), turned=CORONAL))["slices_along"] == [0.0, 1.0, 0.0]
    assert placement(scan((4, 5, 6), (2, 1, 0.5), known=False)) is None


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
    assert list(unlike_shown(scan(shape, mm), SHOWN, preparation)) == []


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
    (told,) = unlike_shown(scan(shape, mm), SHOWN, preparation)
    sides = " × ".join(f"{n * each:g}" for n, each in zip(shape, mm, strict=True))
    assert told.startswith(f"it measures {sides if preparation is VOLUMES else sides.rpartition(' × ')[0]} mm, the ann")


def test_slices_in_another_plane_are_told_where_slices_are_looked_at():
    (told,) = unlike_shown(scan((200, 180, 150), turned=CORONAL), SHOWN, SLICES)
    assert told.startswith("its slices lie in another plane than those of the annotated scan (90° apart)")
    assert list(unlike_shown(scan((200, 180, 150), turned=CORONAL), SHOWN, VOLUMES)) == []


@pytest.mark.parametrize("turned", [tilted(30), tilted(180), np.diag([-1.0, -1, 1, 1])])
def test_oblique_and_flipped_slices_lie_in_the_same_plane(turned):
    assert list(unlike_shown(scan((200, 180, 150), turned=turned), SHOWN, SLICES)) == []


def damaged(**parts):
    return [SHOWN[0] | parts]


@pytest.mark.parametrize(
    "shown",
    [
        *([], [None], ["long"], [{}], damaged(sides_mm=[1.0, 2.0]), damaged(sides_mm=[1.0, 2.0, "3"])),
        *(damaged(sides_mm=[0.0, 1.0, 1.0]), damaged(slices_along=None)),
    ],
)
def test_a_model_that_does_not_tell_raises_no_doubt(shown):
    assert list(unlike_shown(scan((9, 9, 1)), shown, VOLUMES)) == []


def test_a_scan_that_does_not_tell_raises_no_doubt():
    assert list(unlike_shown(scan((9, 9, 1), known=False), SHOWN, VOLUMES)) == []
