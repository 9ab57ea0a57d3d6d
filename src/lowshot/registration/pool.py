"""Scans without labels, each aligned with the atlas: what methods that learn to register begin with."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lowshot.imaging.check import refuse_blank
from lowshot.imaging.grid import Affine
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.registration.affine import Picture, align, centred
from lowshot.registration.likeness import likeness_as_wholes
from lowshot.training.run import Run

LEAST_ALIKE = 0.3
"""Correlation as wholes: 0.38 to 0.56 of brains and abdomens with their like, -0.12 to 0.23 with other parts of the
body; of hearts, in boxes of their own, 0.10 to 0.44 (by hand: 7, 9 and 12 scans)."""


def aligned(
    scans: Sequence[Scan], channels: tuple[str, ...], preparation: Preparation, atlas: Picture, affine: bool, run: Run
) -> Iterator[tuple[Picture, Affine]]:
    """Each scan, prepared, and the (4, 4) matrix from its world mm to the atlas's; one after the other.

    In the folder of a run no alignment is found twice.

    Args:
        scans: the pool.
        channels: the atlas's.
        preparation: the atlas's own.
        atlas: upon which they are laid.
        affine: whether as wholes; else body's centre upon centre.
        run: its folder keeps the alignments.

    Raises:
        ChannelMismatch: a scan has other channels than the atlas.
        BadVoxels: a scan shows nothing.
        InputError: a scan shows another part of the body.
    """
    with run.progress.task("laying scans upon the atlas", len(scans)) as task:
        for n, scan in enumerate(scans):
            scan.require_channels(channels)
            refuse_blank(scan)
            picture = _prepared(scan, preparation)
            found = run.stage("alignment", {"affine": affine, "scan": n}, _alignment(picture, atlas, affine)).numpy()
            if doubt := _doubt(picture, atlas, found if affine else None):
                run.progress.warn(doubt)
            yield picture, found
            task.advance()


def _alignment(picture: Picture, atlas: Picture, affine: bool) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy((align if affine else centred)(picture, atlas))


def _doubt(picture: Picture, atlas: Picture, world: Affine | None) -> str:
    """What speaks against learning from a scan; "" if nothing does."""
    if torch.equal(picture.voxels, atlas.voxels):
        return f"{picture.name}: the same picture as the annotated scan, from which no deformation is learned"
    if world is not None and (alike := likeness_as_wholes(picture, atlas, world)) < LEAST_ALIKE:
        return (
            f"{picture.name}: hardly looks like the annotated scan where it is laid upon it (correlation {alike:.2f}): "
            "another part of the body, or another kind of picture? What is learned from it may be wrong"
        )
    return ""


def _prepared(scan: Scan, preparation: Preparation) -> Picture:
    prepared = preparation.apply(scan)
    return Picture.of(prepared.name, prepared.voxels, prepared.grid)
