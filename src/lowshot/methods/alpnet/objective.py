"""SSL-ALPNet's loss: the query is segmented after the support, and the support after what was found in the query."""

from collections.abc import Mapping

from torch import Tensor

from lowshot.fewshot.episodes import Episode
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.methods.alpnet.network import ALPNet
from lowshot.nn.support_and_query import encode_both


def alpnet_loss(
    network: ALPNet, background: float, alignment: float, episode: Episode, done: float
) -> Mapping[str, Tensor]:
    """Cross-entropy of the query, its background weighted less, and the alignment loss."""
    support, query = encode_both(network.encoder, episode.support, episode.query)
    logit = network.segment(support, episode.masks, query)
    terms = {"query": binary_cross_entropy(logit, episode.truth, episode.known, background)}
    if alignment:
        terms["alignment"] = alignment * alignment_loss(network.segment, support, episode.masks, query, logit)
    return terms
