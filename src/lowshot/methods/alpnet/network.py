"""SSL-ALPNet's network: a dilated encoder, and local prototypes of the support that a query is compared with."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lowshot.nn.dilated_encoder import DilatedEncoder
from lowshot.nn.prototypes import COSINE_SCALE, average_of_shots, cosines, enlarged, fit_masks
from lowshot.nn.resnet import Depth
from lowshot.nn.support_and_query import encode_both


class ALPNet(nn.Module):
    """Logit of being inside of what is marked in the support: similarity to it minus similarity to the background.

    Args:
        channels: of the image.
        features: length of the vectors that are compared.
        depth: of the ResNet.
        width: by which its published widths are multiplied.
        window: cells along the side of the square whose mean is a prototype, in training.
        test_window: the same in evaluation mode.
        threshold: share of a square that has to be inside of a mask for its mean to be a prototype.
    """

    def __init__(
        self,
        channels: int,
        features: int = 256,
        *,
        depth: Depth = 101,
        width: float = 1.0,
        window: int = 4,
        test_window: int = 2,
        threshold: float = 0.95,
    ) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(channels, features, depth=depth, width=width)
        self.window, self.test_window, self.threshold = window, test_window, threshold

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        examples, features = encode_both(self.encoder, support, query)
        return self.segment(examples, masks, features)

    def features(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        """What is compared: of single images, at an eighth of their size."""
        cells: Tensor = self.encoder(image)
        return cells

    def segment(
        self,
        support: Float[Tensor, "n k e h w"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m e h w"],
    ) -> Float[Tensor, "m i j"]:
        """The logit from features, at the size of the masks."""
        window = self.window if self.training else self.test_window
        size = (support.shape[3], support.shape[4])
        inside = fit_masks(masks.flatten(0, 1), size).reshape(*masks.shape[:2], *size)
        # A structure that fills no square of the training's is compared by its mean alone (public code).
        large = pooled(inside[:, :, None], self.window).flatten(1).amax(dim=1, keepdim=True) >= self.threshold
        local, share = pooled(support, window), pooled(inside[:, :, None], window)[..., 0]
        structure = (share > self.threshold) & large
        background = 1 - share > self.threshold
        always = torch.ones_like(large)
        nowhere = ~background.any(dim=1, keepdim=True)
        scores = [
            similarity(query, torch.cat([local, mean[:, None]], dim=1), torch.cat([usable, fallback], dim=1))
            for mean, usable, fallback in (
                (average_of_shots(support, inside), structure, always),
                (average_of_shots(support, 1 - inside), background, nowhere),
            )
        ]
        return enlarged((scores[0] - scores[1])[:, None], (masks.shape[2], masks.shape[3]))[:, 0]


def pooled(maps: Float[Tensor, "n k e h w"], window: int) -> Float[Tensor, "n cells e"]:
    """Means over squares of cells, shot after shot, in float32; what is left at the edge does not count."""
    n, _, e, h, w = maps.shape
    means = F.avg_pool2d(maps.flatten(0, 1).float(), min(window, h, w))
    return means.reshape(n, -1, e, math.prod(means.shape[2:])).mT.flatten(1, 2)


def similarity(
    query: Float[Tensor, "m e h w"], prototypes: Float[Tensor, "n p e"], usable: Bool[Tensor, "n p"]
) -> Float[Tensor, "m h w"]:
    """20 × the cosines of each cell with the usable prototypes, weighted by their own softmax and summed."""
    scores = COSINE_SCALE * cosines(query, prototypes)
    weights = scores.masked_fill(~usable[..., None, None], -torch.inf).softmax(dim=1)
    return (weights * scores).sum(dim=1)
