"""Diagonal Gaussians: to draw from, and to tell how far one is from another."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Gaussian(NamedTuple):
    """n distributions over z independent factors."""

    mean: Float[Tensor, "n z"]
    log_variance: Float[Tensor, "n z"]

    def sample(self) -> Float[Tensor, "n z"]:
        """One from each, so that a gradient comes back to both parameters; from PyTorch's global generator."""
        return self.mean + (0.5 * self.log_variance).exp() * torch.randn_like(self.mean)


def kl_divergence(p: Gaussian, q: Gaussian) -> Float[Tensor, " n"]:
    """KL(p ‖ q) = ½ Σ_z [log σ_q² − log σ_p² + (σ_p² + (μ_p − μ_q)²) / σ_q² − 1], in float32."""
    mean, log_variance = (each.float() for each in p)
    other, other_log_variance = (each.float() for each in q)
    ratio = log_variance - other_log_variance
    distance = (mean - other).square() * (-other_log_variance).exp()
    return 0.5 * (ratio.exp() - ratio - 1 + distance).sum(dim=1)
