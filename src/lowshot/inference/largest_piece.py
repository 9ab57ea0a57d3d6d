"""An organ is one piece: what a model finds of it elsewhere is not believed."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels belong together if they share a face, an edge or a corner."""


def keep_largest_pieces(scores: Float[Tensor, "classes i j k"]) -> Float[Tensor, "classes i j k"]:
    """Probabilities in which every structure wins in its largest connected piece alone; changed in place.

    Elsewhere the background (index 0) gets the probability of the structure that won there. Of two pieces of equal
    size the first one is kept.
    """
    from scipy import ndimage

    winner = scores.argmax(dim=0)
    for k in range(1, len(scores)):
        pieces, count = ndimage.label((winner == k).numpy(), structure=TOUCHING)
        if count < 2:
            continue
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        others = torch.from_numpy((pieces > 0) & (pieces != sizes.argmax()))
        scores[0][others] += scores[k][others]
        scores[k][others] = 0
    return scores
