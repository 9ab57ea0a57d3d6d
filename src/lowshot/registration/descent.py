"""Adam without PyTorch's optimisers: constructing one of those loads a compiler that nothing here uses.

It took 2.4 s of processor time (PyTorch 2.13), a tenth and more of a command that registers one scan.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

DECAYS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Adam (Kingma & Ba, ICLR 2015, Algorithm 1) with its usual constants; every tensor has a gradient in each step."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in parameters]
        self._t = 0

    def step(self, rate: float) -> None:
        """Go against the gradients, and forget them."""
        self._t += 1
        beta_1, beta_2 = DECAYS
        for theta, (m, v) in zip(self._parameters, self._moments, strict=True):
            g, theta.grad = theta.grad, None
            if g is None:
                raise ValueError("a tensor without a gradient")
            with torch.no_grad():
                m.lerp_(g, 1 - beta_1)
                v.mul_(beta_2).addcmul_(g, g, value=1 - beta_2)
                spread = v.sqrt().div_((1 - beta_2**self._t) ** 0.5).add_(EPSILON)
                theta.addcdiv_(m, spread, value=-rate / (1 - beta_1**self._t))
