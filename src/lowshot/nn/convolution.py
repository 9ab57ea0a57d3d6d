"""3×3×3 convolution whose gradient is right for maps two voxels deep as well.

On x86 CPUs PyTorch's own (oneDNN's, seen in PyTorch 2.13 with AVX-512) leaves a part of the weight's gradient unset in
bfloat16 where the first spatial axis of the map is 2: whatever lay in memory before is learned from.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WRONG_DEPTH = 2


def convolve(
    x: Float[Tensor, "b c x y z"], weight: Float[Tensor, "d c 3 3 3"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d x y z"]:
    """3×3×3 convolution that keeps the size, with zeros beyond the border."""
    if x.device.type != "cpu" or x.shape[2] != WRONG_DEPTH:
        return F.conv3d(x, weight, bias, padding=1)
    # One more layer of the zeros that lie there anyway.
    deeper = F.pad(x, (0, 0, 0, 0, 0, 1))
    return F.conv3d(deeper, weight, bias, padding=1)[:, :, :WRONG_DEPTH]


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` with 3×3×3 taps and padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x y z"]:
        return convolve(x, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` with 3×3 taps and padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
