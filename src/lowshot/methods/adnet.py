"""ADNet: one prototype of the structure, and a threshold for what lies too far from it (Hansen et al., 2022).

"Anomaly detection-inspired few-shot medical image segmentation through self-supervision with supervoxels", Medical
Image Analysis; the public code was read. Background is whatever does not belong to the structure, so it gets no
prototype: the anomaly score of a cell is S = −20 cos, its probability of being inside 1 − σ(½ (S − T)), and T is
learned. Training is on supervoxels of the base's images: two adjacent slices of one scan are support and query.

Ours: the logit ½ (T − S) is enlarged to the size of the image, not the probability, so that the loss stays finite
without clipping; supervoxels are of ``lowshot.transforms.superpixels``; several shots are averaged into one prototype
(as in the code).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import Images, problems_of_images, read_base
from lowshot.fewshot.episodes import Episode
from lowshot.fewshot.pairing import PairingOptions
from lowshot.fewshot.pseudo_labels import Amount, Copies, PseudoSampling, amount_of, draw_regions, supervoxel_labels
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.dilated_encoder import STRIDE, DilatedEncoder
from lowshot.nn.prototypes import COSINE_SCALE, average_of_shots, cosines, enlarged
from lowshot.nn.resnet import Depth
from lowshot.nn.support_and_query import encode_both
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, cosine, stepwise
from lowshot.transforms.slices import refuse_plane

POSITIVE = (
    *("size", "width", "features", "least_voxels", "least_pixels", "tasks", "steps", "learning_rate"),
    "decay_every",
)
SHARES = ("background_weight", "momentum", "decay")
NOT_NEGATIVE = ("alignment", "threshold_weight", "weight_decay")
STEEPNESS = 0.5
"""Of the sigmoid around the threshold."""


@dataclass(frozen=True, kw_only=True)
class ADNet:
    """Defaults are the published settings; each says where it comes from (paper, code, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # paper: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # paper: what is cut out before
    intensity: str = "zscore"  # code: how grey values are brought to one scale

    # Network
    depth: Depth = 101  # paper: layers of the ResNet
    width: float = 1.0  # paper: times as many channels as published
    features: int = 256  # paper: channels of the map that is compared
    weights: str | None = None
    """File with the backbone's weights as torchvision saves them; None: random ones."""
    threshold: float = -10.0  # paper: anomaly score up to which a pixel is foreground, T, before training

    # Supervoxels
    least_voxels: int = 5000  # paper: of a supervoxel of slices of 256×256; for the heart 1000
    least_pixels: int = 200  # code: of a supervoxel in a slice
    copies: Copies = "either"  # code: which copy of the slice is changed
    augmentation: Amount = "published"  # code: how much examples are changed at random
    tasks: int = 1  # paper: in a step

    # Loss
    background_weight: float = 0.1  # code: what background counts in cross-entropy
    alignment: float = 1.0  # paper: weight of the support, segmented in turn from the query
    threshold_weight: float = 1.0  # paper: of T / 20

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["stepwise", "cosine"] = "stepwise"  # code: how the learning rate falls
    steps: int = 50_000  # code: of training
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
        if not abs(self.threshold) <= COSINE_SCALE:
            raise SettingsError(f"threshold: expected a score, from −20 to 20, got {self.threshold}")
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base, or scans without labels; weights from a file need a grey image, or three channels."""
        return [*problems_of_images(task), *problems_of_weights(self.weights, "a ResNet", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on supervoxels of the base's scans, and of those without labels."""
        base = read_base(Images(task), self._preparation(), task.channels, run, images_alone=True)
        labels = supervoxel_labels(base, self.least_voxels, self.least_pixels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.encoder.backbone, Path(self.weights), run.progress)
        goal = Goal(partial(self._loss, network), network, optimiser_of(self, network), self._schedule())
        sampling = PseudoSampling(self.tasks, amount_of(self.augmentation, self.intensity), self.copies)
        train([goal], partial(draw_regions, labels, sampling, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        return adapted(FewShotLearner(network, knowledge), task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _loss(self, network: "AnomalyNetwork", episode: Episode, done: float) -> Mapping[str, Tensor]:
        """Of the query, of the support after what was found in the query, and T / 20: the structure is to be small."""
        support, query = encode_both(network.encoder, episode.support, episode.query)
        logit = network.segment(support, episode.masks, query)
        terms = {
            "query": binary_cross_entropy(logit, episode.truth, episode.known, self.background_weight),
            "threshold": self.threshold_weight * network.threshold / COSINE_SCALE,
        }
        if self.alignment:
            found = alignment_loss(network.segment, support, episode.masks, query, logit)
            terms["alignment"] = self.alignment * found
        return terms

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int) -> "AnomalyNetwork":
        return AnomalyNetwork(channels, self.features, depth=self.depth, width=self.width, threshold=self.threshold)

    def _schedule(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(self.decay, self.decay_every, self.steps)


class AnomalyNetwork(nn.Module):
    """A few-shot network that knows one prototype, and how far from it the structure ends.

    Args:
        channels: of the image.
        features: length of the vectors that are compared.
        depth: of the ResNet.
        width: by which its published widths are multiplied.
        threshold: T before training.
    """

    def __init__(
        self, channels: int, features: int = 256, *, depth: Depth = 101, width: float = 1.0, threshold: float = -10.0
    ) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(channels, features, depth=depth, width=width)
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        examples, features = encode_both(self.encoder, support, query)
        return self.segment(examples, masks, features)

    def features(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        """What is compared: of single images, at an eighth of their size."""
        cells: Tensor = self.encoder(image)
        return cells

    def segment(
        self,
        support: Float[Tensor, "n k e h w"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m e h w"],
    ) -> Float[Tensor, "m i j"]:
        """The logit ½ (T − S) from features, at the size of the masks."""
        anomaly = -COSINE_SCALE * cosines(query, average_of_shots(support, masks)[:, None])
        logit = STEEPNESS * (self.threshold.float() - anomaly)
        return enlarged(logit, (masks.shape[2], masks.shape[3]))[:, 0]
