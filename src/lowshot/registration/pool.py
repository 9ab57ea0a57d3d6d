"""Scans without labels, each aligned with the atlas: what methods that learn to register begin with."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lowshot.imaging.grid import Affine
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.registration.affine import Picture, align, centred
from lowshot.training.run import Run


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
        InputError: a scan shows another part of the body.
    """
    with run.progress.task("laying scans upon the atlas", len(scans)) as task:
        for n, scan in enumerate(scans):
            scan.require_channels(channels)
            picture = _prepared(scan, preparation)
            found = run.stage("alignment", {"affine": affine, "scan": n}, _alignment(picture, atlas, affine))
            yield picture, found.numpy()
            task.advance()


def _alignment(picture: Picture, atlas: Picture, affine: bool) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy((align if affine else centred)(picture, atlas))


def _prepared(scan: Scan, preparation: Preparation) -> Picture:
    prepared = preparation.apply(scan)
    return Picture.of(prepared.name, prepared.voxels, prepared.grid)
