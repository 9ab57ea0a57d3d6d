"""RP-Net: a mask that is refined pass after pass (Tang et al., "Recurrent mask refinement …", ICCV 2021).

The public code, which holds the test alone, was read. A context relation encoder (CRE) sees an image's features inside
of a mask and outside of it, and correlates each cell of the inside with its surroundings of the outside: that tells
where the mask has its border. The support's mask gives prototypes of such features. The query begins with the support's
mask, laid upon it, and in each pass becomes what is more like the structure's prototype than like the background's.

Ours: the affine registration is by moments (centre and extent of the body in both slices, in closed form) where the
code searches for 50 steps; features come from images alone; the mean over passes, not their sum, is the loss; training
as a whole, of which the code shows learning rate, batch and loss. Several shots: their prototypes and their laid masks
are averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown, draw_structures
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.nn.convolution import Conv2d
from lowshot.nn.planar_unet import double_convolution
from lowshot.nn.prototypes import COSINE_SCALE, average_of_shots, cosines, enlarged, fit_masks
from lowshot.nn.support_and_query import encode_both
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = ("size", "widths", "relation", "radius", "passes", "test_passes", "tasks", "steps", "learning_rate")
SHARES = ("least_share",)
NOT_NEGATIVE = ("alignment", "weight_decay")
MOST_LEVELS, MOST_PASSES, LARGEST_RADIUS = 8, 100, 16
Start = Literal["moments", "identity"]


@dataclass(frozen=True, kw_only=True)
class RPNet:
    """Defaults are the published settings where there are some (paper, code, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # code: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: how grey values are brought to one scale; for CT the code scales all values alike

    # Network
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # code: of the U-Net, as far up as a quarter of the size
    relation: int = 64  # code: features of the context relation encoder
    radius: int = 5  # paper: cells
    passes: int = 4  # paper: of refinement in training
    test_passes: int = 10  # paper: and afterwards
    start: Start = "moments"  # ours: mask that refinement begins with; "identity": the support's as it lies

    # What is in a batch
    tasks: int = 4  # code: structures, each with a support and a query, in a step
    least_share: float = 0.005  # ours: of a slice, that shows a structure
    augmentation: Level = "none"  # ours: how much examples are changed at random

    # Training
    alignment: float = 1.0  # code: weight of the support, segmented in turn from the query
    schedule: Literal["constant", "cosine"] = "constant"  # ours: how the learning rate falls
    steps: int = 50_000  # ours: of training
    learning_rate: float = 1e-5  # code: at the start
    weight_decay: float = 1e-4  # code: pull of weights towards 0, in Adam's gradient; decoupled (AdamW): ours

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, shares=SHARES, not_negative=NOT_NEGATIVE)
        if not 3 <= len(self.widths) <= MOST_LEVELS:
            raise SettingsError(f"widths: expected 3 to {MOST_LEVELS}, got {self.widths}")
        refuse_plane(self.size, 1 << (len(self.widths) - 1))
        if max(self.passes, self.test_passes) > MOST_PASSES or self.radius > LARGEST_RADIUS:
            raise SettingsError(
                f"passes, test_passes, radius: expected at most {MOST_PASSES} passes and {LARGEST_RADIUS} cells, got "
                f"{self.passes}, {self.test_passes}, {self.radius}"
            )

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base."""
        return problems_of_base(task)

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on the base's annotated structures."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        goal = Goal(
            partial(self._loss, network),
            network,
            AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay),
            cosine(warmup=0.05) if self.schedule == "cosine" else constant,
        )
        sampling = Sampling(self.tasks, 1, augmentation_of(self.augmentation, self.intensity))
        draw = partial(draw_structures, Shown.of(base, self.least_share, run.progress), sampling, run)
        train([goal], draw, steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _loss(self, network: "RefiningNetwork", episode: Episode, done: float) -> Mapping[str, Tensor]:
        """Cross-entropy and Dice, the mean over passes; and the support after what the last pass found."""
        found = network.refine(episode.support, episode.masks, episode.query)
        passes = [
            binary_cross_entropy(logit, episode.truth, episode.known) + binary_dice(logit, episode.truth, episode.known)
            for logit in found.logits
        ]
        terms = {"query": torch.stack(passes).mean()}
        if self.alignment:
            last = alignment_loss(compare, found.support, episode.masks, found.query, found.logits[-1])
            terms["alignment"] = self.alignment * last
        return terms

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int) -> "RefiningNetwork":
        passes = (self.passes, self.test_passes)
        return RefiningNetwork(channels, self.widths, self.relation, self.radius, passes=passes, start=self.start)


class Refined(NamedTuple):
    """What came out of every pass, and the features of the last."""

    logits: list[Float[Tensor, "m i j"]]
    support: Float[Tensor, "n k e h w"]
    query: Float[Tensor, "m e h w"]


class RefiningNetwork(nn.Module):
    """A few-shot network that looks at the query again and again, each time with the mask that it found before.

    Args:
        channels: of the image.
        widths: of the U-Net's levels.
        relation: features of the context relation encoder.
        radius: of its correlation, in cells of 4×4 pixels.
        passes: in training, and afterwards.
        start: how the support's mask comes to lie upon the query at first.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        relation: int,
        radius: int,
        *,
        passes: tuple[int, int] = (4, 10),
        start: Start = "moments",
    ) -> None:
        super().__init__()
        self.extractor = QuarterUNet(channels, widths)
        self.encoder = ContextRelationEncoder(widths[2], relation, radius)
        self.passes, self.start = passes, start

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        return self.refine(support, masks, query).logits[-1]

    def refine(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Refined:
        """Every pass; no gradient goes from one to the next, since what is passed on is a hard mask."""
        examples, features = encode_both(self.extractor, support, query)
        shown = self.encoder(examples.flatten(0, 1), masks.flatten(0, 1)).reshape(
            *masks.shape[:2], -1, *features.shape[2:]
        )
        mask, logits = self._first(support, masks, query), list[Tensor]()
        for _ in range(self.passes[0] if self.training else self.passes[1]):
            seen = self.encoder(features, mask)
            logits.append(compare(shown, masks, seen))
            mask = (logits[-1].detach() > 0).to(masks.dtype)
        return Refined(logits, shown, seen)

    def _first(self, support: Tensor, masks: Tensor, query: Tensor) -> Float[Tensor, "m i j"]:
        if self.start == "identity":
            return masks.mean(dim=1).expand(len(query), -1, -1)
        return laid_by_moments(support, masks, query)


class QuarterUNet(nn.Module):
    """A U-Net as far up as a quarter of the image's size.

    Args:
        channels: of the image.
        widths: of each level, from the finest to the bottleneck; the third is that of the result.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(double_convolution(*pair) for pair in pairwise((channels, *widths)))
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        for width, below in reversed(list(pairwise(widths[2:]))):
            norm = nn.BatchNorm2d(width)
            self.ups.append(
                nn.Sequential(nn.Upsample(scale_factor=2), Conv2d(below, width), norm, nn.ReLU(inplace=True))
            )
            self.decoder.append(double_convolution(2 * width, width))

    def forward(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        maps = [image]
        for level, encode in enumerate(self.encoder):
            maps.append(encode(F.max_pool2d(maps[-1], 2) if level else maps[-1]))
        x = maps[-1]
        for up, decode, beside in zip(self.ups, self.decoder, maps[-2::-1], strict=False):
            x = decode(torch.cat([beside, up(x)], dim=1))
        return x


class ContextRelationEncoder(nn.Module):
    """Features of the inside of a mask, and how each cell of it correlates with what lies outside around it.

    Args:
        width: of the features that come in.
        outputs: of those that go out.
        radius: of the surroundings, in cells.
    """

    def __init__(self, width: int, outputs: int, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.inside, self.outside = (
            nn.Sequential(Conv2d(width, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)) for _ in range(2)
        )
        both = width + (2 * radius + 1) ** 2
        self.relation = nn.Sequential(nn.Conv2d(both, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, features: Float[Tensor, "b e h w"], masks: Float[Tensor, "b i j"]) -> Float[Tensor, "b d h w"]:
        share = fit_masks(masks, (features.shape[2], features.shape[3]))[:, None].to(features)
        inside, outside = self.inside(features * share), self.outside(features * (1 - share))
        relation: Tensor = self.relation(torch.cat([correlation(inside, outside, self.radius), inside], dim=1))
        return relation


def correlation(x: Float[Tensor, "b e h w"], y: Float[Tensor, "b e h w"], radius: int) -> Float[Tensor, "b d h w"]:
    """Mean product of each vector of x with those of y around its place, row by row; zeros beyond the border."""
    h, w = x.shape[2:]
    padded, steps = F.pad(y, (radius,) * 4), range(2 * radius + 1)
    return torch.stack([(x * padded[:, :, a : a + h, b : b + w]).mean(dim=1) for a in steps for b in steps], dim=1)


def compare(
    support: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m e h w"]
) -> Float[Tensor, "m i j"]:
    """20 × the cosine with the structure's prototype minus that with the background's, at the size of the masks."""
    prototypes = torch.stack([average_of_shots(support, masks), average_of_shots(support, 1 - masks)], dim=1)
    inside, outside = (COSINE_SCALE * cosines(query, prototypes)).unbind(dim=1)
    return enlarged((inside - outside)[:, None], (masks.shape[2], masks.shape[3]))[:, 0]


def laid_by_moments(
    support: Float[Tensor, "n k c i j"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m c i j"]
) -> Float[Tensor, "m i j"]:
    """The support's masks, shifted and stretched so that its body has the centre and the extents of the query's.

    The body is what is brighter than the mean of a slice. The mean over shots comes back.
    """
    shots = masks.shape[1]
    centre, extent = (each.repeat_interleave(shots, dim=0) for each in moments(query))
    rows = len(centre) // shots // len(support)
    shown = (each.repeat(rows, 1) for each in moments(support.flatten(0, 1)))
    own_centre, own_extent = shown
    ratio = own_extent / extent
    matrix = torch.cat([torch.diag_embed(ratio), (own_centre - ratio * centre)[..., None]], dim=2)
    size = [len(matrix), 1, masks.shape[2], masks.shape[3]]
    grid = F.affine_grid(matrix, size, align_corners=False)
    every = masks.flatten(0, 1).float().repeat(rows, 1, 1)[:, None]
    laid = F.grid_sample(every, grid, align_corners=False)
    return laid.reshape(len(query), shots, *masks.shape[2:]).mean(dim=1)


def moments(image: Float[Tensor, "b c i j"]) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"]]:
    """Centre and standard deviation of the body along j and i, where −1 and 1 are the borders of the slice."""
    grey = image.float().mean(dim=1)
    body = (grey > grey.mean(dim=(1, 2), keepdim=True)).float()
    body = body / body.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    means, deviations = [], []
    for axis in (2, 1):
        size = grey.shape[axis]
        line = (2 * torch.arange(size, device=grey.device) + 1) / size - 1
        weights = body.sum(dim=3 - axis)
        means.append((weights * line).sum(dim=1))
        variance = (weights * (line - means[-1][:, None]).square()).sum(dim=1)
        deviations.append(variance.sqrt().clamp_min(1 / size))
    return torch.stack(means, dim=1), torch.stack(deviations, dim=1)
