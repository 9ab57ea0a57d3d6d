"""APSCL: few-shot segmentation with anatomical priors and spatial contrast.

Read from here: ``network.py`` is the network, ``objective.py`` the losses, ``lowshot.fewshot.episodes`` the data, and
``fit`` below the training. This folder's README maps the paper's equations to functions and lists our deviations.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from lowshot.contract import State
from lowshot.fewshot.base_slices import problems_of_base, read_base
from lowshot.fewshot.episodes import Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.methods.apscl.network import (
    APSCLNetwork,
    FeatureEnhancement,
    LatentFactors,
    MutualGuidance,
    SpatialInteraction,
    Teaching,
)
from lowshot.methods.apscl.objective import Weights, apscl_loss
from lowshot.nn.dilated_encoder import STRIDE, DilatedEncoder
from lowshot.nn.resnet import Depth
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
    *("size", "width", "features", "factors", "pooled", "hidden", "enhancement_width", "interaction_width"),
    *("guidance_width", "temperature", "pairs", "shots", "steps", "learning_rate", "least_voxels"),
    "least_pixels",
)
NOT_NEGATIVE = ("divergence", "contrast", "weight_decay")
SHARES = ("momentum", "least_share", "posterior_share", "region_share")
DECAY, DECAYS_EVERY = 0.95, 1000


@dataclass(frozen=True, kw_only=True)
class APSCL:
    """Defaults are the published settings; each says where it comes from (paper, code of SSL-ALPNet, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # paper: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # code: how grey values are brought to one scale

    # Backbone
    depth: Depth = 101  # paper: layers of the ResNet
    width: float = 1.0  # paper: times as many channels as published
    features: int = 256  # paper: channels of the map that is compared
    weights: str | None = None
    """File with weights of a ResNet-101 as torchvision saves them, of its DeepLabV3 (paper) or of ImageNet; None:
    trained from random ones. The label encoder begins with them, too."""

    # Modules: the switches of the paper's Table 2; SCL is off with contrast = 0
    enhancement: bool = True  # paper: features enhanced by latent factors (FEM)
    guidance: bool = True  # paper: decoder that support and query guide mutually (MGD)

    # Latent factors and FEM
    factors: int = 32  # paper: latent ones, of prior and posterior
    pooled: int = 8  # ours: cells along each side of the map that the factors are read from
    hidden: tuple[int, int] = (512, 128)  # ours: units of the layers that read the factors
    enhancement_width: int = 128  # ours: channels within FEM
    posterior_share: float = 0.0  # ours: of images in training that FEM enhances by the labels' factors

    # SIM, SCL, MGD
    interaction_width: int = 128  # ours: channels within SIM
    temperature: float = 0.1  # ours: by which similarities are divided in SCL
    foreground_relevance: bool = False  # ours: relevance within the structure alone
    guidance_width: int = 256  # ours: channels within MGD
    guidance_softmax: bool = False  # ours: of the rows of MGD's A
    guidance_unit: bool = False  # ours: MGD's cells have length 1, so that A does not grow with them

    # Weights of the losses
    divergence: float = 0.1  # paper: λ_KL
    contrast: float = 0.07  # paper: λ_SCL; 0: no SCL, and no SIM

    # What is in an episode
    pairs: int = 2  # ours: the paper's one pair leaves SCL identically zero
    shots: int = 1  # paper: annotated slices in an episode
    least_share: float = 0.005  # ours (GCN-DE's): of a slice, that a structure covers to count as shown
    augmentation: Level = "none"  # ours: the paper names none
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["stepwise", "cosine"] = "stepwise"  # code: ×0.95 every 1000 steps
    steps: int = 100_000  # paper: of training
    learning_rate: float = 1e-3  # paper: at the start
    momentum: float = 0.9  # paper: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # paper: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        refuse_plane(self.size, STRIDE)
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base; weights from a file need a grey image, or three channels."""
        return [*problems_of_base(task), *problems_of_weights(self.weights, "a ResNet", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on episodes in which structures of the base play the part of the new one."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        shown = Shown.of(base, self.least_share, run.progress)
        if self.contrast and self.pairs == 1:
            run.progress.warn("with pairs=1 there is nothing to contrast a pair with, so SCL is zero; take 2 or 3")
        if self.contrast and len(shown.structures) == 1:
            run.progress.warn(
                f"{base.structures[shown.structures[0]]} alone can be asked for, so SCL has no other structure to "
                "contrast it with; switch it off with contrast=0, or give scans in which more is annotated"
            )
        with run.seeded("weights"):
            teaching = self._teaching(len(task.channels))
        for encoder in (teaching.network.encoder, teaching.label_encoder):
            if self.weights is not None and encoder is not None:
                take_weights(encoder.backbone, Path(self.weights), run.progress)
        goal = Goal(
            partial(apscl_loss, teaching, self._loss_weights), teaching, optimiser_of(self, teaching), self._decay
        )
        train([goal], self._draw(shown, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(teaching.network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """What only training needs is not kept."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, shown: Shown, run: Run) -> Draw:
        """Pairs of slices for some structures; in a share of the steps, pairs that show one supervoxel each."""
        sampling = Sampling(self.pairs, self.shots, augmentation_of(self.augmentation, self.intensity))
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        return regions.beside_structures(shown, sampling, run)

    def _network(self, channels: int) -> APSCLNetwork:
        on, f = self.enhancement, self.features
        return APSCLNetwork(
            self._encoder(channels),
            self._factors() if on else None,
            FeatureEnhancement(f, self.factors, self.enhancement_width) if on else None,
            self._mutual_guidance() if self.guidance else None,
        )

    def _teaching(self, channels: int) -> Teaching:
        on = self.enhancement and (self.divergence > 0 or self.posterior_share > 0)  # else nothing looks at labels so
        return Teaching(
            self._network(channels),
            self._encoder(1) if on else None,
            self._factors() if on else None,
            SpatialInteraction(self.features, self.interaction_width) if self.contrast else None,
        )

    def _encoder(self, channels: int) -> DilatedEncoder:
        return DilatedEncoder(channels, self.features, depth=self.depth, width=self.width)

    def _mutual_guidance(self) -> MutualGuidance:
        return MutualGuidance(
            self.features, self.guidance_width, softmax=self.guidance_softmax, unit=self.guidance_unit
        )

    def _factors(self) -> LatentFactors:
        return LatentFactors(self.features, self.factors, pooled=self.pooled, hidden=self.hidden)

    @property
    def _loss_weights(self) -> Weights:
        return Weights(
            divergence=self.divergence,
            contrast=self.contrast,
            temperature=self.temperature,
            posterior_share=self.posterior_share,
            foreground=self.foreground_relevance,
        )

    @property
    def _decay(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(DECAY, DECAYS_EVERY, self.steps)
