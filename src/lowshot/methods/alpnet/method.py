"""SSL-ALPNet: a few-shot network that learns from superpixels of unannotated slices (Ouyang et al., ECCV 2020).

Read from here: ``network.py`` compares a query with local prototypes of the support, ``lowshot.fewshot.pseudo_labels``
makes tasks of superpixels, ``objective.py`` has the loss. Of the base the images alone are looked at. This folder's
README maps the paper's equations to functions and lists our deviations.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from lowshot.contract import State
from lowshot.fewshot.base_slices import Base, Images, problems_of_base, problems_of_images, read_base
from lowshot.fewshot.episodes import Sampling, Shown, draw_structures
from lowshot.fewshot.mixture import Draw, mixed
from lowshot.fewshot.pairing import PairingOptions
from lowshot.fewshot.pseudo_labels import (
    Amount,
    Copies,
    PseudoLabels,
    PseudoSampling,
    amount_of,
    draw_regions,
    superpixel_labels,
)
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.methods.alpnet.network import ALPNet
from lowshot.methods.alpnet.objective import alpnet_loss
from lowshot.nn.dilated_encoder import STRIDE
from lowshot.nn.resnet import Depth
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, cosine, stepwise
from lowshot.transforms.slices import refuse_plane

POSITIVE = (
    *("size", "width", "features", "window", "test_window", "least_pixels", "tasks", "steps", "learning_rate"),
    "decay_every",
)
SHARES = ("threshold", "background_weight", "supervised_share", "least_share", "momentum", "decay")
NOT_NEGATIVE = ("alignment", "weight_decay")


@dataclass(frozen=True, kw_only=True)
class SSLALPNet:
    """Defaults are the published settings; each says where it comes from (paper, code, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # paper: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # paper: what is cut out before
    intensity: str = "zscore"  # paper: scale of grey values, for MR; its window for CT comes before that

    # Network
    depth: Depth = 101  # paper: layers of the ResNet
    width: float = 1.0  # paper: times as many channels as published
    features: int = 256  # paper: channels of the map that is compared
    weights: str | None = None
    """File with the backbone's weights as torchvision saves them, alone or in DeepLabV3 (paper: of COCO); None: random
    ones."""
    window: int = 4  # paper: cells along the side of a local prototype in training
    test_window: int = 2  # paper: and afterwards
    threshold: float = 0.95  # paper: part of a window, that has to be foreground for a local prototype

    # Superpixels
    least_pixels: int = 400  # code: of a superpixel, in slices of 256×256; as many fewer in smaller ones
    copies: Copies = "query"  # paper: which copy of the slice is changed; "both" in the public code
    augmentation: Amount = "published"  # code: how much examples are changed at random
    tasks: int = 1  # paper: in a step

    # Annotated structures of the base, which the paper leaves alone
    supervised_share: float = 0.0  # ours: of the steps
    least_share: float = 0.005  # ours: of a slice, that shows a structure

    # Loss
    background_weight: float = 0.05  # code: what background counts in cross-entropy
    alignment: float = 1.0  # paper: weight of the support, segmented in turn from the query

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["stepwise", "cosine"] = "stepwise"  # paper: how the learning rate falls
    steps: int = 100_100  # code: of training
    learning_rate: float = 1e-3  # paper: at the start
    decay: float = 0.95  # code: factor of the learning rate where it falls stepwise
    decay_every: int = 1000  # code: steps from one fall to the next
    momentum: float = 0.9  # code: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # code: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, shares=SHARES, not_negative=NOT_NEGATIVE)
        refuse_plane(self.size, STRIDE)
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base, or scans without labels; weights from a file need a grey image, or three channels."""
        found = problems_of_base(task) if self.supervised_share else problems_of_images(task)
        return [*found, *problems_of_weights(self.weights, "a ResNet", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on superpixels of the slices of the base, and of scans without labels."""
        images_alone = not self.supervised_share
        base = read_base(Images(task), self._preparation(), task.channels, run, images_alone=images_alone)
        labels = superpixel_labels(base, self.least_pixels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.encoder.backbone, Path(self.weights), run.progress)
        loss = partial(alpnet_loss, network, self.background_weight, self.alignment)
        goal = Goal(loss, network, optimiser_of(self, network), self._schedule())
        train([goal], self._draw(base, labels, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = FewShotLearner(network, knowledge)
        return adapted(learner if images_alone else calibrated(learner, task.base, run), task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int) -> ALPNet:
        return ALPNet(
            channels,
            self.features,
            depth=self.depth,
            width=self.width,
            window=self.window,
            test_window=self.test_window,
            threshold=self.threshold,
        )

    def _draw(self, base: Base, labels: PseudoLabels, run: Run) -> Draw:
        """Superpixels; if asked for, the base's annotated structures in a share of the steps."""
        amount = amount_of(self.augmentation, self.intensity)
        regions = partial(draw_regions, labels, PseudoSampling(self.tasks, amount, self.copies), run)
        if not self.supervised_share:
            return regions
        sampling = Sampling(self.tasks) if self.augmentation == "published" else Sampling(self.tasks, 1, amount)
        shown = Shown.of(base, self.least_share, run.progress)
        return mixed(partial(draw_structures, shown, sampling, run), regions, 1 - self.supervised_share)

    def _schedule(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(self.decay, self.decay_every, self.steps)
