"""What is wrong, or worth knowing, with one scan, before hours are spent on it.

``lowshot doctor`` prints it for files; ``lowshot fit`` asks the same before it trains. One scan is looked at at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.errors import BadVoxels
from lowshot.imaging.arranging import grids_of
from lowshot.imaging.grid import Grid
from lowshot.imaging.laterality import crossed_pairs
from lowshot.imaging.scan import LabelledScan, Scan
from lowshot.wording import listed

ANISOTROPIC = 8.0
"""Longest over shortest side of a voxel from which 3-D methods see little along the long one."""

PLAUSIBLE_MM = (0.02, 20.0)
"""Voxel sides outside of this are more often a wrong unit than a microscope."""

TINY_VOXELS = 10

FEW_VALUES = 32
"""A picture of the body has more; a label map seldom."""

LOOKED_AT = 200_000
"""Voxels are enough to see whether there are few values."""

MOST_NAMES = 10
"""Structures or scans that a finding names."""

CT_BELOW = -500.0
"""Magnitudes of MR and ultrasound are not negative; air in CT is."""


@dataclass(frozen=True)
class Finding:
    """One sentence about one scan."""

    severity: Literal["error", "warning", "note"]
    """error: do not go on with this scan; warning: look at it first; note: good to know."""
    message: str


def check(subject: Scan | LabelledScan) -> list[Finding]:
    """Findings about a scan and, if it is a labelled one, its label map; the most severe first."""
    if isinstance(subject, LabelledScan):
        findings = [*_image(subject.scan), *(_swapped(subject) or _label_map(subject))]
    else:
        findings = list(_image(subject))
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def check_together(support: Sequence[LabelledScan]) -> list[Finding]:
    """Findings about annotated scans that are none about each: one may lack what another shows."""
    if not support or any(labelled.known is not None for labelled in support):  # without background they are refused
        return []
    names = support[0].truth.names.names
    seen = {int(index) for labelled in support for index in torch.unique(labelled.truth.labels)}
    if len(seen) > 1 or not 0 < (only := seen.pop()) < len(names):
        return []
    scans = listed([labelled.scan.name for labelled in support], MOST_NAMES)
    message = f"{scans}: every voxel is {names[only]} and none background, so there is nothing to tell it from"
    return [Finding("error", f"{message}; is the background's value right?")]


def given_before(scan: Scan, seen: dict[str, str]) -> list[Finding]:
    """A finding where the same picture came already, under whatever name; else it is remembered.

    Args:
        scan: the next one.
        seen: names of those that came before, by ``Scan.digest``; this one is added.
    """
    digest = scan.digest()
    if digest in seen:
        return [Finding("warning", f"{scan.name}: the same picture as {seen[digest]}; was another scan meant?")]
    seen[digest] = scan.name
    return []


def _image(scan: Scan) -> Iterator[Finding]:
    for where, image in by_channel(scan):
        bad = int((~torch.isfinite(image)).sum())
        low, high = float(image.min()), float(image.max())
        if bad:
            yield Finding("error", f"{where}: {bad:,} of {image.numel():,} voxels are NaN or infinite")
        elif blank := told_of_blank(where, image):
            yield Finding("error", blank)
        elif few := told_of_few_values(where, image):
            yield Finding("warning", few)
        elif low < CT_BELOW:
            yield Finding("note", f"{where}: values from {low:g} to {high:g} look like CT in HU; nothing is wrong")
    if scan.spacing_known:
        yield from _grid(scan.name, scan.grid)
        yield from _two_places(scan)
    else:
        yield Finding("note", f"{scan.name}: the file says nothing about millimetres; distances are counted in voxels")


def by_channel(scan: Scan) -> Iterator[tuple[str, Float[Tensor, "i j k"]]]:
    """Each channel of a scan, after what a sentence about it begins with."""
    for channel, image in zip(scan.channels, scan.voxels, strict=True):
        yield scan.name if len(scan.channels) == 1 else f"{scan.name}, {channel}", image


def told_of_blank(where: str, image: Float[Tensor, "i j k"]) -> str | None:
    """A sentence about a channel without any contrast; None about others."""
    low, high = torch.aminmax(image)
    return f"{where}: every voxel is {float(low):g}; there is nothing to see" if low == high else None


def refuse_blank(scan: Scan) -> None:
    """Refuse a scan, or a channel of it, without any contrast: whatever was found in it, or learned, would be made up.

    And one with NaN or infinite voxels, which ``read_scan`` would have refused.

    Raises:
        BadVoxels: it is one of these.
    """
    for where, image in by_channel(scan):
        if not bool(torch.isfinite(image).all()):
            raise BadVoxels(f"{where}: expected finite numbers, got NaN or infinite voxels")
        if blank := told_of_blank(where, image):
            raise BadVoxels(blank)


def told_of_few_values(where: str, image: Float[Tensor, "i j k"]) -> str | None:
    """A sentence about a channel that looks like a label map; None about others."""
    values = _different(image)
    return f"{where}: only {values} different values; is it a label map?" if values <= FEW_VALUES else None


def _different(volume: Tensor) -> int:
    """How many values occur, as far as a look at some of the voxels tells."""
    return len(torch.unique(volume.flatten()[:: max(1, volume.numel() // LOOKED_AT)]))


def _grid(name: str, grid: Grid) -> Iterator[Finding]:
    sides = grid.spacing[: 2 if grid.shape[2] == 1 else 3]
    listed = " × ".join(f"{side:.3g}" for side in sides)
    if min(sides) < PLAUSIBLE_MM[0] or max(sides) > PLAUSIBLE_MM[1]:
        yield Finding("warning", f"{name}: voxels of {listed} mm; are these millimetres?")
    if max(sides) > ANISOTROPIC * min(sides):
        yield Finding(
            "warning", f"{name}: voxels of {listed} mm are far longer than wide; a 2-D method may suit it better"
        )
    axes = grid.affine[:3, :3] / grid.spacing
    shear = np.degrees(np.arcsin(abs(axes.T @ axes - np.eye(3)).max().clip(0, 1)))
    if shear > 0.1:
        yield Finding("note", f"{name}: the grid is sheared by {shear:.1f}° (a tilted gantry?); it is kept so")


def _two_places(scan: Scan) -> Iterator[Finding]:
    found = grids_of(scan)
    if len(found) > 1:
        apart = found[0].distance_mm(found[1])
        mirrored = np.linalg.det(found[0].affine[:3, :3]) * np.linalg.det(found[1].affine[:3, :3]) < 0
        yield Finding(
            "note",
            f"{scan.name}: programs read two places from its header (sform and qform), which differ by {apart:.3g} mm; "
            "viewers disagree where it lies" + (" and which side is left" if mirrored else ""),
        )


def _swapped(labelled: LabelledScan) -> list[Finding]:
    image, labels = min(map(_different, labelled.scan.voxels)), _different(labelled.truth.labels)
    if not image <= FEW_VALUES < labels:
        return []
    message = f"{labelled.scan.name}: {image} different values in its image, {labels} in its label map; swapped?"
    return [Finding("error", message)]


def _label_map(labelled: LabelledScan) -> Iterator[Finding]:
    name, truth, names = labelled.scan.name, labelled.truth, labelled.truth.names
    if int(truth.labels.max()) >= len(names) or int(truth.labels.min()) < 0:
        yield Finding("error", f"{name}: labels outside of the table of {len(names)} names")
    if labelled.known is not None and not labelled.known.any():
        yield Finding(
            "error", f"{name}: no voxel of its label map is known; check the annotated slice and ignored value"
        )
        return
    labels = truth.labels.flatten() if labelled.known is None else truth.labels[labelled.known]
    counts = torch.bincount(labels.long().clamp(0, len(names)), minlength=len(names) + 1)
    sizes = dict(zip(names.foreground, counts[1 : len(names)].tolist(), strict=True))
    if not any(sizes.values()):
        yield Finding("error", f"{name}: its label map is empty: no structure is annotated")
        return
    if not counts[0] and labelled.known is not None:
        yield Finding(
            "error",
            f"{name}: no background is known, so a model would see structures everywhere; annotate some background too",
        )
    elif not counts[0]:
        yield Finding("warning", f"{name}: no voxel is background; is the background's value right?")
    tiny = [f"{structure} ({size})" for structure, size in sizes.items() if 0 < size < TINY_VOXELS]
    if tiny:
        yield Finding("warning", f"{name}: fewer than {TINY_VOXELS} voxels of {listed(tiny, MOST_NAMES)}")
    absent = [structure for structure, size in sizes.items() if not size]
    if absent:
        yield Finding("note", f"{name}: nothing labelled as {listed(absent, MOST_NAMES)}")
    surplus = [structure for structure, size in sizes.items() if size and structure not in _annotated(labelled)]
    if surplus:
        yield Finding("warning", f"{name}: labelled, though not declared as annotated: {listed(surplus, MOST_NAMES)}")
    yield from _mirrored(labelled)
    if labelled.known is None:
        yield from _gaps(labelled)
    yield from _overlap(labelled)


def _mirrored(labelled: LabelledScan) -> Iterator[Finding]:
    if crossed := crossed_pairs(labelled):
        told = f"{listed(crossed, MOST_NAMES)} {'lies' if len(crossed) == 1 else 'lie'} on the patient's right"
        asked = "is the label map mirrored, or are left and right the viewer's?"
        yield Finding("warning", f"{labelled.scan.name}: {told}, as its file tells; {asked}")


def _gaps(labelled: LabelledScan) -> Iterator[Finding]:
    """Structures that are never in two neighbouring slices, as where every fourth slice was annotated."""
    names = labelled.truth.names
    shown = {
        name: (labelled.truth.labels == k).any(dim=0).any(dim=0).nonzero()[:, 0]
        for k, name in enumerate(names.foreground, start=1)
    }
    gapped = {name: at for name, at in shown.items() if len(at) > 2 and int(at.diff().min()) > 1}
    if gapped:
        name, at = next(iter(gapped.items()))
        every = listed(list(gapped), MOST_NAMES)
        yield Finding(
            "warning",
            f"{labelled.scan.name}: {every} never in two slices next to each other ({name} in "
            f"{', '.join(map(str, at.tolist()[:4]))}, ...); were those between annotated? If not, give them a value of "
            "their own and say --ignore-value, or annotate them",
        )


def _overlap(labelled: LabelledScan) -> Iterator[Finding]:
    """Labels on empty image, as when the label map of another scan, or a mirrored one, was given."""
    image = labelled.scan.voxels[0]
    structure = labelled.truth.labels > 0
    if labelled.known is not None:
        structure &= labelled.known
    on_empty = float((image[structure] == image.min()).float().mean())
    if on_empty > 0.5 and image.min() < image.max():
        message = f"{labelled.scan.name}: {on_empty:.0%} of its labelled voxels lie where the image is empty"
        yield Finding("warning", f"{message}; do image and label map belong together?")


def _annotated(labelled: LabelledScan) -> frozenset[str]:
    return frozenset(labelled.truth.names.names) if labelled.annotated is None else labelled.annotated
