"""Cross-entropy and Dice together, over the pixels whose label is known."""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.losses.classification import voxel_cross_entropy

EPSILON = 1e-5


def segmentation_loss(
    logits: Float[Tensor, "b k i j"], labels: Int[Tensor, "b i j"], known: Bool[Tensor, "b i j"], dice_share: float
) -> Float[Tensor, ""]:
    """(1 − d) cross-entropy + d Dice over the pixels whose label is known, in float32; 0 where none is."""
    logits = logits.float()
    pixels = known.sum()
    entropy = (voxel_cross_entropy(logits, labels) * known).sum() / pixels.clamp_min(1)
    if not dice_share:
        return entropy
    return (1 - dice_share) * entropy + dice_share * dice_loss(logits.softmax(dim=1), labels, known)


def dice_loss(
    probabilities: Float[Tensor, "b k i j"], labels: Int[Tensor, "b i j"], known: Bool[Tensor, "b i j"]
) -> Float[Tensor, ""]:
    """1 − (2 Σ p t + ε) / (Σ p² + Σ t² + ε), the mean over classes, background included (MT-UNet's public code)."""
    truth = F.one_hot(labels.long(), probabilities.shape[1]).movedim(-1, 1) * known[:, None]
    p = probabilities * known[:, None]
    overlap, sizes = (p * truth).sum((0, 2, 3)), (p.square() + truth).sum((0, 2, 3))
    return (1 - (2 * overlap + EPSILON) / (sizes + EPSILON)).mean()
