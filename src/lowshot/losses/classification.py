"""Cross-entropy over voxels whose label is known, balanced between categories."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def voxel_cross_entropy(
    logits: Float[Tensor, "b k *space"], labels: Int[Tensor, "b *space"]
) -> Float[Tensor, "b *space"]:
    """−log P(label) at every voxel (or for every row of a list of voxels), in float32 whatever the logits are in."""
    return F.cross_entropy(logits.float(), labels.long(), reduction="none")


def category_mean(values: Float[Tensor, " n"], labels: Int[Tensor, " n"], balance: float = 1.0) -> Float[Tensor, ""]:
    """Σ_k w_k mean of ``values`` over the voxels of category k; zero when there are none.

    ``balance`` = 1 is MRE-Net's Eq. 5, w_k = 1: each category present counts the same whatever its size N_k.
    Smaller values (ours) let large categories count more, w_k ∝ N_k^(1 − balance) with a mean of 1 over the
    categories present; 0 is the plain mean times their number.
    Select the voxels whose label is known before calling.
    """
    if labels.numel() == 0:
        return values.sum()
    sizes = torch.bincount(labels.long()).to(values.dtype)
    present = sizes > 0
    weights = torch.where(present, sizes.clamp_min(1) ** (1 - balance), 0)
    weights = weights * present.sum() / weights.sum()
    return (values * (weights / sizes.clamp_min(1))[labels.long()]).sum()
