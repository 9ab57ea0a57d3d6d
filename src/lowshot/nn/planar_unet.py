"""The plain 2-D U-Net (Ronneberger et al., MICCAI 2015) with BatchNorm, for single slices."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import Conv2d
from lowshot.nn.resampling import BlockTransposed2d


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Twice: 3×3 convolution, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [Conv2d(before, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlanarUNet(nn.Module):
    """Logits of slices whose sizes are multiples of 2^(levels − 1).

    Args:
        channels: of the image.
        classes: of the logits, background included.
        widths: channels of each level, from the finest to the bottleneck.
    """

    def __init__(self, channels: int, classes: int, *, widths: Sequence[int] = (32, 64, 128, 256, 512)) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(double_convolution(*pair) for pair in pairwise((channels, *widths)))
        self.pool = nn.MaxPool2d(2)
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for width, below in reversed(list(pairwise(widths))):
            self.ups.append(BlockTransposed2d(below, width, (2, 2)))
            self.decoder.append(double_convolution(2 * width, width))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b k i j"]:
        """One logit per class."""
        logits: Tensor = self.head(self.decoder_maps(image)[-1])
        return logits

    def segment_and_embed(
        self, image: Float[Tensor, "b c i j"], level: int
    ) -> tuple[Float[Tensor, "b k i j"], Float[Tensor, "b e h w"]]:
        """Logits, and a map of the encoder: 0 is the bottleneck, 1 the next finer one, and so on."""
        maps = self._encoded(image)
        return self.head(self._decoded(maps)[-1]), maps[-1 - level]

    def decoder_maps(self, image: Float[Tensor, "b c i j"]) -> list[Float[Tensor, "b w h v"]]:
        """What every level of the decoder makes, the bottleneck first; the last is what logits are made from."""
        return self._decoded(self._encoded(image))

    def _encoded(self, image: Tensor) -> list[Tensor]:
        if any(size % self.multiple for size in image.shape[2:]):
            raise ValueError(f"expected sizes that are multiples of {self.multiple}, got {tuple(image.shape[2:])}")
        maps = [self.encoder[0](image)]
        for encode in list(self.encoder)[1:]:
            maps.append(encode(self.pool(maps[-1])))
        return maps

    def _decoded(self, maps: list[Tensor]) -> list[Tensor]:
        decoded = [maps[-1]]
        for up, decode, beside in zip(self.ups, self.decoder, maps[-2::-1], strict=True):
            decoded.append(decode(torch.cat([up(decoded[-1]), beside], dim=1)))
        return decoded
