"""ELNet's losses: segmentation of exemplars, synthetic and pseudo-labelled slices, and contrast of class prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from lowshot.imaging.pieces import largest_pieces
from lowshot.losses.contrastive import class_prototypes, prototype_contrast
from lowshot.losses.segmentation import segmentation_loss
from lowshot.transforms.slices import Slices, inside, sample_slices

SOURCES = ("exemplar", "synthetic", "pseudo_labelled")


@dataclass
class Batch:
    """One step's slices: exemplars first, then synthetic, then pseudo-labelled ones."""

    slices: Slices
    counts: tuple[int, int, int]
    """Of each of ``SOURCES``."""
    draws: Generator
    """For what the loss draws: the other image that a prototype is to resemble."""
    plain_pool: Float[Tensor, "n c i j"]
    """The pool's slices before they were moved and their grey values changed, as a teacher sees them."""
    places: Tensor
    """(n, i, j, 2): where the pixels of the moved ones come from in the plain ones, as fractional indices."""
    following: Float[Tensor, "m c i j"]
    """The slices that follow those of the pool in their scans, moved like them; none where they are not asked for."""


@dataclass(frozen=True)
class Weights:
    """Of the terms; 0 switches one off."""

    exemplar: float = 1.0
    synthetic: float = 1.0
    pseudo_labelled: float = 1.0
    contrast: float = 0.1
    dice_share: float = 0.5
    """Of the segmentation loss; the rest is cross-entropy."""
    temperature: float = 0.07
    level: int = 0
    """At which of the encoder's maps prototypes are formed; 0 is the deepest."""
    confidence: float = 0.0
    """Least probability of a teacher's label that is learned from."""
    background_confidence: float = 0.0
    """The same of background, where that is more."""
    one_piece: bool = False
    """Whether of a teacher's structures only the largest piece in a slice is learned from."""
    neighbours: float = 0.0
    """Of what makes neighbouring slices of the pool be labelled alike."""


def elnet_loss(
    network: nn.Module, weights: Weights, teacher: nn.Module | None, batch: Batch, done: float
) -> Mapping[str, Tensor]:
    """L_e + λ_s L_s + λ_u L_u + λ_c L_c; the pool has no share in it before it has pseudo-labels."""
    image, labels, known = batch.slices if teacher is None else taught(batch, teacher, weights)
    if weights.contrast:
        logits, embedding = network.segment_and_embed(image, weights.level)  # type: ignore[operator]
    else:
        logits = network(image)
    terms = {}
    parts = zip(*(torch.split(part, list(batch.counts)) for part in (logits, labels, known)), strict=True)
    for source, (part, truth, mask) in zip(SOURCES, parts, strict=True):
        weight = getattr(weights, source)
        if weight and len(part):
            terms[source] = weight * segmentation_loss(part, truth, mask, weights.dice_share)
    if weights.neighbours and len(batch.following):
        pool = logits[len(logits) - len(batch.following) :]
        moved = sample_slices(batch.plain_pool, batch.places, "bilinear")
        alike = neighbour_consistency(pool, network(batch.following), moved, batch.following)
        terms["neighbours"] = weights.neighbours * alike
    if weights.contrast:
        predicted = logits.detach().argmax(dim=1)
        prototypes, present = class_prototypes(embedding, predicted, logits.shape[1])
        terms["contrast"] = weights.contrast * prototype_contrast(prototypes, present, batch.draws, weights.temperature)
    return terms


def neighbour_consistency(
    logits: Float[Tensor, "n k i j"],
    others: Float[Tensor, "n k i j"],
    image: Float[Tensor, "n c i j"],
    other: Float[Tensor, "n c i j"],
) -> Float[Tensor, ""]:
    """Mean squared difference of the probabilities of two neighbouring slices where they look alike (ours).

    A pixel counts exp(−d²), where d is by how much the two grey values (of images whose deviation is about 1) differ:
    where an organ begins or ends between two slices, they need not agree.
    """
    counts = torch.exp(-(image.float() - other.float()).square().sum(dim=1))
    apart = (logits.float().softmax(dim=1) - others.float().softmax(dim=1)).square().sum(dim=1)
    return (counts * apart).sum() / counts.sum().clamp_min(1)


def taught(batch: Batch, teacher: nn.Module, weights: Weights) -> Slices:
    """The batch, with the teacher's labels for its part of the pool (ours, not in the paper).

    The teacher sees slices as they were, which is easier, and what it found is moved as the student's slices are.
    """
    with torch.no_grad():
        probabilities = teacher(batch.plain_pool).float().softmax(dim=1)
        sure, found = sample_slices(probabilities, batch.places, "bilinear").max(dim=1)
    image, labels, known = batch.slices
    others = len(image) - len(found)
    labels = torch.cat([labels[:others], found.to(labels)])
    learned = sure_enough(sure, found, weights.confidence, weights.background_confidence)
    learned &= inside(batch.places, batch.plain_pool)
    if weights.one_piece:
        pieces = torch.stack([largest_pieces(each) for each in probabilities.argmax(dim=1)])
        learned &= sample_slices(pieces[:, None].float(), batch.places, "nearest")[:, 0] > 0
    return Slices(image, labels, torch.cat([known[:others], learned]))


def sure_enough(
    probability: Float[Tensor, "n i j"], labels: Int[Tensor, "n i j"], confidence: float, of_background: float
) -> Bool[Tensor, "n i j"]:
    """Where a label is learned from. A missed organ is background, of which a network is soon too sure."""
    return probability >= torch.where(labels > 0, confidence, max(confidence, of_background))
