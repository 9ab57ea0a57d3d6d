"""Overlap of one structure's mask, as found and as it is."""

from jaxtyping import Bool, Float
from torch import Tensor

SMOOTHING = 1.0
"""Pixels. Added above and below, so that an empty mask that is found to be empty costs nothing."""


def binary_dice(
    logit: Float[Tensor, "n i j"], truth: Float[Tensor, "n i j"], known: Bool[Tensor, "n i j"]
) -> Float[Tensor, ""]:
    """The mean over masks of 1 − (2 Σ P Y + ε) / (Σ P + Σ Y + ε), over known pixels, in float32; without squares.

    As GCN-DE's and SE-Net's papers have it but for ε, which is 1 pixel. (GCN-DE's public code adds it below alone,
    which leaves a floor that no mask can reach.)

    Args:
        logit: of being inside of the structure.
        truth: 1 inside, 0 elsewhere.
        known: pixels that count.
    """
    P, Y = logit.float().sigmoid() * known, truth.float() * known
    overlap, sizes = (P * Y).sum((1, 2)), (P + Y).sum((1, 2))
    return (1 - (2 * overlap + SMOOTHING) / (sizes + SMOOTHING)).mean()
