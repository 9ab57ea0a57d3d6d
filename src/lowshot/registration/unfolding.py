"""Smoothing a field where it folds, and nowhere else."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lowshot.registration.fields import Spacing, jacobian_determinant
from lowshot.registration.sampling import blur

REACH = 1
"""Voxels around a folded one that are smoothed with it."""
WIDTH = 2.0
"""Full width at half maximum of the smoothing, in voxels."""
ROUNDS = 20


def unfolded(field_mm: Float[Tensor, "3 i j k"], spacing: Spacing, tolerated: float = 0.0) -> Float[Tensor, "3 i j k"]:
    """The field, smoothed around voxels of negative determinant.

    Until no larger share of them than ``tolerated`` is left, or ``ROUNDS`` times.
    """
    field = field_mm[None]
    for _ in range(ROUNDS):
        folded = jacobian_determinant(field, spacing) <= 0
        if float(folded.float().mean()) <= tolerated:
            break
        near = F.max_pool3d(folded.float()[:, None], 2 * REACH + 1, 1, REACH)
        field = torch.where(near > 0, blur(field, (WIDTH,) * 3), field)
    return field[0]
