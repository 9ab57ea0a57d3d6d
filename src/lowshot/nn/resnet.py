"""ResNet-18, 34, 50 and 101 (He et al., CVPR 2016) without the classifier, dilated on demand as in DeepLabV3.

Parameters are named as in torchvision's (``conv1.weight``, ``layer1.0.downsample.0.weight`` …), so that their state
dicts fit (``lowshot.nn.weights``). As there, a bottleneck strides in its 3×3 convolution, not in its first 1×1.
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Depth = Literal[18, 34, 50, 101]

BLOCKS: dict[Depth, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Of each stage."""

WIDTHS = (64, 128, 256, 512)
"""Of the 3×3 convolutions of each stage; bottlenecks return four times as many channels."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, of which the first strides, and what they are added to.

    torchvision's is never dilated. Here, as everywhere, taps lie as far apart as strides would have put them.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: tuple[int, int]) -> None:
        super().__init__()
        before, after = dilation
        self.conv1 = _convolution(inputs, width, stride, before)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 1, after)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b d h v"]:
        residual = F.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1, which narrow and widen, and what they are added to."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: tuple[int, int]) -> None:
        super().__init__()
        outputs, (before, _) = self.expansion * width, dilation
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, stride, before)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b d h v"]:
        residual = F.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = F.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(nn.Module):
    """The maps of the stem, at half the size of the image, and of each stage.

    Args:
        depth: number of layers, the absent classifier included; from 50 on of bottlenecks.
        channels: of the image; 3 for weights from ImageNet.
        width: by which the published widths are multiplied.
        dilated: for the third and for the fourth stage, whether dilation replaces its stride; both in DeepLabV3.
        stages: how many there are, at most 4.
    """

    def __init__(
        self,
        depth: Depth = 101,
        channels: int = 3,
        *,
        width: float = 1.0,
        dilated: tuple[bool, bool] = (False, False),
        stages: int = 4,
    ) -> None:
        super().__init__()
        if not 1 <= stages <= len(WIDTHS):
            raise ValueError(f"stages: expected 1 to {len(WIDTHS)}, got {stages}")
        block = BasicBlock if depth < 50 else Bottleneck
        stem, *inner = (max(1, round(width * each)) for each in (WIDTHS[0], *WIDTHS[:stages]))
        self.widths = (stem, *(block.expansion * each for each in inner))
        """Channels of the returned maps, the finest first."""
        self.conv1 = nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self._stages = tuple(f"layer{number}" for number in range(1, stages + 1))
        dilation = 1
        for index, (name, count) in enumerate(zip(self._stages, BLOCKS[depth], strict=False)):
            stride, before = 1 if index == 0 else 2, dilation
            if index >= 2 and dilated[index - 2]:
                stride, dilation = 1, 2 * dilation
            # What strides, or would, still sees the map before the stage.
            first = block(self.widths[index], inner[index], stride, (before, dilation))
            others = (block(self.widths[index + 1], inner[index], 1, (dilation,) * 2) for _ in range(count - 1))
            self.add_module(name, nn.Sequential(first, *others))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "b c i j"]) -> list[Float[Tensor, "b w h v"]]:
        maps = [F.relu(self.bn1(self.conv1(image)), inplace=True)]
        x = F.max_pool2d(maps[0], 3, stride=2, padding=1)
        for name in self._stages:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps


def _convolution(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
