"""VGG-16 (Simonyan & Zisserman, ICLR 2015; configuration D) without its classifier.

Parameters are named as in torchvision's ``vgg16`` and ``vgg16_bn`` (``features.0.weight`` …), so that their state dicts
fit (``lowshot.nn.weights``).
"""

from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import Conv2d
from lowshot.nn.dilated import DilatedConv2d

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Of the convolutions between two poolings."""
LAST = len(WIDTHS) - 1


class VGG16(nn.Module):
    """The maps after each of five poolings, of an image whose sizes are multiples of 32, or of 8 where it is dense.

    Args:
        channels: of the image; 3 for weights from ImageNet.
        width: by which the published widths are multiplied.
        norm: BatchNorm after every convolution, as in ``vgg16_bn``.
        dense: the fourth and the fifth pooling keep the size, and all are over 3×3 pixels, as in DeepLab.
        dilation: of the last three convolutions.
        open_ended: nothing follows the last convolution, no ReLU, pooling or norm: features of either sign.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        width: float = 1.0,
        norm: bool = False,
        dense: bool = False,
        dilation: int = 1,
        open_ended: bool = False,
    ) -> None:
        super().__init__()
        self.widths = tuple(max(1, round(width * block[-1])) for block in WIDTHS)
        """Channels of the returned maps, the finest first."""
        layers: list[nn.Module] = []
        for number, (outputs, block) in enumerate(zip(self.widths, WIDTHS, strict=True)):
            for _ in block:
                dilated = dilation > 1 and number == LAST
                convolution = DilatedConv2d(channels, outputs, dilation) if dilated else Conv2d(channels, outputs)
                # From PyTorch's own start 13 convolutions in a row let nothing through.
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                layers += [convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]
                channels = outputs
            layers.append(nn.MaxPool2d(3, stride=1 if number >= 3 else 2, padding=1) if dense else nn.MaxPool2d(2))
        self.features = nn.Sequential(*(layers[: -3 if norm else -2] if open_ended else layers))

    def forward(self, image: Float[Tensor, "b c i j"]) -> list[Float[Tensor, "b w h v"]]:
        x, maps = image, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
        return maps if isinstance(self.features[-1], nn.MaxPool2d) else [*maps, x]
