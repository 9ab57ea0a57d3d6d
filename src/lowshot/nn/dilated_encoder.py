"""Features of grey images at an eighth of their size: a ResNet that is dilated as in DeepLabV3, and a 1×1 convolution.

The encoder of SSL-ALPNet's public code, and of the systems that follow it.
"""

from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.resnet import Depth, ResNet

STRIDE = 8


class DilatedEncoder(nn.Module):
    """One vector for each 8×8 pixels.

    Args:
        channels: of the image; a single one is repeated to three, for which the backbone was made.
        outputs: length of the vectors.
        depth: of the ResNet, 101 in DeepLabV3.
        width: by which its published widths are multiplied.
    """

    def __init__(self, channels: int, outputs: int = 256, *, depth: Depth = 101, width: float = 1.0) -> None:
        super().__init__()
        self.grey = channels == 1
        self.backbone = ResNet(depth, 3 if self.grey else channels, width=width, dilated=(True, True))
        self.reduce = nn.Conv2d(self.backbone.widths[-1], outputs, 1, bias=False)

    def forward(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        features: Tensor = self.reduce(self.backbone(image.expand(-1, 3, -1, -1) if self.grey else image)[-1])
        return features
