"""ELNet: organs segmented from one annotated slice, by synthesis and contrast (also printed as ELSNet).

Read from here: ``lowshot.nn.mt_unet`` is the network, ``objective.py`` the losses, ``batches.py`` and
``lowshot.transforms.synthesis`` the data, and ``fit`` below the two stages. This folder's README maps the paper's
equations to functions and lists our deviations. U-Net and MT-UNet from the exemplar alone are the same with parts
switched off.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.intensity import centre_and_deviation
from lowshot.imaging.preparation import Preparation
from lowshot.inference.header import Header
from lowshot.inference.slice_model import SliceModel, SliceOptions
from lowshot.methods.elnet.batches import (
    Drawing,
    Sources,
    draw,
    following_slices,
    pseudo_labels,
    synthetic,
    varied_exemplars,
)
from lowshot.methods.elnet.objective import Weights, elnet_loss
from lowshot.nn.mt_unet import MTUNet
from lowshot.nn.planar_unet import PlanarUNet
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import polynomial
from lowshot.training.teacher import MeanTeacher
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import (
    Slices,
    annotated_and_pool,
    has_pool,
    problems_of_slices,
    refuse_plane,
    unlabelled,
)
from lowshot.transforms.support import annotated_structures
from lowshot.transforms.synthesis import INTENSITY, SPATIAL, Synthesis, backgrounds_of

Pair = tuple[int, int]
NetworkName = Literal["mt-unet", "unet"]
POSITIVE = ("size", "stem", "widths", "exemplars", "temperature", "steps", "learning_rate", "taught_rate")
NOT_NEGATIVE = (
    *("exemplar_loss", "synthetic_loss", "pseudo_loss", "contrast", "second_contrast", "weight_decay"),
    *("turns", "synthetic", "pseudo_labelled", "rounds", "level", "neighbours", "swellings"),
)
SHARES = (
    *("dice_share", "black_backgrounds", "own_backgrounds", "confidence", "background_confidence"),
    *("teacher_momentum", "first_share", "looks"),
)
MOST_LEVELS, TOKEN_MULTIPLE = 8, 8


@dataclass(frozen=True, kw_only=True)
class ELNet:
    """Defaults are the published settings; each says where it comes from (paper, code, ours)."""

    # What the network sees
    size: Pair = (224, 224)  # paper: pixels to which every slice is stretched
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "foreground-zscore"  # ours; the paper's window for CT: window:-125:275

    # Network
    network: NetworkName = "mt-unet"  # paper: which one segments
    stem: tuple[int, ...] = (64, 128, 256)  # code: channels of its convolutions (MT-UNet); U-Net has no stem
    widths: tuple[int, ...] = (256, 512, 1024)  # code: channels of its transformers (MT-UNet)

    # Exemplar-guided synthesis (ESM)
    exemplar_intensity: bool = True  # paper: a switch of its ablation; grey values of what is cut out are changed
    exemplar_geometry: bool = True  # paper: the same of its shape
    background_intensity: bool = True  # paper: the same of the background's grey values
    background_geometry: bool = True  # paper: the same of the background's shape
    black_backgrounds: float = 0.5  # ours: share of black ones; the others are the first and last slices of the pool
    turns: float = 25.0  # ours: degrees to which structures and backgrounds are turned, either way
    own_backgrounds: float = 0.0  # ours: share of the exemplar's own slice, its structures filled in from around

    # Weights of the losses; 0 switches a term off
    exemplar_loss: float = 1.0  # paper: weight of the exemplar's own loss
    synthetic_loss: float = 1.0  # ours: λ_s, the paper is silent
    pseudo_loss: float = 1.0  # ours: λ_u; without it there is no second stage
    contrast: float = 0.1  # ours: λ_c in the first stage (PCEM)
    second_contrast: float = 0.1  # ours: λ_c in the second
    dice_share: float = 0.5  # code (MT-UNet): half cross-entropy, half Dice
    temperature: float = 0.07  # ours: by which similarities are divided in PCEM
    level: int = 0  # ours: prototypes at the bottleneck; 1 is the next finer map of the encoder

    # What is in a batch
    exemplars: int = 2  # ours: the paper says 12 in all
    synthetic: int = 10  # ours: slices; in the second stage those above 12 make room
    pseudo_labelled: int = 5  # ours: slices of the pool, in the second stage
    augmentation: Level = "turns"  # paper: rotation (and flips, which we leave out: organs have sides)
    synthetic_augmentation: Level = "none"  # ours: of finished synthetic slices
    looks: float = 0.0  # ours: share of exemplars, also of those cut out, that take grey values of a slice of the pool

    # Beyond the paper
    swellings: int = 0  # ours: times that a structure of an exemplar, also of one cut out, changes its size
    confidence: float = 0.0  # ours: least probability of a pseudo-label that is learned from
    background_confidence: float = 0.0  # ours: the same of background, where that is more
    one_piece: bool = False  # ours: of a structure that a teacher finds in a slice, only the largest piece counts
    teacher: bool = False  # ours: pseudo-labels come from a mean teacher, anew in every step
    teacher_momentum: float = 0.99  # ours: share of itself that the teacher keeps in a step
    neighbours: float = 0.0  # ours: weight of neighbouring slices of the pool being labelled alike
    rounds: int = 1  # ours: of pseudo-labels and a network that learns from them
    first_share: float = 0.5  # ours: part of the training that the first network gets
    allow_missing: bool = False  # ours: whether the exemplar may lack a structure, which is then never found

    # Training
    steps: int = 20_000  # ours: of all stages together; the paper is silent
    learning_rate: float = 1e-4  # paper: at the start
    taught_rate: float = 1.0  # ours: times that where a teacher goes on with the first network
    weight_decay: float = 1e-4  # paper: pull of weights towards 0

    Options: ClassVar[type] = SliceOptions

    def __post_init__(self) -> None:
        self._preparation()
        _ = self._synthesis  # refuses shares of more than 1 together
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        if not (self.exemplar_loss or (self.synthetic and self.synthetic_loss) or self.contrast):
            raise SettingsError(
                "exemplar_loss, synthetic_loss and contrast: expected one above 0, for the first network to learn from"
            )
        if self.two_stages and not 0 < self.first_share < 1:
            raise SettingsError(f"first_share: both stages need a part of the training, got {self.first_share}")
        if self.one_piece and not self.teacher:
            raise SettingsError("one_piece: is about what a teacher finds in a slice; needs teacher=true")
        if self.two_stages and self.pseudo_labelled >= self.exemplars + self.synthetic:
            raise SettingsError(
                f"pseudo_labelled: takes the place of other slices, so less than exemplars and synthetic together "
                f"({self.exemplars + self.synthetic}), got {self.pseudo_labelled}"
            )
        self._refuse_networks_out_of_range()

    def _refuse_networks_out_of_range(self) -> None:
        if not 2 <= len(self.widths) <= MOST_LEVELS or not 1 <= len(self.stem) <= MOST_LEVELS:
            raise SettingsError(f"widths, stem: expected 2 and up to {MOST_LEVELS}, got {self.widths} and {self.stem}")
        halvings = len(self.widths) - 1 if self.network == "unet" else len(self.stem)
        refuse_plane(self.size, 1 << halvings, least=2 if self.exemplars + self.synthetic == 1 else 1)
        if self.network != "unet" and any(width % TOKEN_MULTIPLE for width in self.widths):
            raise SettingsError(f"widths: expected multiples of {TOKEN_MULTIPLE} for tokens, got {self.widths}")
        if self.level >= len(self.widths):
            raise SettingsError(f"level: expected less than {len(self.widths)}, got {self.level}")

    @property
    def two_stages(self) -> bool:
        """Whether a network learns from what another one made of the pool."""
        return bool(self.pseudo_loss and self.pseudo_labelled and self.rounds)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs every structure in the annotated slices and, for the second stage, a pool."""
        if not task.support:
            return ["ELNet learns from an annotated slice; give at least one"]
        if across := problems_of_slices(task.support):
            return across
        found = []
        seen = annotated_structures(task.support, task.names)
        missing = [name for name in task.names.foreground if name not in seen]
        if missing and not self.allow_missing:
            found.append(
                f"nothing annotated shows {', '.join(missing)}, so that could never be found; annotate a slice that "
                "does, or go on without (--allow-missing)"
            )
        if task.names.names[0] not in seen:
            found.append("nothing annotated is background, so there is nothing to tell structures from")
        if self.two_stages and not has_pool(task):
            found.append(
                "learns from slices without labels, too: give scans with --unlabelled, such as those to be segmented "
                "(or switch the second stage off: --set pseudo_loss=0)"
            )
        return found

    def fit(self, task: LowShotTask, run: Run) -> SliceModel:
        """Train a network on the exemplars and slices made from them, then one on its labels of the pool as well."""
        sources, pool = self._sources(task, run)
        make = partial(self._network, len(task.channels), len(task.names))
        share = self.first_share if self.two_stages else 1.0
        network = self._learn("first network", share, make, self._weights(self.contrast), sources, run)
        for n in range(self.rounds if self.two_stages else 0):
            network = self._second(n, network, make, pool, sources, run)
        return SliceModel(network, task.names, task.channels, self._preparation())

    def samples(self, task: LowShotTask, run: Run) -> Slices:
        """Synthetic slices, as many as are in a batch of the first stage; where none are made, its varied exemplars."""
        sources, _ = self._sources(task, run)
        drawing = self._drawing(self._weights(self.contrast), sources)
        make = synthetic if drawing.synthetic else varied_exemplars
        return make(sources, drawing, run.generator("samples"))

    def _sources(self, task: LowShotTask, run: Run) -> tuple[Sources, Float[Tensor, "n c i j"]]:
        """What the first stage draws from, and the pool."""
        exemplars, stacks = annotated_and_pool(
            task,
            self._preparation(),
            needs_pool=self.two_stages,
            allow_missing=self.allow_missing,
            progress=run.progress,
        )
        backgrounds = backgrounds_of(stacks, exemplars)
        if self.synthetic and not len(backgrounds) and self.black_backgrounds + self.own_backgrounds < 1:
            run.progress.note("no slice at the end of a scan of the pool to paste structures on: on black ones instead")
        following = following_slices([len(stack) for stack in stacks])
        pool = torch.cat([exemplars.image[:0], *stacks])
        device = run.device
        looks = pool if self.looks else pool[:0]  # a copy on a GPU that is looked at by nothing else
        sources = Sources(exemplars.on(device), backgrounds.to(device), looks.to(device), following=following)
        return sources, pool

    def _second(
        self,
        number: int,
        network: nn.Module,
        make: Callable[[], nn.Module],
        pool: Float[Tensor, "n c i j"],
        sources: Sources,
        run: Run,
    ) -> nn.Module:
        """A fresh network that learns from the other one's labels of the pool, or the same with a teacher."""
        stage, share = f"network {number + 2}", (1 - self.first_share) / self.rounds
        if self.teacher:
            seen, begin = unlabelled(pool), lambda: network
        else:
            find = partial(pseudo_labels, network, pool, self.confidence, self.background_confidence, run)
            seen, begin = Slices(pool, **run.stage(f"labels for {stage}", {"number": number}, find)), make
        taught = replace(sources, pool=seen.on(run.device))
        return self._learn(stage, share, begin, self._weights(self.second_contrast), taught, run)

    def restore(self, state: State) -> SliceModel:
        """The last network alone is kept."""
        header = Header.from_json(state.header)
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = self._network(len(header.channels), len(header.names))
        return SliceModel.restore(network, state)

    def _learn(
        self, stage: str, share: float, make: Callable[[], nn.Module], weights: Weights, sources: Sources, run: Run
    ) -> nn.Module:
        """One network's training; where a mean teacher labels the pool for it, the teacher is what comes out."""
        with run.seeded(stage):
            network = run.place(make()).requires_grad_(True)  # a teacher of an earlier round learns again
        teacher = MeanTeacher(network, self.teacher_momentum) if self.teacher and sources.pool is not None else None
        goal = Goal(
            partial(elnet_loss, network, weights, None if teacher is None else teacher.network),
            network,
            AdamW(
                network.parameters(),
                self.learning_rate * (1.0 if teacher is None else self.taught_rate),
                weight_decay=self.weight_decay,
            ),
            polynomial(0.9),
        )
        train(
            [goal],
            partial(draw, sources, self._drawing(weights, sources), run),
            steps=max(1, round(share * self.steps)),
            run=run,
            stage=stage,
            share=share,
            state={} if teacher is None else {"teacher": teacher.network},
            after_step=None if teacher is None else teacher.follow,
        )
        return network if teacher is None else teacher.network

    def _weights(self, contrast: float) -> Weights:
        return Weights(
            exemplar=self.exemplar_loss,
            synthetic=self.synthetic_loss,
            pseudo_labelled=self.pseudo_loss,
            contrast=contrast,
            dice_share=self.dice_share,
            temperature=self.temperature,
            level=self.level,
            confidence=self.confidence,
            background_confidence=self.background_confidence,
            one_piece=self.one_piece,
            neighbours=self.neighbours,
        )

    def _drawing(self, weights: Weights, sources: Sources) -> Drawing:
        """Twelve slices, say: without synthetic ones all are exemplars; pseudo-labelled ones take the synthetic's."""
        pseudo = 0 if sources.pool is None else self.pseudo_labelled
        synthetic = max(0, self.synthetic - pseudo) if weights.synthetic else 0
        exemplars = self.exemplars + self.synthetic - (pseudo + synthetic)
        return Drawing(
            exemplars,
            synthetic,
            pseudo,
            self._synthesis,
            augmentation_of(self.augmentation, self.intensity),
            neighbours=weights.neighbours > 0,
            looks=self.looks,
            swellings=self.swellings,
            synthetic_augmentation=augmentation_of(self.synthetic_augmentation, self.intensity),
        )

    @property
    def _synthesis(self) -> Synthesis:
        return Synthesis(
            exemplar_intensity=self.exemplar_intensity,
            exemplar_geometry=self.exemplar_geometry,
            background_intensity=self.background_intensity,
            background_geometry=self.background_geometry,
            black=self.black_backgrounds,
            own=self.own_backgrounds,
            spatial=replace(SPATIAL, rotation_degrees=self.turns),
            intensity=INTENSITY.about(*centre_and_deviation(self.intensity)),
        )

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _network(self, channels: int, classes: int) -> nn.Module:
        if self.network == "unet":
            return PlanarUNet(channels, classes, widths=self.widths)
        return MTUNet(channels, classes, stem=self.stem, widths=self.widths, size=self.size)
