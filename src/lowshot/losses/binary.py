"""Cross-entropy of one structure against everything else, over the pixels whose label is known."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def binary_cross_entropy(
    logit: Float[Tensor, "n i j"],
    truth: Float[Tensor, "n i j"],
    known: Bool[Tensor, "n i j"],
    background: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean of −log P(truth) over known pixels, in float32; 0 where nothing is known.

    With a difference of two logits it is the cross-entropy of their softmax.

    Args:
        logit: of being inside of the structure.
        truth: 1 inside, 0 elsewhere.
        known: pixels that count.
        background: weight of a pixel of the background; one of the structure has 1, and the mean is a weighted one, as
            with PyTorch's class weights (0.05 in SSL-ALPNet).
    """
    weights = known * (background + (1 - background) * truth.float())
    losses = F.binary_cross_entropy_with_logits(logit.float(), truth.float(), reduction="none")
    return (losses * weights).sum() / weights.sum().clamp_min(1e-6)
