"""APSCL's losses: cross-entropy, divergence of prior and posterior, and contrast of the relevance between images."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.fewshot.episodes import Episode
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.gaussian import Gaussian, kl_divergence
from lowshot.methods.apscl.network import Teaching


@dataclass(frozen=True)
class Weights:
    """Of the terms; 0 switches one off."""

    divergence: float = 0.1
    """λ_KL."""
    contrast: float = 0.07
    """λ_SCL."""
    temperature: float = 0.1
    """τ of the contrast."""
    posterior_share: float = 0.0
    """Of images that are enhanced by factors of the posterior."""
    foreground: bool = False
    """Whether relevance is counted within the structure alone."""


def apscl_loss(teaching: Teaching, weights: Weights, episode: Episode, done: float) -> Mapping[str, Tensor]:
    """CE + λ_KL (KL_s + KL_q) + λ_SCL SCL; all but SCL are means over the episode's pairs.

    ``posterior_variance`` is there to be logged, and has no gradient: of the posterior's means, over the images of the
    episode. Nothing but the divergence trains the label encoder, and outputs that do not depend on the label minimise
    that; then it is 0.
    """
    network, (pairs, shots) = teaching.network, episode.masks.shape[:2]
    images = torch.cat([episode.support.flatten(0, 1), episode.query])
    masks = torch.cat([episode.masks.flatten(0, 1), episode.truth])
    features = network.encoder(images)
    terms: dict[str, Tensor] = {}
    posterior = teaching.of_labels(masks)
    prior: Gaussian | None = None if network.prior is None else network.prior(features)
    if prior is not None:
        features = network.enhance(features, drawn(prior, posterior, weights.posterior_share))
    if prior is not None and posterior is not None:
        support, query = torch.split(kl_divergence(prior, posterior), [pairs * shots, pairs])
        terms["divergence"] = weights.divergence * (support.mean() + query.mean())
        terms["posterior_variance"] = posterior.mean.detach().var(dim=0, correction=0).mean()
    support, query = torch.split(features, [pairs * shots, pairs])
    logit = network.compare(support.reshape(pairs, shots, *support.shape[1:]), episode.masks, query)
    cross_entropy = binary_cross_entropy(logit, episode.truth, episode.known)
    if teaching.interaction is not None and weights.contrast:
        relevance = teaching.interaction(features, masks if weights.foreground else None)
        classes = torch.cat([episode.structure.repeat_interleave(shots), episode.structure])
        terms["contrast"] = weights.contrast * relevance_contrast(relevance, classes, weights.temperature)
    return {"cross_entropy": cross_entropy, **terms}


def drawn(prior: Gaussian, posterior: Gaussian | None, share: float) -> Float[Tensor, "b z"]:
    """From the prior, or for a share of the images of the posterior (ours)."""
    if posterior is None or not share:
        return prior.sample()
    told = torch.rand(len(prior.mean), 1, device=prior.mean.device) < share
    return torch.where(told, posterior.sample(), prior.sample())


def relevance_contrast(
    relevance: Float[Tensor, "m m"], classes: Int[Tensor, " m"], temperature: float
) -> Float[Tensor, ""]:
    """SCL (Eq. 7): −log exp(r_ij/τ) / Σ_{k≠i} exp(r_ik/τ), the mean over positives j of i, and over anchors i.

    Positives are the other images of the same class. With a single pair the sum holds the numerator alone, and the loss
    is identically zero; so each step needs several. Anchors without positives do not count.

    Args:
        relevance: r of every two images; what stands on the diagonal does not matter.
        classes: of every image.
        temperature: τ.
    """
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    positive = (classes[:, None] == classes) & ~itself
    # The diagonal is small, not −∞, so that its gradient is 0 and not NaN.
    log_share = (relevance.float() / temperature).masked_fill(itself, -1e9).log_softmax(dim=1)
    count = positive.sum(dim=1)
    each = -(log_share * positive).sum(dim=1) / count.clamp_min(1)
    return each.sum() / (count > 0).sum().clamp_min(1)
