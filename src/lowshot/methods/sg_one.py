"""SG-One: similarity guidance for one-shot segmentation (Zhang et al., IEEE Trans. Cybernetics 2020).

A dense VGG-16 sees support and query alike. The mean vector of the support inside of its mask is compared with every
cell of the query, and the map of cosines is multiplied into a branch of 128 channels that segments the query. Layers
and training are those of its public code, but for the padding of its last 1×1 convolution, a slip. What it sees of
scans is as in SSL-ALPNet's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lowshot.contract import State
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.convolution import Conv2d
from lowshot.nn.prototypes import average_of_shots, cosines, enlarged
from lowshot.nn.vgg import VGG16
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName
from lowshot.training.run import Run
from lowshot.training.schedules import constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = ("size", "width", "tasks", "shots", "least_voxels", "least_pixels", "steps", "learning_rate")
NOT_NEGATIVE = ("weight_decay", "least_share")
SHARES = ("background_weight", "region_share", "momentum")
STRIDE = 8
BRANCH_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class SGOne:
    """Defaults are the published settings, but for the size of images."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # ours: SSL-ALPNet's; its own are photographs of any size
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: SSL-ALPNet's

    # Network
    width: float = 1.0  # paper: times as many channels as published
    norm: bool = False  # paper: BatchNorm, which is ours, in the backbone and after the layers upon it
    weights: str | None = None
    """File with VGG-16's weights as torchvision saves them (.pth, .safetensors); None: trained from random ones."""

    # Loss
    background_weight: float = 1.0  # paper: of cross-entropy; ours: less where it is most of a slice

    # What is in an episode
    tasks: int = 1  # code: structures, each with a support and a query, in a step
    shots: int = 1  # paper: annotated slices in an episode
    least_share: float = 0.005  # ours (GCN-DE's): of a slice, that a structure covers to count as shown
    augmentation: Level = "none"  # ours: how much examples are changed at random
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # code: of all weights
    schedule: Literal["constant", "cosine"] = "constant"  # code: how the learning rate falls
    steps: int = 100_000  # code: of training
    learning_rate: float = 1e-5  # code: at the start
    momentum: float = 0.99  # code: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # code: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        refuse_plane(self.size, STRIDE)
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base; weights from a file need a grey image, or three channels."""
        return [*problems_of_base(task), *problems_of_weights(self.weights, "VGG-16", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on episodes in which structures of the base play the part of the new one."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.backbone, Path(self.weights), run.progress)
        schedule = cosine(warmup=0.05) if self.schedule == "cosine" else constant
        loss = partial(_loss, network, self.background_weight)
        goal = Goal(loss, network, self._optimiser(network), schedule)
        train([goal], self._draw(Shown.of(base, self.least_share, run.progress), run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, shown: Shown, run: Run) -> Draw:
        sampling = Sampling(self.tasks, self.shots, augmentation_of(self.augmentation, self.intensity))
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        return regions.beside_structures(shown, sampling, run)

    def _network(self, channels: int) -> "SimilarityGuidance":
        return SimilarityGuidance(channels, width=self.width, norm=self.norm)

    def _optimiser(self, network: "SimilarityGuidance") -> Optimizer:
        if self.optimiser == "adamw":
            return AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        # As in the public code: the layer whose features are compared learns faster, and so do all biases.
        rates: dict[float, list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            times = (10 if name.startswith("guide.") else 1) * (2 if name.endswith("bias") else 1)
            rates.setdefault(times * self.learning_rate, []).append(parameter)
        groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]
        return SGD(groups, self.learning_rate, self.momentum, weight_decay=self.weight_decay)


class SimilarityGuidance(nn.Module):
    """Logit of being inside of what is marked in the support; of several shots the mean vectors are averaged."""

    def __init__(self, channels: int, *, width: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        self.grey = channels == 1
        self.backbone = VGG16(3 if self.grey else channels, width=width, norm=norm, dense=True)
        *_, third, fourth, fifth = self.backbone.widths
        branch = max(1, round(width * BRANCH_WIDTH))
        self.guide = _layer(Conv2d(fifth, fifth), norm)
        """What is compared: features of either sign."""
        self.sides = nn.ModuleList(
            _layer(Conv2d(inputs, branch), norm) for inputs in (third, branch + fourth, branch + fifth)
        )
        self.inner, self.score = _layer(Conv2d(branch, branch), norm), _layer(nn.Conv2d(branch, 2, 1), norm=False)

    def forward(
        self, support: Float[Tensor, "n k c i j"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m c i j"]
    ) -> Float[Tensor, "m i j"]:
        """As many examples as queries, or one (n = 1) for all of them."""
        images = torch.cat([support.flatten(0, 1), query])
        *_, third, fourth, fifth = self.backbone(images.expand(-1, 3, -1, -1) if self.grey else images)
        shots = len(images) - len(query)
        compared = self.guide(fifth)
        examples = compared[:shots].reshape(*support.shape[:2], *compared.shape[1:])
        similarity = cosines(compared[shots:], average_of_shots(examples, masks)[:, None])
        first, second, last = self.sides
        side = F.relu(first(third[shots:]))
        side = F.relu(second(torch.cat([side, fourth[shots:]], dim=1)))
        side = last(torch.cat([side, fifth[shots:]], dim=1))
        scores = self.score(F.relu(self.inner(side * similarity)))
        return enlarged(scores[:, 1:] - scores[:, :1], (query.shape[2], query.shape[3]))[:, 0]


def _layer(convolution: nn.Conv2d, norm: bool) -> nn.Sequential:
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, *([nn.BatchNorm2d(convolution.out_channels)] if norm else []))


def _loss(network: SimilarityGuidance, background_weight: float, episode: Episode, done: float) -> Mapping[str, Tensor]:
    logit = network(episode.support, episode.masks, episode.query)
    return {"cross_entropy": binary_cross_entropy(logit, episode.truth, episode.known, background_weight)}
