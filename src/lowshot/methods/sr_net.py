"""SRNet: self-reference and contrast of prototypes, in plain form: its ideas by name, for nothing of it is public.

A structure's and the background's prototypes are means of the support's cells, and the query is compared with both by
cosine. *Self-reference* comes twice. The query's own cells of which this comparison is confident give prototypes of
their own, with which the query is compared again: they have its grey values, not the support's. And the support has to
be segmented by its own prototypes, too. *Contrast* draws each label's prototypes in support and query together and away
from those of the other label (InfoNCE).

Ours is all of this form: which cells are confident, that the two comparisons are averaged, the losses' weights. Encoder
and training of the preset "paper" are SSL-ALPNet's. Several shots: their prototypes are averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.fewshot.base_slices import Base, problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.dilated_encoder import STRIDE, DilatedEncoder
from lowshot.nn.prototypes import COSINE_SCALE, average_of_shots, cosines, enlarged, masked_average, prototype_logit
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
    *("size", "width", "features", "temperature", "tasks", "least_voxels", "least_pixels", "steps", "learning_rate"),
    "decay_every",
)
SHARES = ("self_reference", "confidence", "background_weight", "least_share", "region_share", "momentum", "decay")
NOT_NEGATIVE = ("support_reference", "contrast", "weight_decay")


@dataclass(frozen=True, kw_only=True)
class SRNet:
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

    # Self-reference
    self_reference: float = 0.5  # ours: what the comparison with the query's own prototypes counts; the rest: the first
    confidence: float = 0.7  # ours: probability from which on a cell of the query is one of its own prototype's

    # Loss
    background_weight: float = 0.1  # ours: ADNet's
    support_reference: float = 1.0  # ours: weight of the support, segmented by its own prototypes
    contrast: float = 0.1  # ours: weight of the contrastive loss
    temperature: float = 0.1  # ours: by which similarities are divided in the contrastive loss

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

    def _loss(self, network: "SelfReferringNetwork", episode: Episode, done: float) -> Mapping[str, Tensor]:
        """Of the query, of the support by its own prototypes, and of the distance between labels."""
        support, query = encode_both(network.encoder, episode.support, episode.query)
        logit = network.segment(support, episode.masks, query)
        terms = {"query": binary_cross_entropy(logit, episode.truth, episode.known, self.background_weight)}
        if self.support_reference:
            terms["support"] = self.support_reference * self._own(support, episode.masks)
        if self.contrast:
            labels = torch.stack([1 - episode.truth, episode.truth], dim=1) * episode.known[:, None]
            shown = torch.stack([1 - episode.masks, episode.masks], dim=1).flatten(3).any(dim=3).any(dim=2)
            apart = contrast(
                both_prototypes(support, episode.masks),
                torch.stack([masked_average(query, label) for label in labels.unbind(dim=1)], dim=1),
                (shown & labels.flatten(2).any(dim=2)).all(dim=1),
                self.temperature,
            )
            terms["contrast"] = self.contrast * apart
        return terms

    def _own(self, support: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"]) -> Float[Tensor, ""]:
        """Cross-entropy of the support images, each segmented by the prototypes of all shots."""
        shots = masks.shape[1]
        examples, truths = (each.repeat_interleave(shots, dim=0) for each in (support, masks))
        logit = prototype_logit(examples, truths, support.flatten(0, 1))
        truth = masks.flatten(0, 1)
        return binary_cross_entropy(logit, truth, torch.ones_like(truth, dtype=torch.bool), self.background_weight)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, base: Base, run: Run) -> Draw:
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        sampling = Sampling(self.tasks, 1, augmentation_of(self.augmentation, self.intensity))
        return regions.beside_structures(Shown.of(base, self.least_share, run.progress), sampling, run)

    def _network(self, channels: int) -> "SelfReferringNetwork":
        return SelfReferringNetwork(
            channels,
            self.features,
            depth=self.depth,
            width=self.width,
            self_reference=self.self_reference,
            confidence=self.confidence,
        )

    def _schedule(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(self.decay, self.decay_every, self.steps)


class SelfReferringNetwork(nn.Module):
    """A few-shot network that compares the query with the support's prototypes, and then with its own.

    Args:
        channels: of the image.
        features: length of the vectors that are compared.
        depth: of the ResNet.
        width: by which its published widths are multiplied.
        self_reference: share of the second comparison in the answer.
        confidence: probability from which on a cell of the query counts as one of a label.
    """

    def __init__(
        self,
        channels: int,
        features: int = 256,
        *,
        depth: Depth = 101,
        width: float = 1.0,
        self_reference: float = 0.5,
        confidence: float = 0.7,
    ) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(channels, features, depth=depth, width=width)
        self.self_reference, self.confidence = self_reference, confidence

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
        """The logit from features, at the size of the masks: the weighted mean of both comparisons."""
        given = both_prototypes(support, masks)
        first = compared(query, given)
        second = compared(query, own_prototypes(query, first, given, self.confidence))
        logit = (1 - self.self_reference) * first + self.self_reference * second
        return enlarged(logit[:, None], (masks.shape[2], masks.shape[3]))[:, 0]


def both_prototypes(support: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"]) -> Float[Tensor, "n 2 e"]:
    """Of background and structure."""
    return torch.stack([average_of_shots(support, 1 - masks), average_of_shots(support, masks)], dim=1)


def compared(query: Float[Tensor, "m e h w"], prototypes: Float[Tensor, "n 2 e"]) -> Float[Tensor, "m h w"]:
    """20 × the cosine with the structure's prototype minus that with the background's."""
    outside, inside = cosines(query, prototypes).unbind(dim=1)
    return COSINE_SCALE * (inside - outside)


def own_prototypes(
    query: Float[Tensor, "m e h w"],
    logit: Float[Tensor, "m h w"],
    given: Float[Tensor, "n 2 e"],
    confidence: float,
) -> Float[Tensor, "m 2 e"]:
    """The means of the query's cells of which the logit is confident, weighted by their probability.

    A label of which no cell is certain keeps the prototype that was given. No gradient goes through the weights.
    """
    inside = logit.detach().sigmoid()
    probability = torch.stack([1 - inside, inside], dim=1)
    weights = torch.where(probability >= confidence, probability, 0)
    own = torch.stack([masked_average(query, each) for each in weights.unbind(dim=1)], dim=1)
    return torch.where(weights.flatten(2).any(dim=2, keepdim=True), own, given)


def contrast(
    support: Float[Tensor, "n 2 e"], query: Float[Tensor, "n 2 e"], valid: Bool[Tensor, " n"], temperature: float
) -> Float[Tensor, ""]:
    """InfoNCE of cosines, in float32: each prototype with its label's in the other image, against the other label's.

    Args:
        support: prototypes of background and structure.
        query: likewise.
        valid: in which tasks all four exist; where there is none, the loss is 0.
        temperature: τ.
    """
    v = torch.cat([support, query], dim=1).float()
    found = cosines(v.mT[..., None], v)[..., 0] / temperature
    itself = torch.eye(4, dtype=torch.bool, device=v.device)
    to_partner = torch.stack([found[:, anchor, (anchor + 2) % 4] for anchor in range(4)], dim=1)
    terms = (found.masked_fill(itself, -torch.inf).logsumexp(dim=2) - to_partner).mean(dim=1)
    return terms.where(valid, 0).sum() / valid.sum().clamp_min(1)
