"""FCN-8s from annotated images, or slices of volumes: what MRE-Net is compared with on breast ultrasound.

Its paper (Table XII) takes FCN, with tuned settings, from another paper that was not available to us. So the network is
the published one (``lowshot.nn.fcn``), the size of images MRE-Net's, and the training ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.optim import SGD, Adam, Optimizer

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.names import has_side
from lowshot.imaging.preparation import Preparation
from lowshot.inference.header import Header
from lowshot.inference.slice_model import SliceModel, SliceOptions
from lowshot.losses.segmentation import segmentation_loss
from lowshot.nn.fcn import MULTIPLE, FCN8s
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.patches import PatchSampling, Volume, sample_patches
from lowshot.transforms.slices import Slices, problems_of_slices, refuse_plane, tell_of_lost
from lowshot.transforms.support import annotated_planes, prepare_support

POSITIVE = ("size", "width", "batch", "steps", "learning_rate")
SHARES = ("balanced", "dropout", "momentum")


@dataclass(frozen=True, kw_only=True)
class FCN:
    """FCN-8s. Defaults are the published network and ours for its training; MRE-Net's paper gives the size alone."""

    # What the network sees
    size: tuple[int, int] = (128, 128)  # MRE-Net's paper; every slice is stretched to it
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: scale of grey values; about that for which weights from ImageNet were made

    # Network
    width: float = 1.0  # paper: times as many channels as published
    norm: bool = False  # paper: BatchNorm in the VGG
    dropout: float = 0.5  # paper: share of channels that are dropped in training
    weights: str | None = None
    """File with VGG-16's weights as torchvision saves them (.pth, .safetensors); None: trained from random ones."""

    # What is in a batch
    batch: int = 8  # ours: images in a step
    balanced: float = 0.0  # ours: share of images moved so that a voxel of a class drawn uniformly is in the middle
    augmentation: Level = "none"  # ours: how much examples are changed at random

    # Training
    optimiser: Literal["sgd", "adam"] = "sgd"  # paper of FCN: of all weights
    schedule: Literal["constant", "cosine"] = "constant"  # paper of FCN: how the learning rate falls
    steps: int = 3000  # ours: MRE-Net's
    learning_rate: float = 1e-3  # ours: at the start
    momentum: float = 0.9  # paper of FCN: SGD's, as the next: Adam uses neither
    weight_decay: float = 5e-4  # paper of FCN: pull of weights towards 0

    Options: ClassVar[type] = SliceOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=("weight_decay",), shares=SHARES)
        changed = [name for name in ("momentum", "weight_decay") if getattr(self, name) != getattr(FCN, name)]
        if self.optimiser == "adam" and changed:  # as they are by default they stand in settings of finished trainings
            raise SettingsError(f"{', '.join(changed)}: belongs to SGD; leave it out, or set optimiser=sgd")
        refuse_plane(self.size, MULTIPLE)
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a support; weights from ImageNet need a grey image, or three channels."""
        wanted = [] if task.support else ["FCN learns from annotated images or slices; give at least one"]
        wanted += problems_of_slices(task.support)
        return [*wanted, *problems_of_weights(self.weights, "VGG-16", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> SliceModel:
        """Train on whole images, or slices, drawn from the annotated scans."""
        preparation, volumes = prepare_support(task.support, self._preparation(), None, run)
        volumes = [annotated_planes(each) for each in volumes if bool(each.known.any())]
        tell_of_lost(task, (volume.labels[volume.known] for volume in volumes), self.size, run.progress)
        with run.seeded("weights"):
            network = self._network(len(task.channels), len(task.names))
        if self.weights is not None:
            take_weights(network.backbone, Path(self.weights), run.progress)
        goal = Goal(
            partial(_loss, network),
            network,
            self._optimiser(network),
            schedule=cosine(warmup=0.05) if self.schedule == "cosine" else constant,
        )
        spatial, intensity = augmentation_of(self.augmentation, self.intensity)
        sided = any(map(has_side, task.names.foreground))  # a left kidney, mirrored, would be a second one
        sampling = PatchSampling(
            (*self.size, 1), self.batch, self.balanced, spatial, intensity, mirrored_is_known=not sided
        )
        train([goal], partial(_batch, volumes, sampling, run), steps=self.steps, run=run)
        return SliceModel(network, task.names, task.channels, preparation)

    def restore(self, state: State) -> SliceModel:
        """The network's architecture follows from the settings."""
        header = Header.from_json(state.header)
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = self._network(len(header.channels), len(header.names))
        return SliceModel.restore(network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int, classes: int) -> FCN8s:
        return FCN8s(channels, classes, width=self.width, norm=self.norm, dropout=self.dropout)

    def _optimiser(self, network: FCN8s) -> Optimizer:
        if self.optimiser == "adam":
            return Adam(network.parameters(), self.learning_rate)
        return SGD(network.parameters(), self.learning_rate, self.momentum, weight_decay=self.weight_decay)


def _batch(volumes: Sequence[Volume], sampling: PatchSampling, run: Run, step: int, generator: Generator) -> Slices:
    image, labels, known, _ = (part.squeeze(-1) for part in sample_patches(volumes, sampling, generator))
    return Slices(run.tensor(image), labels, known)


def _loss(network: FCN8s, batch: Slices, done: float) -> Mapping[str, Tensor]:
    return {"cross_entropy": segmentation_loss(network(batch.image), batch.labels, batch.known, 0.0)}
