"""SE-Net: few-shot segmentation by squeeze and excitation between two arms (Roy et al., Medical Image Analysis 2020).

Two systems that its authors adapted to medical images are the same with another link between the arms: co-FCN (Rakelly
et al., 2018) and OSLSM (Shaban et al., BMVC 2017). ``lowshot.nn.two_arm`` has the networks. Where the support stands in
for the base, it is MRE-Net's "sSE adapted to one scan": support and query are slices of the same annotated scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.nn.two_arm import MULTIPLE, ConcatenatedArms, GatedArms, RegressedClassifier
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

NETWORKS = {"gate": GatedArms, "concatenate": ConcatenatedArms, "weights": RegressedClassifier}
POSITIVE = ("size", "widths", "kernel", "batch", "least_voxels", "least_pixels", "steps", "learning_rate")
NOT_NEGATIVE = ("cross_entropy", "weight_decay")
SHARES = ("least_share", "region_share", "momentum")
WIDEST, LARGEST_KERNEL = 4096, 31


@dataclass(frozen=True, kw_only=True)
class SENet:
    """Defaults are the published settings; each says where it comes from (paper, code, ours)."""

    learns_from: Literal["base", "support"] = "base"  # paper; "support": MRE-Net's adaptation to one scan

    # What the network sees
    size: tuple[int, int] = (256, 256)  # paper: pixels to which every slice is stretched, where GCN-DE compares with it
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: how grey values are brought to one scale

    # Network
    link: Literal["gate", "concatenate", "weights"] = "gate"  # paper: between arms; the others: co-FCN's and OSLSM's
    widths: tuple[int, int] = (16, 64)  # code: channels of the conditioner and of the segmenter
    kernel: int = 5  # paper: side of the convolutions

    # Loss
    cross_entropy: float = 0.0  # paper: Dice alone; ours: weight of cross-entropy beside it

    # What is in a batch
    batch: int = 2  # code: tasks in a step
    least_share: float = 10 / 256**2  # code: a slice shows what covers more than 10 pixels of it
    augmentation: Level = "none"  # ours: the paper is silent
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["constant", "cosine"] = "constant"  # ours: how the learning rate falls
    steps: int = 10_000  # ours: 20 epochs, whose length depends on the data
    learning_rate: float = 1e-3  # code: at the start
    momentum: float = 0.99  # code: SGD's; AdamW has its own
    weight_decay: float = 1e-4  # code: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        refuse_plane(self.size, MULTIPLE, least=2)  # of a single cell a norm has nothing to learn
        if max(self.widths) > WIDEST:
            raise SettingsError(f"widths: expected at most {WIDEST} channels, got {self.widths}")
        if self.kernel % 2 == 0 or self.kernel > LARGEST_KERNEL:
            raise SettingsError(f"kernel: expected an odd number, at most {LARGEST_KERNEL}, got {self.kernel}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base, or an annotated scan with slices to be support and query of each other."""
        if self.learns_from == "base":
            return problems_of_base(task)
        if not task.support:
            return ["learns from an annotated scan alone; give at least one"]
        if max(map(_annotated_slices, task.support)) < 2:
            return ["learns to carry labels from slice to slice, and no annotated scan shows a structure in two slices"]
        return []

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Learn to mark in one slice what is marked in another."""
        alone = self.learns_from == "support"
        base = read_base(task.support if alone else task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        goal = Goal(partial(self._loss, network), network, optimiser_of(self, network), self._schedule)
        shown = Shown.of(base, self.least_share, run.progress, same_scan=alone)
        train([goal], self._draw(shown, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run, some_lacking=alone)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, shown: Shown, run: Run) -> Draw:
        sampling = Sampling(tasks=self.batch, augmentation=augmentation_of(self.augmentation, self.intensity))
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        return regions.beside_structures(shown, sampling, run)

    def _network(self, channels: int) -> nn.Module:
        return NETWORKS[self.link](channels, self.widths, self.kernel)

    def _loss(self, network: nn.Module, episode: Episode, done: float) -> Mapping[str, Tensor]:
        truth, known = episode.truth, episode.known
        logit = network(episode.support, episode.masks, episode.query)
        terms = {"dice": binary_dice(logit, truth, known)}
        if self.cross_entropy:
            terms["cross_entropy"] = self.cross_entropy * binary_cross_entropy(logit, truth, known)
        return terms

    @property
    def _schedule(self) -> Schedule:
        return cosine(warmup=0.05) if self.schedule == "cosine" else constant


def _annotated_slices(labelled: LabelledScan) -> int:
    """How many slices of a scan show any structure."""
    marked = labelled.truth.labels > 0
    if labelled.known is not None:
        marked = marked & labelled.known
    return int(marked.flatten(0, 1).any(dim=0).sum())
