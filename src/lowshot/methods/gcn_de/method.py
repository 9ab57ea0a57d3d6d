"""GCN-DE: few-shot segmentation by global correlation and a discriminative embedding. Settings, fit and restore.

Read from here: ``network.py`` and ``lowshot.nn.global_correlation`` are the model, ``objective.py`` the loss,
``lowshot.fewshot.episodes`` the data. This folder's README maps the paper's equations to functions and lists our
deviations.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from lowshot.contract import State
from lowshot.fewshot.base_slices import Base, problems_of_base, read_base
from lowshot.fewshot.episodes import Sampling, Shown, draw_pairs
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.methods.gcn_de.network import MULTIPLE, EmbeddingStage, GCNDENetwork
from lowshot.methods.gcn_de.objective import Distance, Embedding, Form, gcn_de_loss
from lowshot.nn.global_correlation import Pooled
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = ("least_voxels", "least_pixels", "size", "width", "partitions", "pairs", "steps", "learning_rate")
NOT_NEGATIVE = ("embedding_weight", "weight_decay")
SHARES = ("least_share", "region_share", "momentum")


@dataclass(frozen=True, kw_only=True)
class GCNDE:
    """Defaults are the published settings for MRI; each says where it comes from (paper, code, ours)."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # code: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "percentiles"  # paper: [0, 1] per volume (ours: without the outermost 0.5 %)

    # Network
    width: float = 1.0  # code: times as many channels as published
    correlation: bool = True  # paper: global correlation (GC), its switch; off, gates take its place
    partitions: int = 4  # paper: P, blocks along either side
    pooled: Pooled = "large"  # ours: the code does it always, Eq. 2 never
    output_norm: bool = True  # code: BatchNorm of the logits, whose range has to be learned slowly
    weights: str | None = None
    """File with ResNet-18's weights as torchvision saves them (.pth, .safetensors), for both arms; None: random."""

    # Loss
    embedding_weight: float = 1.0  # paper: λ; 0 switches the discriminative embedding off
    embedding_stage: EmbeddingStage = 8  # ours: the paper's "backend"; 4 is the code's
    embedding_distance: Distance = "rms"  # ours: between a pixel's embedding and the means; "l1" is the code's
    embedding_form: Form = "hinge"  # paper: of its two terms; "softplus" is the code's

    # What is in a batch
    pairs: int = 2  # code: of slices; each is one task for every structure that they show
    least_share: float = 0.005  # paper: of a slice, that a structure has to cover to be asked for
    augmentation: Level = "none"  # ours: the paper is silent
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # paper: of all weights
    schedule: Literal["constant", "cosine"] = "constant"  # paper: how the learning rate falls
    steps: int = 625  # paper: 25 epochs of 25 for MRI, 40 for CT
    learning_rate: float = 1e-2  # paper: at the start
    momentum: float = 0.99  # code: SGD's; AdamW has its own
    weight_decay: float = 1e-4  # code: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        # Blocks are cut from maps of a half and of a fourth of the size.
        multiple = math.lcm(MULTIPLE, 4 * self.partitions) if self.correlation else MULTIPLE
        refuse_plane(self.size, multiple, least=1 if multiple > MULTIPLE else 2)  # of one cell a norm learns nothing
        refuse_width(self.width)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base."""
        return [*problems_of_base(task), *problems_of_weights(self.weights, "ResNet-18")]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Learn from pairs of slices of the base that show the same structures."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.query.backbone, Path(self.weights), run.progress)
            network.support.backbone.load_state_dict(network.query.backbone.state_dict())
        goal = Goal(
            partial(gcn_de_loss, network, self._embedding), network, optimiser_of(self, network), self._schedule
        )
        train([goal], self._draw(base, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, base: Base, run: Run) -> Draw:
        """Pairs of slices that show the same structures; in a share of the steps, pairs that show one supervoxel."""
        sampling = Sampling(tasks=self.pairs, augmentation=augmentation_of(self.augmentation, self.intensity))
        shown = Shown.of(base, self.least_share, run.progress)
        if self._embedding.weight and not bool((shown.shown.sum(dim=1) > 1).any()):
            run.progress.warn(
                "no slice of the base shows two structures, so the discriminative embedding has nothing to tell apart "
                "and its loss is zero; give scans in which more is annotated"
            )
        annotated = partial(draw_pairs, shown, sampling, run)
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        return regions.beside(annotated, sampling, base, run)

    def _network(self, channels: int) -> GCNDENetwork:
        return GCNDENetwork(
            channels,
            width=self.width,
            correlation=self.correlation,
            partitions=self.partitions,
            pooled=self.pooled,
            output_norm=self.output_norm,
        )

    @property
    def _embedding(self) -> Embedding:
        return Embedding(self.embedding_weight, self.embedding_stage, self.embedding_distance, self.embedding_form)

    @property
    def _schedule(self) -> Schedule:
        return cosine(warmup=0.05) if self.schedule == "cosine" else constant
