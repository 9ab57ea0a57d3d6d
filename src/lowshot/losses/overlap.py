"""Overlap of label maps whose values lie between 0 and 1."""

from jaxtyping import Float
from torch import Tensor


def soft_dice(x: Float[Tensor, "b k *space"], y: Float[Tensor, "b k *space"]) -> Float[Tensor, ""]:
    """1 − 2 Σ x y / (Σ x² + Σ y²): L_anat of LT-Net (Wang et al., CVPR 2020); 0 where they are the same, at most 1.

    Sums go over all voxels of the batch, in float32, and the mean over labels. One that is zero everywhere in both does
    not count; where all are, the loss is 0. Leave the background out before calling.
    """
    voxels = [0, *range(2, x.ndim)]
    x, y = x.float(), y.float()
    sizes = x.square().sum(voxels) + y.square().sum(voxels)
    present = sizes > 0
    overlaps = 2 * (x * y).sum(voxels) / sizes.where(present, 1)
    return (1 - overlaps).where(present, 0).sum() / present.sum().clamp_min(1)
