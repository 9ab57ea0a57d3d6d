"""Alignment of prototypes (Wang et al., PANet, ICCV 2019): what the query was found to be has to find the support."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from lowshot.losses.binary import binary_cross_entropy

Segment = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From features (n k e h w) of k support images, their masks (n k i j) and features (n e h w) of the query to the logit
(n i j) of being inside: what a system does with features."""


def alignment_loss(
    segment: Segment,
    support: Float[Tensor, "n k e h w"],
    masks: Float[Tensor, "n k i j"],
    query: Float[Tensor, "n e h w"],
    logit: Float[Tensor, "n i j"],
    background: float = 1.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of the support images, segmented after the example of the query as it was segmented itself.

    Tasks in whose query nothing was found do not count (as in PANet's public code). The mask that was found is hard:
    no gradient goes through it.

    Args:
        segment: how images are segmented by an example.
        support: features of every support image.
        masks: 1 inside of the structure, 0 elsewhere.
        query: its features.
        logit: what was found in the query.
        background: weight of a pixel of the background in the cross-entropy.
    """
    shots = masks.shape[1]
    found = (logit.detach() > 0).to(masks.dtype)
    example, mask = (each.repeat_interleave(shots, dim=0)[:, None] for each in (query, found))
    truth = masks.flatten(0, 1)
    something = mask.flatten(1).any(dim=1)[:, None, None].expand(truth.shape)
    return binary_cross_entropy(segment(example, mask, support.flatten(0, 1)), truth, something, background)
