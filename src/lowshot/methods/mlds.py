"""MLDS: multi-label deep supervision with a mean teacher (Reiß et al., CVPR 2021), one of ELNet's rivals.

A U-Net of slices whose decoder is supervised at every size. At a coarse size a cell holds several structures, so it is
asked which of them it shows, each for itself (sigmoid), and not for one. A mean teacher labels slices without labels at
the finest size, from which those at coarser sizes follow. The idea is published; widths, weights, augmentation and the
confidence are ours, since ELNet's paper names the method and no setting.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.preparation import Preparation
from lowshot.inference.header import Header
from lowshot.inference.slice_model import SliceModel, SliceOptions
from lowshot.losses.segmentation import segmentation_loss
from lowshot.nn.planar_unet import PlanarUNet
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import polynomial
from lowshot.training.teacher import MeanTeacher
from lowshot.transforms.levels import Augmentation, Level, augmentation_of
from lowshot.transforms.slices import (
    Slices,
    annotated_and_pool,
    has_pool,
    inside,
    placed,
    places,
    problems_of_slices,
    toned,
    unlabelled,
    varied,
)

POSITIVE = ("size", "widths", "exemplars", "pool", "steps", "learning_rate")
GROWING = 0.3
"""Part of the training over which the pool's loss grows: at first its labels are guesses."""
SHARES = ("coarse", "pool_loss", "confidence", "teacher_momentum", "dice_share")
MOST_PIXELS, MOST_LEVELS = 4096**2, 8


@dataclass(frozen=True, kw_only=True)
class MLDS:
    """All settings are ours."""

    size: tuple[int, int] = (224, 224)
    """Pixels to which every slice is stretched."""
    crop: Literal["none", "foreground"] = "none"
    """"foreground": slices are cut to the body first."""
    intensity: str = "foreground-zscore"
    """How grey values are scaled."""
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Channels of the U-Net, from fine to coarse."""
    coarse: float = 0.5
    """Weight of all coarser sizes together, against the finest."""
    dice_share: float = 0.5
    """Of the loss; the rest is cross-entropy."""
    pool_loss: float = 1.0
    """Weight of what the teacher says of the pool, grown to from 0 over a part (``GROWING``) of the training."""
    confidence: float = 0.8
    """Least probability of the teacher's answer that is learned from."""
    teacher_momentum: float = 0.99
    """Of the teacher's weights in the mean that each step renews."""
    exemplars: int = 6
    """Annotated slices in a batch."""
    pool: int = 6
    """Slices of the pool in a batch."""
    augmentation: Level = "turns"
    """How far slices are varied."""
    steps: int = 20_000
    """Of training; --steps and --minutes come first."""
    learning_rate: float = 1e-4
    """AdamW's, at the beginning."""
    weight_decay: float = 1e-4
    """AdamW's."""

    Options: ClassVar[type] = SliceOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=("weight_decay",), shares=SHARES)
        multiple = 1 << (len(self.widths) - 1)
        if not 2 <= len(self.widths) <= MOST_LEVELS or any(each % multiple for each in self.size):
            raise SettingsError(
                f"size: expected multiples of {multiple}, for 2 to {MOST_LEVELS} widths; got {self.size}, {self.widths}"
            )
        if math.prod(self.size) > MOST_PIXELS:
            raise SettingsError(f"size: expected at most {MOST_PIXELS:,} pixels, got {self.size}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs annotated slices, and others."""
        if not task.support:
            return ["learns from annotated slices; give at least one"]
        if across := problems_of_slices(task.support):
            return across
        return [] if has_pool(task) else ["learns from slices without labels, too: give scans with --unlabelled"]

    def fit(self, task: LowShotTask, run: Run) -> SliceModel:
        """Train on exemplars by their labels, and on the pool by a teacher's."""
        preparation = self._preparation()
        exemplars, stacks = annotated_and_pool(
            task, preparation, needs_pool=True, allow_missing=True, progress=run.progress
        )
        with run.seeded("weights"):
            student = run.place(DeeplySupervised(len(task.channels), len(task.names), self.widths))
        teacher = MeanTeacher(student, self.teacher_momentum)
        optimiser = AdamW(student.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        goal = Goal(partial(self._loss, student, teacher.network), student, optimiser, polynomial(0.9))
        pool = unlabelled(torch.cat(stacks)).on(run.device)
        counts, augmentation = (self.exemplars, self.pool), augmentation_of(self.augmentation, self.intensity)
        batch = partial(draw, exemplars.on(run.device), pool, counts, augmentation, run)
        train([goal], batch, steps=self.steps, run=run, state={"teacher": teacher.network}, after_step=teacher.follow)
        student.load_state_dict(teacher.network.state_dict())  # the average is what counts
        return SliceModel(student.network, task.names, task.channels, preparation)

    def restore(self, state: State) -> SliceModel:
        """The teacher's U-Net alone is kept."""
        header = Header.from_json(state.header)
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = PlanarUNet(len(header.channels), len(header.names), widths=self.widths)
        return SliceModel.restore(network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _loss(
        self, student: "DeeplySupervised", teacher: nn.Module, batch: "Batch", done: float
    ) -> Mapping[str, Tensor]:
        exemplars, pool = batch.exemplars, batch.pool
        with torch.no_grad():
            sure, labels = teacher(batch.plain_pool)[-1].float().softmax(dim=1).max(dim=1)
        maps = student(torch.cat([exemplars.image, pool.image]))
        parts = [each.split([len(exemplars.image), len(pool.image)]) for each in maps]
        own = self._over_sizes([each[0] for each in parts], exemplars.labels, exemplars.known)
        learned = pool.known & (sure >= self.confidence)
        theirs = self._over_sizes([each[1] for each in parts], labels.to(pool.labels), learned)
        return {"exemplars": own, "pool": self.pool_loss * min(1.0, done / GROWING) * theirs}

    def _over_sizes(self, maps: Sequence[Tensor], labels: Tensor, known: Tensor) -> Tensor:
        *coarser, finest = maps
        total = segmentation_loss(finest, labels, known, self.dice_share)
        for logits in coarser:
            total = total + self.coarse / len(coarser) * multi_label_loss(logits, labels, known)
        return total


class DeeplySupervised(nn.Module):
    """A U-Net whose decoder answers at every size."""

    def __init__(self, channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = PlanarUNet(channels, classes, widths=widths)
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in list(widths)[:0:-1])

    def forward(self, image: Float[Tensor, "b c i j"]) -> list[Float[Tensor, "b k h w"]]:
        """Logits, the coarsest first: of sigmoids, but the finest's, which are of a softmax."""
        *coarser, finest = self.network.decoder_maps(image)
        return [*(head(each) for head, each in zip(self.heads, coarser, strict=True)), self.network.head(finest)]


class Batch(NamedTuple):
    """One step's slices."""

    exemplars: Slices
    pool: Slices
    """Without labels; known is what lies within the borders, as a teacher's labels of what is mirrored are not used."""
    plain_pool: Float[Tensor, "n c i j"]
    """As the teacher sees them: moved alike, grey values as they were."""


def draw(
    exemplars: Slices,
    pool: Slices,
    counts: tuple[int, int],
    augmentation: Augmentation,
    run: Run,
    step: int,
    generator: Generator,
) -> Batch:
    """A batch as a function of the step."""
    own = varied(exemplars.drawn(counts[0], generator), augmentation, generator)
    drawn = pool.drawn(counts[1], generator)
    there = places(drawn.image, augmentation.spatial, generator)
    others = placed(drawn, there)._replace(known=inside(there, drawn.image))
    strong = run.tensor(toned(others.image, augmentation.intensity, generator))
    return Batch(own._replace(image=run.tensor(own.image)), others._replace(image=strong), run.tensor(others.image))


def multi_label_loss(
    logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b i j"], known: Bool[Tensor, "b i j"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of "does this cell show structure k", where that is known.

    It does where one known pixel shows it, and does not where every pixel is known and none shows it.
    """
    classes, cell = logits.shape[1], labels.shape[1] // logits.shape[2]
    of_each = F.one_hot(labels.long(), classes).movedim(-1, 1) * known[:, None]
    shown = F.max_pool2d(of_each.float(), cell)
    sure = torch.maximum(shown, 1 - F.max_pool2d((~known).float()[:, None], cell))
    each = F.binary_cross_entropy_with_logits(logits.float(), shown, reduction="none") * sure
    return each.sum() / sure.sum().clamp_min(1)
