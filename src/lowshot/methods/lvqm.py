"""LVQM: the example as a vector quantiser (Huang et al., CVPR 2023), in plain form: its ideas by name.

"Rethinking few-shot medical segmentation: a vector quantization view"; no code is public, and the paper was not read.
Prototypes of the structure come from three quantisers of the support's cells inside of its mask. *Grid*: the mean in
each square of a grid. *Self-organised*: a few codes that move to the cells that are nearest to them. *Residual*: what
these codes leave of the cells is quantised once more, and the sum of a code of either kind is a prototype that is
closer to the cells. A cell of the query is compared with all of them: 20 × its cosines, weighted by their own softmax
and summed (SSL-ALPNet). Background has the means of a grid.

Ours is all of this form: codes are made anew for each example by a few steps of soft k-means, and the losses' weights.
Encoder and training of the preset "paper" are SSL-ALPNet's. Several shots: the cells of all of them are quantised
together.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import Base, problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.dilated_encoder import STRIDE, DilatedEncoder
from lowshot.nn.prototypes import COSINE_SCALE, cosines, enlarged, fit_masks
from lowshot.nn.resnet import Depth
from lowshot.nn.support_and_query import encode_both
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, cosine, stepwise
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = (
    *("size", "width", "features", "window", "codes", "residual_codes", "settling", "tasks", "least_voxels"),
    *("least_pixels", "steps", "learning_rate", "decay_every"),
)
SHARES = ("square_share", "background_weight", "least_share", "region_share", "momentum", "decay")
NOT_NEGATIVE = ("alignment", "weight_decay")
MOST_CODES = 100
SHARPNESS = 10.0
"""Of assignments: e⁻¹⁰ where a code is as far as the cells' standard deviation, 1 where it is at the cell."""


@dataclass(frozen=True, kw_only=True)
class LVQM:
    """No published settings are known: defaults are SSL-ALPNet's where it has the same ones."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # ours: SSL-ALPNet's
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: SSL-ALPNet's

    # Network
    depth: Depth = 101  # ours: SSL-ALPNet's, like the next two
    width: float = 1.0  # ours: times as many channels as published
    features: int = 256  # ours: channels of the map that is compared
    weights: str | None = None
    """File with the backbone's weights as torchvision saves them; None: random ones."""

    # Quantisers
    window: int = 4  # ours: cells along the side of a square of the grid
    square_share: float = 0.25  # ours: of a square, that has to be inside of a mask for its mean to be a prototype
    codes: int = 5  # ours: of the self-organised codebook
    residual_codes: int = 3  # ours: of the residual one
    settling: int = 3  # ours: steps in which the codes of either move

    # Loss
    background_weight: float = 0.05  # ours: SSL-ALPNet's, like the next
    alignment: float = 1.0  # ours: weight of the support, segmented in turn from the query

    # What is in a batch
    tasks: int = 1  # ours: structures, each with a support and a query, in a step
    least_share: float = 0.005  # ours (GCN-DE's): of a slice, that a structure covers to count as shown
    augmentation: Level = "none"  # ours: how much examples are changed at random
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # ours: SSL-ALPNet's, like all that follows
    schedule: Literal["stepwise", "cosine"] = "stepwise"  # ours: how the learning rate falls
    steps: int = 100_000  # ours: of training
    learning_rate: float = 1e-3  # ours: at the start
    decay: float = 0.95  # ours: factor of the learning rate where it falls stepwise
    decay_every: int = 1000  # ours: steps from one fall to the next
    momentum: float = 0.9  # ours: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # ours: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, shares=SHARES, not_negative=NOT_NEGATIVE)
        refuse_plane(self.size, STRIDE)
        refuse_width(self.width)
        if max(self.codes, self.residual_codes, self.settling) > MOST_CODES:
            raise SettingsError(
                f"codes, residual_codes, settling: expected at most {MOST_CODES} of each, got {self.codes}, "
                f"{self.residual_codes}, {self.settling}"
            )

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base; weights from a file need a grey image, or three channels."""
        return [*problems_of_base(task), *problems_of_weights(self.weights, "a ResNet", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on episodes in which structures of the base play the part of the new one."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.encoder.backbone, Path(self.weights), run.progress)
        goal = Goal(partial(self._loss, network), network, optimiser_of(self, network), self._schedule())
        train([goal], self._draw(base, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _loss(self, network: "QuantisingNetwork", episode: Episode, done: float) -> Mapping[str, Tensor]:
        """Of the query, and of the support after what was found in the query."""
        support, query = encode_both(network.encoder, episode.support, episode.query)
        logit = network.segment(support, episode.masks, query)
        terms = {"query": binary_cross_entropy(logit, episode.truth, episode.known, self.background_weight)}
        if self.alignment:
            found = alignment_loss(network.segment, support, episode.masks, query, logit)
            terms["alignment"] = self.alignment * found
        return terms

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, base: Base, run: Run) -> Draw:
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        sampling = Sampling(self.tasks, 1, augmentation_of(self.augmentation, self.intensity))
        return regions.beside_structures(Shown.of(base, self.least_share, run.progress), sampling, run)

    def _network(self, channels: int) -> "QuantisingNetwork":
        quantiser = Quantiser(self.window, self.square_share, self.codes, self.residual_codes, self.settling)
        return QuantisingNetwork(channels, self.features, quantiser, depth=self.depth, width=self.width)

    def _schedule(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(self.decay, self.decay_every, self.steps)


class Prototypes(NamedTuple):
    """Vectors, and which of them count: the number of squares that a mask fills differs between examples."""

    vectors: Float[Tensor, "n p e"]
    usable: Bool[Tensor, "n p"]


@dataclass(frozen=True)
class Quantiser:
    """How the cells of an example become prototypes."""

    window: int
    square_share: float
    codes: int
    residual_codes: int
    settling: int

    def structure(self, cells: Float[Tensor, "n k e h w"], inside: Float[Tensor, "n k h w"]) -> Prototypes:
        """Grid, self-organised codes, and the sums of these and the residual codes."""
        flat, weights = _in_a_row(cells), inside.flatten(1)
        codes, assigned = self_organised(flat, weights, self.codes, self.settling)
        residuals, further = self_organised(flat - assigned @ codes, weights, self.residual_codes, self.settling)
        sums = (codes[:, :, None] + residuals[:, None]).flatten(1, 2)
        use = ((assigned * weights[..., None]).mT @ further).flatten(1)
        # A sum counts if at least half as many cells need it as would if all were needed alike.
        needed = 2 * use.shape[1] * use > weights.sum(dim=1, keepdim=True)
        always = torch.ones_like(codes[..., 0], dtype=torch.bool)
        own = Prototypes(torch.cat([codes, sums], dim=1), torch.cat([always, needed], dim=1))
        return _joined(grid_means(cells, inside, self.window, self.square_share), own)

    def background(self, cells: Float[Tensor, "n k e h w"], outside: Float[Tensor, "n k h w"]) -> Prototypes:
        """Grid, and the mean of all."""
        mean = mean_of(_in_a_row(cells), outside.flatten(1))
        everything = Prototypes(mean, torch.ones_like(mean[..., 0], dtype=torch.bool))
        return _joined(grid_means(cells, outside, self.window, self.square_share), everything)


def _in_a_row(cells: Float[Tensor, "n k e h w"]) -> Float[Tensor, "n c e"]:
    return cells.transpose(1, 2).flatten(2).mT


def _joined(*parts: Prototypes) -> Prototypes:
    return Prototypes(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


class QuantisingNetwork(nn.Module):
    """A few-shot network that compares the query with many prototypes of one example.

    Args:
        channels: of the image.
        features: length of the vectors that are compared.
        quantiser: of the support's cells.
        depth: of the ResNet.
        width: by which its published widths are multiplied.
    """

    def __init__(
        self, channels: int, features: int, quantiser: Quantiser, *, depth: Depth = 101, width: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(channels, features, depth=depth, width=width)
        self.quantiser = quantiser

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        examples, features = encode_both(self.encoder, support, query)
        return self.segment(examples, masks, features)

    def segment(
        self,
        support: Float[Tensor, "n k e h w"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m e h w"],
    ) -> Float[Tensor, "m i j"]:
        """The logit from features, at the size of the masks: similarity to structure minus similarity to background."""
        size = (support.shape[3], support.shape[4])
        inside = fit_masks(masks.flatten(0, 1).float(), size).reshape(*masks.shape[:2], *size)
        # Which code a cell belongs to is a difference of near distances.
        with nullcontext() if query.is_meta else torch.autocast(query.device.type, enabled=False):
            cells = F.normalize(support.float(), dim=2)
            structure = self.quantiser.structure(cells, inside)
            background = self.quantiser.background(cells, 1 - inside)
        logit = similarity(query, structure) - similarity(query, background)
        return enlarged(logit[:, None], (masks.shape[2], masks.shape[3]))[:, 0]


def similarity(query: Float[Tensor, "m e h w"], prototypes: Prototypes) -> Float[Tensor, "m h w"]:
    """20 × the cosines of each cell with the usable prototypes, weighted by their own softmax and summed."""
    scores = COSINE_SCALE * cosines(query, prototypes.vectors)
    weights = scores.masked_fill(~prototypes.usable[..., None, None], -torch.inf).softmax(dim=1)
    return (weights * scores).sum(dim=1)


def grid_means(
    cells: Float[Tensor, "n k e h w"], weights: Float[Tensor, "n k h w"], window: int, least: float
) -> Prototypes:
    """The weighted mean in each square of a grid, shot after shot; those of little weight do not count.

    Args:
        cells: unit vectors.
        weights: from 0 to 1, of each cell.
        window: cells along the side of a square; what is left at the edge is a smaller one.
        least: mean weight in a square that counts.
    """
    flat = weights.flatten(0, 1)[:, None]
    share, sums = (
        F.avg_pool2d(each, window, ceil_mode=True).flatten(2).mT for each in (flat, cells.flatten(0, 1) * flat)
    )
    means = sums / share.clamp_min(1e-6)
    vectors = means.reshape(len(cells), -1, means.shape[2])
    return Prototypes(vectors, share.reshape(len(cells), -1) > least)


def self_organised(
    cells: Float[Tensor, "n c e"], weights: Float[Tensor, "n c"], count: int, steps: int
) -> tuple[Float[Tensor, "n p e"], Float[Tensor, "n c p"]]:
    """Codes that move to the cells that are nearest to them, and how much each cell belongs to each code.

    Soft k-means by squared distance, in units of the cells' variance. The first code begins at the mean, every other at
    the cell that is furthest from those before it.

    Args:
        cells: vectors of any length.
        weights: from 0 to 1; 0 where a cell does not count.
        count: p, codes.
        steps: in which they move.
    """
    mean = mean_of(cells, weights)
    codes = mean
    for _ in range(count - 1):
        furthest = (squared_distances(cells, codes).amin(dim=2) * weights).argmax(dim=1)
        chosen = cells.gather(1, furthest[:, None, None].expand(-1, -1, cells.shape[2]))
        codes = torch.cat([codes, chosen], dim=1)
    variance = mean_of(squared_distances(cells, mean), weights)[:, 0, 0].detach().clamp_min(1e-6)
    assigned = assignment(cells, codes, variance)
    for _ in range(steps):
        share = assigned * weights[..., None]
        codes = (share.mT @ cells) / share.sum(dim=1)[..., None].clamp_min(1e-6)
        assigned = assignment(cells, codes, variance)
    return codes, assigned


def mean_of(cells: Float[Tensor, "n c e"], weights: Float[Tensor, "n c"]) -> Float[Tensor, "n 1 e"]:
    """Weighted; zeros where nothing has any weight."""
    return weights[:, None] @ cells / weights.sum(dim=1)[:, None, None].clamp_min(1e-6)


def assignment(
    cells: Float[Tensor, "n c e"], codes: Float[Tensor, "n p e"], variance: Float[Tensor, " n"]
) -> Float[Tensor, "n c p"]:
    """Softmax over codes of how near they are."""
    return (-SHARPNESS * squared_distances(cells, codes) / variance[:, None, None]).softmax(dim=2)


def squared_distances(cells: Float[Tensor, "n c e"], codes: Float[Tensor, "n p e"]) -> Float[Tensor, "n c p"]:
    """Of every cell to every code."""
    lengths = cells.square().sum(dim=2, keepdim=True) + codes.square().sum(dim=2)[:, None]
    return (lengths - 2 * cells @ codes.mT).clamp_min(0)
