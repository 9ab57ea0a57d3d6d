"""How far a displacement field is from moving everything alike."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def diffusion(field_mm: Float[Tensor, "b 3 i j k"], spacing: tuple[float, float, float]) -> Float[Tensor, ""]:
    """L_smooth of LT-Net (Wang et al., CVPR 2020): (1/3) Σ_axes mean ‖∂u/∂axis‖², by forward differences.

    The field and the ``spacing`` of its voxels are in mm, so the result has no unit. The norm is over the three
    components, the mean over pairs of neighbours; an axis of one voxel adds nothing.
    """
    total = field_mm.new_zeros(())
    for axis, step in enumerate(spacing, start=2):
        pairs = field_mm.shape[axis] - 1
        if pairs:
            here, next_ = field_mm.narrow(axis, 0, pairs), field_mm.narrow(axis, 1, pairs)
            # Its mean over three components makes up for the sum over them and the 1/3.
            total = total + F.mse_loss(next_, here) / step**2
    return total
