"""A network in two parts: features that look at neighbours, then a head that looks at one voxel at a time."""

from jaxtyping import Float
from torch import Tensor, nn


class VoxelwiseNetwork(nn.Module):
    """Logits from an image and its coordinates.

    The head works on the last axis, so that it can be applied to single voxels (hard example mining) as well as to
    whole maps. In ``channels_last`` memory moving the axis copies nothing.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(
        self, image: Float[Tensor, "b c x y z"], coordinates: Float[Tensor, "b 3 x y z"]
    ) -> Float[Tensor, "b k x y z"]:
        """One logit per class; their softmax is the probability."""
        logits: Tensor = self.head(self.features(image, coordinates).movedim(1, -1))
        return logits.movedim(-1, 1)

    @property
    def classifier(self) -> nn.Module:
        """The last layer of the head: from embeddings to logits."""
        return self.head[-1] if isinstance(self.head, nn.Sequential) else self.head

    def embed(self, features: Float[Tensor, "*voxels w"]) -> Float[Tensor, "*voxels e"]:
        """What the classifier gets: features, through all of the head but its last layer."""
        return self.head[:-1](features) if isinstance(self.head, nn.Sequential) else features


class Planar(nn.Module):
    """Lets 2-D features take the place of 3-D ones: slices (z = 1) in, slices out, without the z coordinate."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(
        self, image: Float[Tensor, "b c x y 1"], coordinates: Float[Tensor, "b 3 x y 1"]
    ) -> Float[Tensor, "b w x y 1"]:
        features: Tensor = self.features(image.squeeze(-1), coordinates[:, :2].squeeze(-1))
        return features.unsqueeze(-1)
