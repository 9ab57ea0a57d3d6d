"""MT-UNet (Wang et al., *Mixed Transformer U-Net for Medical Image Segmentation*, ICASSP 2022), ELNet's network.

A U-Net of transformer modules between a convolutional stem and decoder. Layout and widths: its public code.
Maps lie in memory with channels last, so that they are tokens and pixels without being copied.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.external_attention import ExternalAttention
from lowshot.nn.resampling import BlockTransposed2d
from lowshot.nn.window_attention import LocalGlobalAttention


class MTUNet(nn.Module):
    """Logits of slices of one size.

    Args:
        channels: of the image; a single one is repeated to three.
        classes: of the logits, background included.
        stem: widths of the convolutions, from the finest on.
        widths: of the tokens, from the finest to the bottleneck; multiples of 8.
        size: of the slices; multiples of 2^(length of the stem).
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        stem: Sequence[int] = (64, 128, 256),
        widths: Sequence[int] = (256, 512, 1024),
        size: tuple[int, int] = (224, 224),
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(stem)
        if any(each < 1 or each % self.multiple for each in size):
            raise ValueError(f"size: expected multiples of {self.multiple}, got {tuple(size)}")
        if len(widths) < 2 or not stem:
            raise ValueError(f"expected widths for a stem and two sizes of token maps, got {stem} and {widths}")
        self.size = tuple(size)
        inputs = 3 if channels == 1 else channels
        self.stem = nn.ModuleList(DoubleConvolution(*pair) for pair in pairwise((inputs, *stem)))
        self.pool = nn.MaxPool2d(2)
        self.tokens = convolution_norm_relu(stem[-1], widths[0], 1)
        self.position = nn.Parameter(torch.zeros(*(each // self.multiple for each in size), widths[0]))
        self.encoder = nn.ModuleList(mixed(width) for width in widths)
        self.downs = nn.ModuleList(convolution_norm_relu(*pair, 2) for pair in pairwise(widths))
        levels = list(pairwise(widths))[::-1]
        self.ups = nn.ModuleList(BlockTransposed2d(below, width, (2, 2)) for width, below in levels)
        # At the finest map of tokens, what comes from below and from beside stay side by side.
        self.decoder = nn.ModuleList(nn.Sequential(nn.Linear(2 * w, w), *mixed(w)) for w, _ in levels[:-1])
        self.decoder.append(mixed(2 * widths[0]))
        finer = list(pairwise((*stem, 2 * widths[0])))[::-1]
        self.final_ups = nn.ModuleList(BlockTransposed2d(below, width, (2, 2)) for width, below in finer)
        self.final = nn.ModuleList(DoubleConvolution(2 * width, width) for width, _ in finer)
        self.head = nn.Conv2d(stem[0], classes, 1)

    def forward(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b k i j"]:
        """One logit per class."""
        return self._decoded(self._encoded(image))

    def segment_and_embed(
        self, image: Float[Tensor, "b c i j"], level: int
    ) -> tuple[Float[Tensor, "b k i j"], Float[Tensor, "b e h w"]]:
        """Logits, and a map of the encoder: 0 is the bottleneck, 1 the next finer one, and so on through the stem."""
        maps = self._encoded(image)
        return self._decoded(maps), maps[-1 - level]

    def _encoded(self, image: Tensor) -> list[Tensor]:
        """The maps of all sizes, from the finest to the bottleneck."""
        if tuple(image.shape[2:]) != self.size:
            raise ValueError(f"expected slices of {self.size}, got {tuple(image.shape[2:])}")
        x, maps = image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image, list[Tensor]()
        for convolve in self.stem:
            maps.append(convolve(x))
            x = self.pool(maps[-1])
        tokens = self.tokens(x).movedim(1, -1) + self.position
        maps.append(self.encoder[0](tokens).movedim(-1, 1))
        for down, transform in zip(self.downs, list(self.encoder)[1:], strict=True):
            i, j = maps[-1].shape[2:]
            halved = down(F.pad(maps[-1], (0, j % 2, 0, i % 2)))
            maps.append(transform(halved.movedim(1, -1)).movedim(-1, 1))
        return maps

    def _decoded(self, maps: list[Tensor]) -> Tensor:
        *finer, x = maps
        for up, transform in zip(self.ups, self.decoder, strict=True):
            beside = finer.pop()
            i, j = beside.shape[2:]
            joined = torch.cat([up(x)[:, :, :i, :j], beside], dim=1)
            x = transform(joined.movedim(1, -1)).movedim(-1, 1)
        for up, convolve in zip(self.final_ups, self.final, strict=True):
            x = convolve(torch.cat([finer.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


class MixedTransformerModule(nn.Module):
    """Local-global attention, then external attention; both see normalised tokens and add to what there was."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(width, eps=1e-6)
        self.local_global = LocalGlobalAttention(width)
        # External attention is blind to what all tokens have in common, and so to a bias.
        self.second_norm = nn.LayerNorm(width, eps=1e-6, bias=False)
        self.external = ExternalAttention(width)

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        tokens = tokens + self.local_global(self.first_norm(tokens))
        every = self.second_norm(tokens).flatten(1, 2)
        learned: Tensor = self.external(every)
        return tokens + learned.view_as(tokens)


class DoubleConvolution(nn.Module):
    """3×3 convolutions with BatchNorm, then ReLU of that plus its 1×1 convolution with BatchNorm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = convolution_norm_relu(inputs, outputs, 3)
        self.second = convolution_norm(outputs, outputs, 3)
        self.residual = convolution_norm(outputs, outputs, 1)

    def forward(self, x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b d i j"]:
        x = self.second(self.first(x))
        return F.relu(x + self.residual(x), inplace=True)


def mixed(width: int) -> nn.Sequential:
    """The two modules that there are at each size."""
    return nn.Sequential(MixedTransformerModule(width), MixedTransformerModule(width))


def convolution_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Odd kernels keep the size, others are their own stride. The norm makes up for the bias that is left out."""
    odd = kernel % 2
    stride, padding = (1, kernel // 2) if odd else (kernel, 0)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs))


def convolution_norm_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """The same with ReLU."""
    return nn.Sequential(*convolution_norm(inputs, outputs, kernel), nn.ReLU(inplace=True))
