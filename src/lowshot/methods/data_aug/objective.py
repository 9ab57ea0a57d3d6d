"""DataAug's losses: of the two spatial models, of the appearance model, and of the segmenter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowshot.losses.classification import category_mean, voxel_cross_entropy
from lowshot.losses.similarity import local_ncc
from lowshot.losses.smoothness import diffusion
from lowshot.nn.voxelwise import VoxelwiseNetwork
from lowshot.registration.fields import Spacing, in_mm, warp
from lowshot.transforms.patches import Patches

Norm = Literal["absolute", "squared"]
"""How the appearance's gradient is measured."""


@dataclass(frozen=True)
class Pair:
    """The atlas and a scan of the pool, both on the working grid."""

    atlas: Float[Tensor, "1 c i j k"]
    """x, from 0 to 1"""
    target: Float[Tensor, "1 c i j k"]
    """y"""
    spacing: Spacing


@dataclass(frozen=True)
class AppearancePair(Pair):
    """And how they lie upon each other."""

    brought: Float[Tensor, "1 c i j k"]
    """y ∘ φ⁻¹: the scan as the backward model brings it into atlas space"""
    field_mm: Float[Tensor, "1 3 i j k"]
    """φ, by which the forward model brings the atlas to the scan"""


class SpatialModels(nn.Module):
    """From the atlas to a scan and, where appearances are learned, from a scan to the atlas."""

    def __init__(self, to_target: nn.Module, to_atlas: nn.Module | None) -> None:
        super().__init__()
        self.to_target = to_target
        self.to_atlas = to_atlas


def spatial_loss(
    models: SpatialModels, window: int, smoothness: float, pair: Pair, done: float
) -> Mapping[str, Tensor]:
    """−local correlation + λ smoothness, for each direction on its own."""
    there = _registration(models.to_target, pair.atlas, pair.target, window, smoothness, pair.spacing)
    terms = {"to_target": there}
    if models.to_atlas is not None:
        terms["to_atlas"] = _registration(models.to_atlas, pair.target, pair.atlas, window, smoothness, pair.spacing)
    return terms


def _registration(
    model: nn.Module, moving: Tensor, fixed: Tensor, window: int, smoothness: float, spacing: Spacing
) -> Float[Tensor, ""]:
    field = in_mm(model(moving, fixed), spacing)
    alike = local_ncc(fixed.movedim(1, 0), warp(moving, field, spacing).movedim(1, 0), window)
    return smoothness * diffusion(field, spacing) - alike


def appearance_loss(
    model: nn.Module, labels: Int[Tensor, "i j k"], smoothness: float, norm: Norm, pair: AppearancePair, done: float
) -> Mapping[str, Tensor]:
    """‖(x + ψ) ∘ φ − y‖² + λ_a L_smooth(c_x, ψ): alike where the scan lies, smooth where the atlas has no edge."""
    psi = model(pair.atlas, pair.brought).float()
    seen = warp(pair.atlas + psi, pair.field_mm, pair.spacing)
    return {
        "reconstruction": (seen - pair.target).square().mean(),
        "smoothness": smoothness * smoothness_within(psi, labels, pair.spacing, norm),
    }


def smoothness_within(
    psi: Float[Tensor, "1 c i j k"], labels: Int[Tensor, "i j k"], spacing: Spacing, norm: Norm
) -> Float[Tensor, ""]:
    """(1 − c_x) ∇ψ by forward differences, per mm: Σ_axes mean |∂ψ/∂axis|, or (1/3) Σ_axes mean (∂ψ/∂axis)².

    A pair of neighbours with different labels is an edge and adds nothing to the sum; the mean is over all pairs.
    """
    total = psi.new_zeros(())
    for axis, step in enumerate(spacing):
        pairs = labels.shape[axis] - 1
        if pairs:
            within = labels.narrow(axis, 0, pairs) == labels.narrow(axis, 1, pairs)
            change = (psi.narrow(axis + 2, 1, pairs) - psi.narrow(axis + 2, 0, pairs)) / step
            total = total + ((change.abs() if norm == "absolute" else change.square() / 3) * within).mean()
    return total


def segmenter_loss(
    network: VoxelwiseNetwork, balance: float, share: float, patches: Patches, done: float
) -> Mapping[str, Tensor]:
    """Cross-entropy over known voxels, or over that share of them, drawn with PyTorch's global generator."""
    voxels = network.features(patches.image, patches.coordinates).movedim(1, -1).flatten(0, -2)
    chosen, labels = patches.known.flatten().nonzero()[:, 0], patches.labels.flatten()
    if share < 1:
        order = torch.randperm(len(chosen), device=chosen.device)
        chosen = chosen[order[: math.ceil(share * len(chosen))]]
    cross_entropy = voxel_cross_entropy(network.head(voxels.index_select(0, chosen)), labels[chosen])
    return {"cross_entropy": category_mean(cross_entropy, labels[chosen], balance)}
