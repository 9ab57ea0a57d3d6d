"""Features of support and query of few-shot networks, from one encoder."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def encode_both(
    encoder: Callable[[Tensor], Tensor], support: Float[Tensor, "n k c i j"], query: Float[Tensor, "m c i j"]
) -> tuple[Float[Tensor, "n k e h w"], Float[Tensor, "m e h w"]]:
    """Features of k support images and of the queries.

    All go through the encoder in one batch, so that BatchNorm's statistics in training are of both.
    """
    features = encoder(torch.cat([support.flatten(0, 1), query]))
    count = support.shape[0] * support.shape[1]
    return features[:count].reshape(*support.shape[:2], *features.shape[1:]), features[count:]
