"""FCN-8s on VGG-16 (Long, Shelhamer & Darrell, CVPR 2015), for single slices."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.vgg import VGG16

MULTIPLE = 32
INNER_WIDTH = 4096


class FCN8s(nn.Module):
    """Logits of slices whose sizes are multiples of 32.

    Scores of the third and fourth pooling and of the last layer are made by 1×1 convolutions and summed, from coarse to
    fine, after transposed convolutions that begin as bilinear interpolation.

    Args:
        channels: of the image; a single one is repeated to three, for which VGG-16 was made.
        classes: of the logits, background included.
        width: by which the published widths are multiplied.
        norm: BatchNorm after the convolutions of VGG-16.
        dropout: after both layers on the coarsest map.
    """

    def __init__(
        self, channels: int, classes: int, *, width: float = 1.0, norm: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.grey = channels == 1
        self.backbone = VGG16(3 if self.grey else channels, width=width, norm=norm)
        *_, third, fourth, fifth = self.backbone.widths
        inner = max(1, round(width * INNER_WIDTH))
        self.fc6 = nn.Conv2d(fifth, inner, 7, padding=3)
        self.fc7 = nn.Conv2d(inner, inner, 1)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.ModuleList(nn.Conv2d(inputs, classes, 1) for inputs in (inner, fourth, third))
        self.ups = nn.ModuleList(BilinearUp(classes, factor) for factor in (2, 2, 8))

    def forward(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b k i j"]:
        """One logit per class."""
        if any(size % MULTIPLE for size in image.shape[2:]):
            raise ValueError(f"expected sizes that are multiples of {MULTIPLE}, got {tuple(image.shape[2:])}")
        *_, third, fourth, fifth = self.backbone(image.expand(-1, 3, -1, -1) if self.grey else image)
        deepest = self.dropout(F.relu(self.fc6(fifth)))
        deepest = self.dropout(F.relu(self.fc7(deepest)))
        coarse, middle, fine = (score(x) for score, x in zip(self.scores, (deepest, fourth, third), strict=True))
        logits: Tensor = self.ups[2](fine + self.ups[1](middle + self.ups[0](coarse)))
        return logits


class BilinearUp(nn.ConvTranspose2d):
    """Transposed convolution to ``factor`` times the size, at first bilinear interpolation of each channel for itself.

    At the borders, where interpolation would need what lies beyond, there are zeros.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
        # Factor 2: ¼ ¾ ¾ ¼, the weights of the two nearest voxels of the coarse map at either of their sides.
        line = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = torch.outer(line, line).to(self.weight)
