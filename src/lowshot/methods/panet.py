"""PANet: prototypes aligned between support and query (Wang et al., ICCV 2019), a rival of GCN-DE and of APSCL.

A dense VGG-16; foreground and background of the support are averaged to one prototype each, and a pixel of the query
belongs to the one whose cosine is larger. In training, what the query was found to be has to segment the support in
turn. Settings are of its public code where the paper names none; what it sees of scans is as in SSL-ALPNet's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown, draw_structures
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.prototypes import prototype_logit
from lowshot.nn.support_and_query import encode_both
from lowshot.nn.vgg import VGG16
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import cosine, step_decay
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = ("size", "width", "tasks", "shots", "steps", "learning_rate")
NOT_NEGATIVE = ("alignment", "weight_decay", "least_share")
STRIDE = 8


@dataclass(frozen=True, kw_only=True)
class PANet:
    """Defaults are the published settings, but for the size of images."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # ours: SSL-ALPNet's, against 417×417 for photographs
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: SSL-ALPNet's

    # Network
    width: float = 1.0  # paper: times as many channels as published
    norm: bool = False  # paper: BatchNorm in the VGG
    weights: str | None = None
    """File with VGG-16's weights as torchvision saves them (.pth, .safetensors); None: trained from random ones."""

    # Losses
    alignment: float = 1.0  # paper: weight of the alignment loss

    # What is in an episode
    tasks: int = 1  # code: structures, each with a support and a query, in a step
    shots: int = 1  # paper: annotated slices in an episode
    least_share: float = 0.005  # ours (GCN-DE's): of a slice, that a structure covers to count as shown
    augmentation: Level = "none"  # ours: the code mirrors photographs, and organs have sides

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["steps", "cosine"] = "steps"  # paper: ×0.1 after each third
    steps: int = 30_000  # paper: of training
    learning_rate: float = 1e-3  # paper: at the start
    momentum: float = 0.9  # paper: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # paper: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=("momentum",))
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
        schedule = cosine(warmup=0.05) if self.schedule == "cosine" else step_decay((1 / 3, 2 / 3))
        goal = Goal(partial(panet_loss, network, self.alignment), network, optimiser_of(self, network), schedule)
        sampling = Sampling(self.tasks, self.shots, augmentation_of(self.augmentation, self.intensity))
        shown = Shown.of(base, self.least_share, run.progress)
        train([goal], partial(draw_structures, shown, sampling, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int) -> "PANetNetwork":
        return PANetNetwork(channels, width=self.width, norm=self.norm)


class PANetNetwork(nn.Module):
    """Logit of being inside of what is marked in the support; prototypes are means over shots."""

    def __init__(self, channels: int, *, width: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        self.grey = channels == 1
        self.backbone = VGG16(
            3 if self.grey else channels, width=width, norm=norm, dense=True, dilation=2, open_ended=True
        )

    def forward(
        self, support: Float[Tensor, "n k c i j"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m c i j"]
    ) -> Float[Tensor, "m i j"]:
        """As many examples as queries, or one (n = 1) for all of them."""
        examples, features = self.encode(support, query)
        return prototype_logit(examples, masks, features)

    def encode(
        self, support: Float[Tensor, "n k c i j"], query: Float[Tensor, "m c i j"]
    ) -> tuple[Float[Tensor, "n k e h w"], Float[Tensor, "m e h w"]]:
        """Features of support and query in one pass."""
        return encode_both(self.features, support, query)

    def features(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        """What is compared: of single images, at an eighth of their size."""
        cells: Tensor = self.backbone(image.expand(-1, 3, -1, -1) if self.grey else image)[-1]
        return cells


def panet_loss(network: PANetNetwork, alignment: float, episode: Episode, done: float) -> Mapping[str, Tensor]:
    """Cross-entropy of the query, and of the support in turn."""
    support, query = network.encode(episode.support, episode.query)
    logit = prototype_logit(support, episode.masks, query)
    terms = {"cross_entropy": binary_cross_entropy(logit, episode.truth, episode.known)}
    if alignment:
        terms["alignment"] = alignment * alignment_loss(prototype_logit, support, episode.masks, query, logit)
    return terms
