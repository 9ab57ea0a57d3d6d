"""LT-Net's losses: what the generators and the critic minimise on one (atlas, target) pair."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.losses.charbonnier import charbonnier
from lowshot.losses.overlap import soft_dice
from lowshot.losses.similarity import local_ncc
from lowshot.losses.smoothness import diffusion
from lowshot.registration.fields import Spacing, compose, in_mm, warp


@dataclass
class Pair:
    """One step's batch: the atlas and an unlabelled scan, both on the working grid."""

    atlas: Float[Tensor, "1 c i j k"]
    """x"""
    target: Float[Tensor, "1 c i j k"]
    """y"""
    labels: Float[Tensor, "1 l i j k"] | None
    """x_s: one-hot maps of the structures that this step looks at; None where no loss needs them."""
    spacing: Spacing
    warped: Float[Tensor, "1 c i j k"] | None = None
    """ȳ, which the generators leave here for the critic."""


@dataclass(frozen=True)
class Weights:
    """Of the terms; 0 switches one off. The paper's by default. And how cycles are closed."""

    similarity: float = 1.0
    smoothness: float = 3.0
    adversarial: float = 1.0
    image_cycle: float = 10.0
    transformation_cycle: float = 3.0
    anatomy_cycle: float = 3.0
    anatomy_difference: float = 3.0
    cycle_pull: float = 1.0
    """How much of the four cycle terms' gradient reaches the forward generator (ours); the way back has all of it."""
    cycle_warmup: float = 0.0
    """Part of the training over which that grows from nothing (ours)."""
    composed: bool = True
    """Whether the fields there and back are composed, so that pictures are interpolated once (ours); else the warped
    picture is warped again, as in the paper."""
    penalise_length: bool = False
    """Whether L_trans penalises the length of what is left of a displacement, else each of its components."""

    def pull(self, done: float) -> float:
        """Of the cycles' gradient on the way there, after this part of the training.

        As long as the way back has not learned to lead back, cycles are least where nothing moves: at once in full
        they hold an untrained generator there, for hundreds of steps.
        """
        return self.cycle_pull * (min(1.0, done / self.cycle_warmup) if self.cycle_warmup else 1.0)

    @property
    def cycle(self) -> bool:
        """Whether anything asks for the way back."""
        return any((self.image_cycle, self.transformation_cycle, self.needs_labels))

    @property
    def needs_labels(self) -> bool:
        """Whether anything asks for the atlas's annotation."""
        return any((self.anatomy_cycle, self.anatomy_difference))


class Generators(nn.Module):
    """G_F and, where a cycle is closed, G_B."""

    def __init__(self, forward_generator: nn.Module, backward_generator: nn.Module | None) -> None:
        super().__init__()
        self.atlas_to_target = forward_generator
        self.target_to_atlas = backward_generator


def generator_loss(
    generators: Generators, critic: nn.Module | None, weights: Weights, window: int, pair: Pair, done: float
) -> Mapping[str, Tensor]:
    """L_G + L_sim + 3 L_smooth + 10 L_cyc + 3 (L_trans + L_anat + L_diff), each as a mean over voxels."""
    x, y, spacing = pair.atlas, pair.target, pair.spacing
    dp_F = in_mm(generators.atlas_to_target(x, y), spacing)
    y_bar = warp(x, dp_F, spacing)
    pair.warped = y_bar.detach()
    terms = {
        "similarity": -weights.similarity * local_ncc(y.movedim(1, 0), y_bar.movedim(1, 0), window),
        "smoothness": weights.smoothness * diffusion(dp_F, spacing),
    }
    if critic is not None:
        terms["adversarial"] = weights.adversarial * critic(y_bar).float().square().mean()
    if generators.target_to_atlas is None:
        return terms
    pull = weights.pull(done)
    dp_B = in_mm(generators.target_to_atlas(held(y_bar, pull), x), spacing)
    terms["smoothness"] = terms["smoothness"] + weights.smoothness * diffusion(dp_B, spacing)
    return terms | _cycles(pair, held(dp_F, pull), dp_B, weights)


def held(values: Tensor, pull: float) -> Tensor:
    """The same values, through which this share of a gradient goes back."""
    fixed = values.detach()
    return fixed + pull * (values - fixed) if pull else fixed


def _cycles(pair: Pair, dp_F: Tensor, dp_B: Tensor, weights: Weights) -> dict[str, Tensor]:
    """There and back every picture, every place and every structure is the same.

    x̄ is x at t + Δp_B(t) + Δp_F(t + Δp_B(t)). The paper's ȳ ∘ Δp_B interpolates it twice: what a field and its inverse
    leave behind is blurred, and cycles are least where nothing moves. Composed, fields lead there in one step.
    """
    x, spacing = pair.atlas, pair.spacing
    back, terms = compose(dp_F, dp_B, spacing) if weights.composed else dp_B, {}
    if weights.image_cycle:
        x_back = warp(x if weights.composed else warp(x, dp_F, spacing), back, spacing)
        terms["image_cycle"] = weights.image_cycle * (x_back - x).abs().mean()
    if weights.transformation_cycle:
        # Eq. 8: from the target to the atlas and back, Δp_F(t) + Δp_B(t + Δp_F(t)).
        left = compose(dp_B, dp_F, spacing)
        if weights.penalise_length:
            left = torch.linalg.vector_norm(left.float(), dim=1)
        terms["transformation_cycle"] = weights.transformation_cycle * charbonnier(left).mean()
    if pair.labels is not None:
        terms |= _anatomy(pair.labels, dp_F, back, weights, spacing)
    return terms


def critic_loss(critic: nn.Module, pair: Pair, done: float) -> Mapping[str, Tensor]:
    """½ [D(y)² + (D(ȳ) − 1)²]: least squares, with 0 for real and 1 for warped as in the paper's Eq. 4."""
    if pair.warped is None:
        raise ValueError("the critic's goal comes after the generators'")
    real, fake = critic(pair.target).float(), critic(pair.warped).float()
    return {"real": real.square().mean() / 2, "warped": (fake - 1).square().mean() / 2}


def _anatomy(
    x_s: Float[Tensor, "1 l i j k"], dp_F: Tensor, back: Tensor, weights: Weights, spacing: Spacing
) -> dict[str, Tensor]:
    """L_anat: there and back every structure is the same. L_diff: either way the same part of it changes."""
    looked_at = weights.anatomy_difference or not weights.composed  # else the warp there would be for nothing
    y_bar_s = warp(x_s, dp_F, spacing) if looked_at else x_s
    x_back_s = warp(x_s if weights.composed else y_bar_s, back, spacing)
    terms = {}
    if weights.anatomy_cycle:
        terms["anatomy_cycle"] = weights.anatomy_cycle * soft_dice(x_s, x_back_s)
    if weights.anatomy_difference:
        change = (x_s - y_bar_s).abs() - (y_bar_s - x_back_s).abs()
        terms["anatomy_difference"] = weights.anatomy_difference * charbonnier(change).mean()
    return terms
