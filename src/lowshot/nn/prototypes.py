"""Prototypes: a class is the mean of its features, and a pixel belongs to the class whose prototype points its way.

Used by every few-shot system that compares features (PANet, SSL-ALPNet, ADNet, APSCL and others).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

COSINE_SCALE = 20.0
"""By which cosines are multiplied before a softmax (PANet's public code)."""
_LEAST_WEIGHT = 1e-5


def fit_masks(masks: Float[Tensor, "n i j"], size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """Each cell gets the share of it that is inside of the mask.

    Features that are as fine as the mask or coarser see every pixel of it, however small a structure is.
    """
    return F.adaptive_avg_pool2d(masks[:, None], size)[:, 0]


def masked_average(features: Float[Tensor, "n e h w"], masks: Float[Tensor, "n i j"]) -> Float[Tensor, "n e"]:
    """Masked average pooling: the mean of the features inside of a mask, in float32; zeros where the mask is empty.

    Args:
        features: one vector for each cell.
        masks: from 0 to 1, of the same size or finer.
    """
    with _without_autocast(features.device):
        weights = fit_masks(masks.float(), (features.shape[2], features.shape[3])).flatten(1)
        sums = (features.float().flatten(2) @ weights[..., None])[..., 0]
    return sums / weights.sum(dim=1, keepdim=True).clamp_min(_LEAST_WEIGHT)


def average_of_shots(features: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"]) -> Float[Tensor, "n e"]:
    """The mean over shots of each one's masked average; shots whose mask is empty do not count (PANet, Eq. 1)."""
    averages = masked_average(features.flatten(0, 1), masks.flatten(0, 1)).reshape(*masks.shape[:2], -1)
    shown = masks.flatten(2).any(dim=2).to(averages)
    return (averages * shown[..., None]).sum(dim=1) / shown.sum(dim=1, keepdim=True).clamp_min(1)


def cosines(features: Float[Tensor, "n e h w"], prototypes: Float[Tensor, "m p e"]) -> Float[Tensor, "n p h w"]:
    """The cosine of every cell with each of p prototypes, in float32.

    Args:
        features: one vector for each cell.
        prototypes: of each image, or (m = 1) the same ones for all.
    """
    with _without_autocast(features.device):
        cells = F.normalize(features.float(), dim=1).flatten(2)
        found: Tensor = F.normalize(prototypes.float(), dim=2) @ cells
    return found.reshape(*found.shape[:2], *features.shape[2:])


def enlarged(maps: Float[Tensor, "n p h w"], size: tuple[int, int]) -> Float[Tensor, "n p i j"]:
    """Maps at the size of the image, by linear interpolation."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def prototype_logit(
    support: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m e h w"]
) -> Float[Tensor, "m i j"]:
    """How much more a pixel is like the structure than like everything else: a difference of two scaled cosines.

    Its sigmoid is the softmax over the two (PANet, Eq. 3). Pixels of the mask are counted one by one, whatever the size
    of the features; maps are enlarged to the size of the masks.

    Args:
        support: features of the support images.
        masks: 1 inside of the structure, 0 elsewhere.
        query: features of the queries; n is m, or 1 (one example for all).
    """
    both = torch.stack([average_of_shots(support, 1 - masks), average_of_shots(support, masks)], dim=1)
    outside, inside = cosines(query, both).unbind(dim=1)
    return enlarged(COSINE_SCALE * (inside - outside)[:, None], (masks.shape[2], masks.shape[3]))[:, 0]


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """On the meta device, where memory is estimated, there is none to be left."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
