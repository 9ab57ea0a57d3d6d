"""Contrast of class prototypes between the images of a batch: PCEM of ELNet (pixel-prototype contrastive embedding)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


def class_prototypes(
    embedding: Float[Tensor, "b e h w"], masks: Bool[Tensor, "b k i j"] | Int[Tensor, "b i j"], classes: int
) -> tuple[Float[Tensor, "b k e"], Bool[Tensor, "b k"]]:
    """The mean of the embedding over each class, in float32, and which classes there are; absent ones have zeros.

    A cell of the embedding belongs to every class of which it has a pixel (ours). Resized bilinearly, as the paper has
    it, small organs are missed where a cell stands for 32×32 pixels.

    Args:
        embedding: one vector per cell.
        masks: of every class, or labels that begin with 0; as fine as the embedding or finer.
        classes: how many there are, background included.
    """
    if masks.ndim == 3:
        masks = masks[:, None] == torch.arange(classes, device=masks.device)[:, None, None]
    cells = F.adaptive_max_pool2d(masks.float(), embedding.shape[2:]).flatten(2)
    counts = cells.sum(-1)
    with torch.autocast(embedding.device.type, enabled=False):
        sums = cells @ embedding.float().flatten(2).mT
    return sums / counts.clamp_min(1)[..., None], counts > 0


def prototype_contrast(
    prototypes: Float[Tensor, "b k e"], present: Bool[Tensor, "b k"], generator: Generator, temperature: float = 0.07
) -> Float[Tensor, ""]:
    """InfoNCE of cosines, the mean over anchors, in float32: −log exp(v·v⁺/τ) / (exp(v·v⁺/τ) + Σ exp(v·v⁻/τ)).

    Anchors v are the classes of every image but class 0, the background. The positive v⁺ is the same class in another
    image, drawn uniformly from those that have it; negatives v⁻ are all other classes in all other images, background
    included (ours: a single organ has nothing else to be told from). An anchor without positive or without negative
    does not count: its term would be undefined or always 0. Where none counts, the loss is 0 and so is its gradient.

    Args:
        prototypes: of every class in every image; need not be normalised.
        present: which of them there are.
        generator: on the CPU; as many numbers are drawn whichever classes are present.
        temperature: τ.
    """
    images, classes = present.shape
    v = F.normalize(prototypes.float(), dim=-1).flatten(0, 1)
    with torch.autocast(v.device.type, enabled=False):
        cosines = v @ v.mT
    similarity = cosines.reshape(images, classes, images, classes) / temperature  # of (n, k) with (m, j)
    elsewhere = ~torch.eye(images, dtype=torch.bool, device=v.device)
    another = ~torch.eye(classes, dtype=torch.bool, device=v.device)
    positive = elsewhere[:, None] & present.T
    negative = elsewhere[:, None, :, None] & another[:, None] & present
    draws = torch.rand(positive.shape, generator=generator).to(v.device)
    chosen = draws.where(positive, -1).argmax(-1, keepdim=True)
    to_positive = similarity.diagonal(dim1=1, dim2=3).mT.gather(-1, chosen)
    to_negatives = similarity.masked_fill(~negative, -torch.inf).flatten(2)
    terms = torch.cat([to_positive, to_negatives], dim=-1).logsumexp(-1) - to_positive.squeeze(-1)
    valid = present & positive.any(-1) & negative.flatten(2).any(-1)
    valid[:, 0] = False
    loss: Tensor = terms.where(valid, 0).sum() / valid.sum().clamp_min(1)
    return loss
