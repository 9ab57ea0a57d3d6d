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


def category_mean(
    values: Float[Tensor, " n"],
    labels: Int[Tensor, " n"],
    balance: float = 1.0,
    stands_for: Int[Tensor, " m"] | None = None,
) -> Float[Tensor, ""]:
    """Σ_k w_k mean of ``values`` over the voxels of category k; zero when there are none.

    ``balance`` = 1 is MRE-Net's Eq. 5, w_k = 1: each category present counts the same whatever its size N_k.
    Smaller values (ours) let large categories count more, w_k ∝ N_k^(1 − balance) with a mean of 1 over the
    categories present; 0 is the plain mean times their number.
    Select the voxels whose label is known before calling.

    Where the voxels were chosen among others (the hardest), ``stands_for`` are the labels of all of them and give the
    N_k of the weights: a category whose easy voxels were left out then counts as much as before.
    """
    if labels.numel() == 0:
        return values.sum()
    sizes = torch.bincount(labels.long())
    shares = sizes if stands_for is None else torch.bincount(stands_for.long(), minlength=len(sizes))
    present = shares > 0
    weights = torch.where(present, shares.clamp_min(1).to(values.dtype) ** (1 - balance), 0)
    weights = weights * present.sum() / weights.sum()
    each = weights[: len(sizes)] / sizes.clamp_min(1)
    return (values * each[labels.long()]).sum()
