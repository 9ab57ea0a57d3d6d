"""The grid on which an atlas and the scans laid upon it are compared."""

import math
from collections.abc import Sequence

import numpy as np

from lowshot.imaging.foreground import body_box
from lowshot.imaging.grid import Grid
from lowshot.nn.geometry import Triple
from lowshot.registration.affine import Picture

MARGIN_MM, MARGIN_SHARE = 4.0, 0.15
"""Around the atlas's body, so that what a field moves out of its box is still seen; of a small one, by its length."""


def working_grid(
    atlas: Picture, spacing: Sequence[float] | None, shape: Triple | None, multiple: int, least: int = 1
) -> Grid:
    """A grid along the atlas's axes, around its body.

    Args:
        atlas: the picture whose world the grid lies in.
        spacing: mm along its axes; None: the atlas's own. One voxel stays one.
        shape: voxels, around the body's centroid; at the atlas's own spacing a crop, in whole voxels. None: all of the
            body and a margin, in multiples.
        multiple: of which sizes that are not given are.
        least: which they have at least, unless the atlas is flat.
    """
    own = atlas.grid.spacing
    steps = np.array([mm / each for mm, each in zip(spacing or own, own, strict=True)])
    flat = np.array(atlas.grid.shape) == 1
    steps[flat] = 1.0
    box = body_box(atlas.body.cpu().numpy())
    if shape is None:
        lengths = [part.stop - part.start for part in box]
        margin = min(MARGIN_MM, MARGIN_SHARE * max(n * mm for n, mm in zip(lengths, own, strict=True)))
        wanted = [(n * mm + 2 * margin) / (step * mm) for n, mm, step in zip(lengths, own, steps, strict=True)]
        rounded = [math.ceil(max(n, least) / multiple) * multiple for n in wanted]
        sizes = [1 if one else n for n, one in zip(rounded, flat, strict=True)]
        centre = np.array([(part.start + part.stop - 1) / 2 for part in box])
    else:
        sizes = list(shape)
        centre = atlas.body.nonzero().cpu().double().mean(0).numpy()
        # Between the voxels, interpolation would blur the image and the edges of every structure.
        centre = np.where(steps == 1, np.floor(centre) + (np.array(sizes) - 1) / 2 % 1, centre)
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = centre - steps * (np.array(sizes) - 1) / 2
    return Grid((sizes[0], sizes[1], sizes[2]), atlas.grid.affine @ matrix)
