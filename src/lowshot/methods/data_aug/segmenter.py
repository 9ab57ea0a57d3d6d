"""DataAug's segmenter: the paper's plain 2-D U-Net, slice by slice, or the 3-D one of MRE-Net's comparison."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.geometry import Geometry
from lowshot.nn.luna_park import LunaParkUNet
from lowshot.nn.planar_unet import PlanarUNet
from lowshot.nn.voxelwise import Planar, VoxelwiseNetwork

SegmenterName = Literal["planar", "luna-park"]


class _PlanarFeatures(nn.Module):
    """The U-Net without its head; coordinates are not looked at."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.unet = PlanarUNet(channels, 1, widths=widths)
        del self.unet.head  # that of the voxelwise network stands in for it

    def forward(
        self, image: Float[Tensor, "b c x y"], coordinates: Float[Tensor, "b 2 x y"]
    ) -> Float[Tensor, "b w x y"]:
        return self.unet.decoder_maps(image)[-1]


class _Features(nn.Module):
    """The finest map of the backbone; coordinates are not looked at."""

    def __init__(self, backbone: LunaParkUNet) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, image: Float[Tensor, "b c x y z"], coordinates: Float[Tensor, "b 3 x y z"]
    ) -> Float[Tensor, "b w x y z"]:
        finest: Tensor = self.backbone(image)[-1]
        return finest


def segmenter(
    name: SegmenterName,
    channels: int,
    classes: int,
    geometry: Geometry,
    widths: Sequence[int],
    convolutions: Sequence[int],
) -> VoxelwiseNetwork:
    """The network from an image and its coordinates to logits."""
    head = nn.Linear(widths[0], classes)
    if name == "planar":
        return VoxelwiseNetwork(Planar(_PlanarFeatures(channels, widths)), head)
    backbone = LunaParkUNet(channels, widths=widths, convolutions=convolutions, strides=geometry.strides)
    return VoxelwiseNetwork(_Features(backbone), head)
