"""Whether a mirrored scan would still be a right one, and which structures then change places."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lowshot.imaging.names import Names, lateral_pairs
from lowshot.imaging.preparation import nearest_ras
from lowshot.imaging.scan import LabelledScan, Scan

Mirror = Literal["auto", "symmetric", "off"]

OFF_CENTRE = 0.1
"""How far from the plane between left and right an unpaired structure may lie, as a part of the pairs' own distance."""

_LOOKED_AT = 1_000_000
"""Voxels that tell well enough where structures lie."""

_CHAMBER = re.compile(r"(?<![a-z])(left|right|l|r)[ _-]*(ventric|atri)", re.IGNORECASE)
"""The left and right chambers of the heart are not each other's mirror image."""


def mirror_pairs(
    names: Names, support: Sequence[LabelledScan], mirror: Mirror = "auto"
) -> tuple[tuple[int, int], ...] | None:
    """Index pairs (left, right) that swap when a scan is mirrored from left to right; None: it must not be mirrored.

    ``auto`` mirrors only where that is obvious: there are pairs by name, and every other structure lies on the plane
    between them in the annotated scans. A brain with a third ventricle passes, two kidneys with a liver do not.
    ``symmetric`` declares the anatomy to be symmetric: the pairs by name swap, all else stays. ``off``: None; so it is
    for a single slice whose first axis does not run between left and right, as images are never turned.
    """
    if mirror == "off" or any(_is_seen_from_the_side(each.scan) for each in support):
        return None
    pairs = lateral_pairs(names)
    if mirror == "symmetric":
        return pairs
    if not pairs or not support or any(_CHAMBER.search(name) for name in names.foreground):
        return None
    if not all(scan.scan.spacing_known for scan in support):  # the file does not tell left from right
        return None
    paired = {index for pair in pairs for index in pair}
    alone = [index for index in range(1, len(names)) if index not in paired]
    return pairs if all(_on_the_plane(scan, pairs, alone) for scan in support) else None


def crossed_pairs(labelled: LabelledScan) -> list[str]:
    """Structures that are called left and lie to the patient's right of their twins, if all of them do.

    The label map is mirrored then, or the names are. Chambers of the heart do not tell, nor do files that do not know
    where they lie.
    """
    truth = labelled.truth
    pairs = lateral_pairs(truth.names)
    if not pairs or not labelled.scan.spacing_known or any(map(_CHAMBER.search, truth.names.foreground)):
        return []
    step = max(1, round((truth.labels.numel() / _LOOKED_AT) ** (1 / 3)))
    few = truth.labels[::step, ::step, ::step]
    across: dict[str, npt.NDArray[np.float64]] = {}
    for left, right in pairs:
        places = [(few == k).nonzero().double() for k in (left, right)]
        if all(len(each) for each in places):
            apart = (places[0].mean(dim=0) - places[1].mean(dim=0)).numpy() * step
            across[truth.names.names[left]] = truth.affine[:3, :3] @ apart
    crossed = [name for name, apart in across.items() if apart[0] > np.linalg.norm(apart) / 2]
    return crossed if len(crossed) == len(across) else []


def _is_seen_from_the_side(scan: Scan) -> bool:
    """Whether this is one slice, and its first axis runs from front to back or from head to foot."""
    return scan.grid.shape[2] == 1 and nearest_ras(scan.grid.affine)[0][0] != 0


def _on_the_plane(labelled: LabelledScan, pairs: Sequence[tuple[int, int]], alone: Sequence[int]) -> bool:
    """Whether the centre of each structure in ``alone`` lies on the plane half-way between left and right."""
    if not alone:
        return True
    centres = _centres_mm(labelled)
    both = [(centres[left], centres[right]) for left, right in pairs if left in centres and right in centres]
    if not both or any(index not in centres for index in alone):
        return False
    across = np.mean([right - left for left, right in both], axis=0)
    middle = np.mean([(left + right) / 2 for left, right in both], axis=0)
    distance = float(np.linalg.norm(across))
    return all(abs((centres[index] - middle) @ across) / distance <= OFF_CENTRE * distance for index in alone)


def _centres_mm(labelled: LabelledScan) -> dict[int, npt.NDArray[np.float64]]:
    """World position of the centre of every structure that occurs."""
    from scipy import ndimage

    labels = labelled.truth.labels.cpu().numpy()
    present = [int(index) for index in np.unique(labels) if index > 0]
    found = ndimage.center_of_mass(np.ones_like(labels, dtype=np.uint8), labels, present)
    affine = labelled.truth.affine
    return {index: affine[:3, :3] @ np.array(at) + affine[:3, 3] for index, at in zip(present, found, strict=True)}
