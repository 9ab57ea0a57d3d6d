"""Connected pieces of a structure."""

import numpy as np
from jaxtyping import Bool


def largest_piece(mask: Bool[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """The largest connected piece of a picture or volume, the first of equal ones; nothing where there is nothing.

    Voxels belong together if they share a face, an edge or a corner.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=bool))
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())
