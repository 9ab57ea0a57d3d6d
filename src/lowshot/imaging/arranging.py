"""Whether the voxels of one file are those of another: a label map's, or a further channel's, of an image.

A NIfTI file may give its voxels two places, of which programs take either; what one of them wrote lies on either.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from lowshot.imaging.grid import Affine, Arrangement, Grid
from lowshot.imaging.scan import Scan, Source


def affines(own: Affine, places: Sequence[Affine]) -> tuple[Affine, ...]:
    """An affine and, if it is the first of the ``places`` that programs read from a header, the others."""
    return tuple(places) if places and np.allclose(places[0], own) else (own,)


def affine_in_viewers(affine: Affine, source: Source | None) -> Affine:
    """Where ITK-SNAP, 3D Slicer and others built on ITK show what lies on the grid of a scan from this source."""
    return affines(affine, () if source is None else source.places)[-1]


def grids(own: Grid, places: Sequence[Affine]) -> tuple[Grid, ...]:
    """The same of a grid."""
    return tuple(Grid(own.shape, each) for each in affines(own.affine, places))


def grids_of(scan: Scan) -> tuple[Grid, ...]:
    """The grid of a scan and, if its file's header puts it elsewhere for other programs, that one too."""
    return grids(scan.grid, () if scan.source is None else scan.source.places)


def arrangement(found: tuple[Grid, ...], image: Scan) -> Arrangement | None:
    """How an array of a file has to be arranged so that it lies on an image.

    None where its voxels are not the image's, or may be several of them: whoever kept the order of the image's voxels
    meant these, but the image's two places may both have the box that was cut out.

    Args:
        found: the ``grids`` of the file.
        image: the image.
    """
    wanted = grids_of(image)
    pairs = zip(found, wanted, strict=True) if len(found) == len(wanted) else product(found, wanted)
    fitting = {each for own, whole in pairs if (each := own.arrangement(whole)) is not None}
    as_stored = [each for each in fitting if each.keeps_order and each.covers(found[0].shape)]
    return next(iter(as_stored or (fitting if len(fitting) == 1 else ())), None)
