"""An organ is one piece: what a model finds of it elsewhere is not believed."""

import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.imaging.pieces import largest_piece


def keep_largest_pieces(scores: Float[Tensor, "classes i j k"]) -> Float[Tensor, "classes i j k"]:
    """Probabilities in which every structure wins in its largest connected piece alone; changed in place.

    Elsewhere the background (index 0) gets the probability of the structure that won there.
    """
    winner = scores.argmax(dim=0)
    for k in range(1, len(scores)):
        found = (winner == k).numpy()
        others = torch.from_numpy(found & ~largest_piece(found))
        scores[0][others] += scores[k][others]
        scores[k][others] = 0
    return scores
