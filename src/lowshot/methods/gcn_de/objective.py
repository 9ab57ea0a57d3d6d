"""GCN-DE's loss: Dice and cross-entropy of every structure's mask, and the discriminative embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lowshot.fewshot.episodes import Episode
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.methods.gcn_de.network import EmbeddingStage, GCNDENetwork

Distance = Literal["rms", "l1"]
Form = Literal["hinge", "softplus"]
LEAST_SQUARE = 1e-12
"""Below it a square root has no gradient."""


@dataclass(frozen=True)
class Embedding:
    """The discriminative embedding."""

    weight: float = 1.0
    """λ; 0 switches it off."""
    stage: EmbeddingStage = 8
    """Of the network, whose maps are compared: 4 is the bottleneck, 8 the last."""
    distance: Distance = "rms"
    form: Form = "hinge"


def gcn_de_loss(network: GCNDENetwork, embedding: Embedding, episode: Episode, done: float) -> Mapping[str, Tensor]:
    """mean_j (Dice_j + BCE_j) + λ L_de over the tasks j of a step."""
    shots = episode.support, episode.masks, episode.query
    terms = {}
    if embedding.weight:
        logit, f_s, f_q = network.segment_and_embed(*shots, embedding.stage)
        others = comparable(episode)
        terms["embedding"] = embedding.weight * discriminative(f_s, f_q, others, embedding.distance, embedding.form)
    else:
        logit = network(*shots)
    truth, known = episode.truth, episode.known
    return {
        "dice": binary_dice(logit, truth, known),
        "cross_entropy": binary_cross_entropy(logit, truth, known),
        **terms,
    }


def comparable(episode: Episode) -> Bool[Tensor, "n n"]:
    """Which tasks ask for different structures in the same two slices, each being there in both."""
    pair, structure = episode.pair, episode.structure
    shown = episode.masks.flatten(1).any(dim=1) & episode.truth.flatten(1).any(dim=1)
    same, other = pair[:, None] == pair, structure[:, None] != structure
    return same & other & shown[:, None] & shown


def discriminative(
    f_s: Float[Tensor, "n h w"],
    f_q: Float[Tensor, "n h w"],
    others: Bool[Tensor, "n n"],
    distance: Distance = "rms",
    form: Form = "hinge",
) -> Float[Tensor, ""]:
    """L_de = Σ_i max(‖f_q^i − f_s^i‖ − Σ_j≠i ‖f_q^i − f_s^j‖, 0) of a pair of slices, in float32.

    The mean over the pairs of a step, of those that show several structures; 0 where none does.

    Args:
        f_s: of the support slice, for each task i.
        f_q: of the query slice.
        others: the tasks j of every task i.
        distance: "rms" is the Euclidean one over the square root of the number of pixels, so that it means the same at
            any size; "l1" the mean absolute difference (public code).
        form: "softplus" is Σ_i Σ_j≠i log(1 + exp(‖f_q^i − f_s^i‖ − ‖f_q^i − f_s^j‖)) (public code). The hinge has no
            margin: it is 0 as soon as the distance within is smaller than the sum of those between.
    """
    between = distances(f_q, f_s, distance)
    within = between.diagonal()
    if form == "softplus":
        terms = (F.softplus(within[:, None] - between) * others).sum(dim=1)
    else:
        # Where there is nothing to be told from, the distance within is not a loss.
        terms = (within - (between * others).sum(dim=1)).clamp_min(0) * others.any(dim=1)
    # Each task of a pair with m of them counts 1 / m, so that their sum is the number of pairs.
    pairs = (others.any(dim=1) / (1 + others.sum(dim=1))).sum()
    return terms.sum() / pairs.clamp_min(1)


def distances(one: Float[Tensor, "n h w"], other: Float[Tensor, "m h w"], distance: Distance) -> Float[Tensor, "n m"]:
    """Of every map from every other one, in float32."""
    differences = (one.float()[:, None] - other.float()).flatten(2)
    if distance == "l1":
        return differences.abs().mean(dim=2)
    return differences.square().mean(dim=2).clamp_min(LEAST_SQUARE).sqrt()
