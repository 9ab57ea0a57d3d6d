"""AAS-DCL: two arms, and contrast with slices that lack the structure (Wu, Xiao & Liang, ECCV 2022).

"Dual contrastive learning with anatomical auxiliary supervision for few-shot medical image segmentation"; the public
code, which holds the model alone, was read. A U-Net of 5×5 convolutions reads the marked support and the query with the
same blocks; what it sees in the support weighs each map of the query pixel by pixel (sSE). The deepest map is joined by
a prior: how similar each cell is to the support's at its place, inside of the mask, and the support's prototypes. In
training the structure's prototype in the query is drawn to that in the support and away from those of superpixels in
slices without the structure, and so are cells of the deepest maps (InfoNCE, τ = 0.1).

Ours: the plain form of this. The code's anchor is the query's mean over the whole slice, ours over the structure; its
contrast of local prototypes is left out, and so is the iterated prediction that keeps to the maps' similarity. The
prior reaches the decoder (in the code the contrast alone). Both arms go through a block in one batch. Optimiser and
augmentation. Several shots: the logits are averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown, draw_structures
from lowshot.fewshot.pairing import PairingOptions
from lowshot.fewshot.pseudo_labels import PseudoLabels, superpixel_labels
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.nn.prototypes import average_of_shots, fit_masks, masked_average
from lowshot.nn.two_arm import SpatialExcitation, for_each_query, for_each_shot, marked, mean_of_shots
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import Slices, refuse_plane, varied

POSITIVE = ("size", "widths", "kernel", "temperature", "least_pixels", "tasks", "lacking", "steps", "learning_rate")
SHARES = ("least_share", "entropy_share")
NOT_NEGATIVE = ("prototype_contrast", "cell_contrast", "weight_decay")
MOST_LEVELS, LARGEST_KERNEL = 8, 31
CELLS = 4
"""Along each side, of which the cell contrast compares the means."""


@dataclass(frozen=True, kw_only=True)
class AASDCL:
    """Defaults are the published settings where there are some (paper, code, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # paper: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: how grey values are brought to one scale

    # Network
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)  # code: channels at each level
    kernel: int = 5  # code: side of the convolutions

    # Loss
    entropy_share: float = 0.8  # code: of cross-entropy; the rest is Dice
    prototype_contrast: float = 1.0  # code: of both of its parts together
    cell_contrast: float = 0.3  # code: weight of the contrast between cells
    temperature: float = 0.1  # paper: by which similarities are divided in the contrastive loss

    # What is in a batch
    tasks: int = 1  # ours: structures, each with a support and a query, in a step
    lacking: int = 4  # ours: slices without the structure, for each task
    least_pixels: int = 400  # code: of a superpixel, in slices of 256×256
    least_share: float = 0.005  # ours: of a slice, that shows a structure
    augmentation: Level = "none"  # ours: how much examples are changed at random

    # Training
    schedule: Literal["constant", "cosine"] = "constant"  # ours: how the learning rate falls
    steps: int = 50_000  # ours: of training
    learning_rate: float = 1e-4  # ours: at the start
    weight_decay: float = 1e-4  # ours: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, shares=SHARES, not_negative=NOT_NEGATIVE)
        if not 2 <= len(self.widths) <= MOST_LEVELS:
            raise SettingsError(f"widths: expected 2 to {MOST_LEVELS}, got {self.widths}")
        refuse_plane(self.size, 1 << (len(self.widths) - 1))
        if self.kernel % 2 == 0 or self.kernel > LARGEST_KERNEL:
            raise SettingsError(f"kernel: expected an odd number, {LARGEST_KERNEL} at most, got {self.kernel}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base."""
        return problems_of_base(task)

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on the base's annotated structures, and on superpixels of slices that lack them."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        goal = Goal(
            partial(self._loss, network),
            network,
            AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay),
            cosine(warmup=0.05) if self.schedule == "cosine" else constant,
        )
        regions = superpixel_labels(base, self.least_pixels, run)
        shown, lacking = Shown.of(base, self.least_share, run.progress), (base.shares() == 0).cpu()
        sampling = Sampling(self.tasks, 1, augmentation_of(self.augmentation, self.intensity))
        batch = partial(draw, shown, sampling, Others(regions, lacking, self.lacking), run)
        train([goal], batch, steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _loss(self, network: "GuidedUNet", batch: "Batch", done: float) -> Mapping[str, Tensor]:
        """Cross-entropy and Dice of the query; contrast of prototypes, and of cells, with slices that lack it."""
        episode, others = batch.episode, batch.others
        contrast = bool(self.prototype_contrast or self.cell_contrast)
        slices = others.image.flatten(0, 1) if contrast else episode.query[:0]
        seen = network.look(episode.support, episode.masks, episode.query, slices)
        entropy = binary_cross_entropy(seen.logit, episode.truth, episode.known)
        dice = binary_dice(seen.logit, episode.truth, episode.known)
        terms = {"query": self.entropy_share * entropy + (1 - self.entropy_share) * dice}
        return {**terms, **self._contrast(seen, episode, others)} if contrast else terms

    def _contrast(self, seen: "Seen", episode: Episode, others: "OtherSlices") -> Mapping[str, Tensor]:
        tasks, count = others.regions.shape[:2]
        own, theirs = masked_average(seen.query, episode.truth), masked_average(seen.support, episode.masks[:, 0])
        negatives = masked_average(seen.others, others.regions.flatten(0, 1)).reshape(tasks, count, -1)
        prototypes = info_nce(own, theirs, negatives, others.valid, self.temperature)
        own, theirs, elsewhere = (cell_means(each) for each in (seen.query, seen.support, seen.others))
        cells, size = own.shape[1:]
        negatives = elsewhere.reshape(tasks, count * cells, size).repeat_interleave(cells, dim=0)
        valid = others.valid.repeat_interleave(cells)
        between = info_nce(own.flatten(0, 1), theirs.flatten(0, 1), negatives, valid, self.temperature)
        return {"prototypes": self.prototype_contrast * prototypes, "cells": self.cell_contrast * between}

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int) -> "GuidedUNet":
        return GuidedUNet(channels, self.widths, self.kernel)


class OtherSlices(NamedTuple):
    """For each of n tasks b slices that lack its structure."""

    image: Float[Tensor, "n b c i j"]
    regions: Float[Tensor, "n b i j"]
    """One superpixel in each."""
    valid: Bool[Tensor, " n"]
    """Whether they do lack it; False where no slice of the base is known to, and any are here."""


class Batch(NamedTuple):
    """One step's tasks, and what they are contrasted with."""

    episode: Episode
    others: OtherSlices


@dataclass(frozen=True, eq=False)
class Others:
    """What slices that lack a structure are drawn from."""

    labels: PseudoLabels
    lacking: Bool[Tensor, "n k"]
    """Of each slice, which structures are known not to be in it. On the CPU."""
    count: int
    """For each task."""


def draw(shown: Shown, sampling: Sampling, others: Others, run: Run, step: int, generator: Generator) -> Batch:
    """A batch as a function of the step."""
    episode = draw_structures(shown, sampling, run, step, generator)
    candidates = [others.lacking[:, int(k)] for k in episode.structure]
    drawable = torch.zeros(len(others.lacking), dtype=torch.bool)
    drawable[others.labels.pairs[:, 1]] = True
    valid = torch.stack([(each & drawable).any() for each in candidates])
    drawn = [
        others.labels.draw(generator, each if bool(there) else None)
        for each, there in zip(candidates, valid, strict=True)
        for _ in range(others.count)
    ]
    device = others.labels.image.device
    chosen, region = (
        torch.tensor([getattr(each, part) for each in drawn], device=device) for part in ("query", "region")
    )
    inside = (others.labels.regions[chosen] == region[:, None, None]).to(torch.int16)
    slices = Slices(others.labels.image[chosen], inside, torch.ones_like(inside, dtype=torch.bool))
    image, inside, _ = varied(slices, sampling.augmentation, generator)
    tasks = (len(candidates), others.count)
    image, regions = (each.reshape(*tasks, *each.shape[1:]) for each in (image, inside.float()))
    return Batch(episode, OtherSlices(image, regions, valid.to(device)))


def info_nce(
    anchor: Float[Tensor, "n e"],
    positive: Float[Tensor, "n e"],
    negatives: Float[Tensor, "n b e"],
    valid: Bool[Tensor, " n"],
    temperature: float,
) -> Float[Tensor, ""]:
    """−log exp(a·p/τ) / (exp(a·p/τ) + Σ exp(a·n/τ)) of cosines, in float32: the mean over valid anchors, or 0."""
    a, p, n = (F.normalize(each.float(), dim=-1) for each in (anchor, positive, negatives))
    to_positive = (a * p).sum(dim=1, keepdim=True)
    to_negatives = (n * a[:, None]).sum(dim=2)
    cosines = torch.cat([to_positive, to_negatives], dim=1) / temperature
    terms = cosines.logsumexp(dim=1) - cosines[:, 0]
    return terms.where(valid, 0).sum() / valid.sum().clamp_min(1)


def cell_means(maps: Float[Tensor, "n e h w"]) -> Float[Tensor, "n cells e"]:
    """Means over a grid of squares."""
    return F.adaptive_avg_pool2d(maps.float(), CELLS).flatten(2).mT


class GuidedUNet(nn.Module):
    """One U-Net for both arms, whose maps of the support weigh those of the query.

    Args:
        channels: of the images.
        widths: of the levels.
        kernel: of the convolutions.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (32, 64, 128, 256, 512), kernel: int = 5) -> None:
        super().__init__()
        self.marked, self.plain = (_blocks(each, widths[0], kernel, 2) for each in (channels + 1, channels))
        self.encoder = nn.ModuleList(_blocks(*pair, kernel, 2) for pair in pairwise(widths[:-1]))
        self.encoder.append(_blocks(widths[-2], widths[-1], kernel, 1))
        self.links = nn.ModuleList(SpatialExcitation(width) for width in widths)
        self.prior = _blocks(2 * widths[-1] + 1, widths[-1], kernel, 1)
        self.ups = nn.ModuleList(_blocks(below, width, kernel, 3) for width, below in pairwise(widths))
        self.decoder = nn.ModuleList(_blocks(2 * width, width, kernel, 2) for width in widths[:-1])
        last = (nn.Conv2d(widths[0], widths[0], 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(widths[0], 1, 1))
        self.head = nn.Sequential(*last)

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        return self.look(support, masks, query, query[:0]).logit

    def look(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
        others: Float[Tensor, "b c i j"],
    ) -> "Seen":
        """Logits, and the deepest maps: of the query after the prior, of other slices as nothing guides them.

        Every block gets all of them in one batch. Its BatchNorm would else learn statistics in training that are none
        of the three's.
        """
        shots = masks.shape[1]
        s, (q, o) = self.marked(marked(support, masks)), _apart(self.plain, for_each_shot(query, shots), others)
        skips = []
        for link, block in zip(self.links, self.encoder, strict=False):
            skips.append((s, q))
            s, q, o = (F.max_pool2d(each, 2) for each in (s, q, o))
            s, q, o = _apart(block, s, link(s, q), o)
        q = self.links[-1](s, q)
        q = self.prior(torch.cat([q, similarity_prior(s, masks.flatten(0, 1), q)], dim=1))
        deepest = s, q, o
        for level in range(len(skips) - 1, -1, -1):
            s, q = _apart(self.ups[level], *(F.interpolate(each, scale_factor=2) for each in (s, q)))
            beside = (torch.cat(pair, dim=1) for pair in zip(skips[level], (s, q), strict=True))
            s, q = _apart(self.decoder[level], *beside)
            q = self.links[level](s, q)
        return Seen(mean_of_shots(self.head(q)[:, 0], shots), *deepest)


class Seen(NamedTuple):
    """Of n supports with k shots, m queries and b other slices."""

    logit: Float[Tensor, "m i j"]
    support: Float[Tensor, "nk e h w"]
    query: Float[Tensor, "mk e h w"]
    others: Float[Tensor, "b e h w"]


def _apart(block: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """Several batches through a block at once."""
    return torch.split(block(torch.cat(batches)), [len(each) for each in batches])


def similarity_prior(
    support: Float[Tensor, "a e h w"], masks: Float[Tensor, "a i j"], query: Float[Tensor, "b e h w"]
) -> Float[Tensor, "b d h w"]:
    """The cosine with the support at the same place, inside of its mask, from 0 to 1; and its two prototypes' sum."""
    share = fit_masks(masks.float(), (support.shape[2], support.shape[3]))
    prototypes = average_of_shots(support[:, None], share[:, None]) + average_of_shots(
        support[:, None], 1 - share[:, None]
    )
    inside = for_each_query(support * share[:, None].to(support), len(query))
    cosine_map = F.cosine_similarity(inside.float(), query.float(), dim=1)
    low, high = cosine_map.amin((1, 2), keepdim=True), cosine_map.amax((1, 2), keepdim=True)
    scaled = ((cosine_map - low) / (high - low).clamp_min(1e-6))[:, None]
    everywhere = for_each_query(prototypes[..., None, None], len(query)).expand(-1, -1, *query.shape[2:])
    return torch.cat([scaled, everywhere], dim=1).to(query)


def _blocks(inputs: int, outputs: int, kernel: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, *[outputs] * (count - 1)):
        convolution = nn.Conv2d(before, outputs, kernel, padding=kernel // 2)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
