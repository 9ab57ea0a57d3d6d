"""LT-Net: label transfer from one atlas by reversible voxel-wise correspondence (Wang et al., CVPR 2020).

Read from here: ``lowshot.nn.displacement_unet`` is the generator and ``lowshot.nn.patch_critic`` the critic,
``objective.py`` the losses, ``batches.py`` the data, ``model.py`` what comes out, and ``fit`` below the loop. This
folder's README maps the paper's equations to functions and lists our deviations. VoxelMorph is the same with two
losses.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch.optim import Adam

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.intensity import refuse_below_0
from lowshot.imaging.preparation import Preparation
from lowshot.inference.atlas_model import atlas_problems, prepare_atlases
from lowshot.methods.lt_net.batches import atlas_pair, one_hot, pool_on_grid, share_outside
from lowshot.methods.lt_net.model import AtlasTransfer, RefineOptions
from lowshot.methods.lt_net.objective import Generators, Weights, critic_loss, generator_loss
from lowshot.nn.displacement_unet import DisplacementUNet
from lowshot.nn.geometry import Triple
from lowshot.nn.patch_critic import PatchCritic, smallest
from lowshot.registration.fields import Spacing
from lowshot.registration.sampling import onto_grid
from lowshot.registration.working_grid import working_grid
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run

POSITIVE = (
    *("window", "labels_per_step", "steps", "learning_rate", "critic_learning_rate"),
    *("spacing", "shape", "encoder", "critic_widths"),
)
TERMS = (
    *("similarity", "smoothness", "adversarial", "image_cycle"),
    *("transformation_cycle", "anatomy_cycle", "anatomy_difference"),
)
CLOSING = ("cycle_pull", "cycle_warmup", "composed", "penalise_length")
MOST_LEVELS, MOST_VOXELS = 8, 1024**3
LARGEST_GRADIENT = 10.0
"""Of the generators, in length; ours. Ordinary ones have a length about 1. Now and then one of a cycle has 100 or more,
and without a bound such steps folded everything for good, in one training of some thirty (the paper is silent)."""


@dataclass(frozen=True, kw_only=True)
class LTNet:
    """Defaults are the published settings for CANDI, but for ``composed``; each says where it comes from: paper, code
    or ours.
    """

    # What the networks see
    intensity: str = "percentiles"  # ours: 0.5 to 99.5 %, the paper is silent
    affine: bool = False  # ours: the paper describes no such step; without, bodies are laid centre upon centre
    spacing: Spacing | None = None  # ours: None is the atlas's own
    shape: Triple | None = (160, 128, 160)  # paper: voxels; 128 are CANDI's coronal slices (ours). None: whole body

    # Generators and critic
    encoder: tuple[int, ...] = (16, 32, 32, 32)  # code: channels on the way down; the paper names no variant
    decoder: tuple[tuple[int, ...], ...] = ((32,), (32,), (32,), (32, 32), (32, 16, 16))  # code: and on the way up
    critic_widths: tuple[int, ...] = (64, 128, 256, 512)  # paper: PatchGAN

    # Weights of the losses; 0 switches a term off, and with the last four there is no backward generator
    similarity: float = 1.0  # paper: weight of local NCC
    smoothness: float = 3.0  # paper: weight of the field's smoothness
    adversarial: float = 1.0  # paper: weight of the critic's verdict on the warped atlas
    image_cycle: float = 10.0  # paper: weight of the atlas's image, there and back
    transformation_cycle: float = 3.0  # paper: weight of the two fields cancelling each other
    anatomy_cycle: float = 3.0  # paper: weight of the atlas's labels, there and back
    anatomy_difference: float = 3.0  # paper: weight of the difference that the way back undoes
    cycle_pull: float = 1.0  # ours: how much of the last four's gradient reaches the forward generator
    cycle_warmup: float = 0.0  # ours: part of the training over which that grows from nothing
    composed: bool = True  # ours: fields are composed; the presets ``paper`` say False: what was warped is warped again
    penalise_length: bool = False  # ours: in L_trans each component is penalised; Eq. 8 does not say
    window: int = 9  # paper: voxels along the side of local NCC's window
    labels_per_step: int | None = None  # ours: structures drawn for each step; None is all

    # Training
    steps: int = 20_000  # ours: the paper is silent
    learning_rate: float = 2e-4  # paper: at the start, of the generators
    critic_learning_rate: float = 2e-4  # paper: the same of the critic
    critic_momentum: float = 0.5  # ours: the paper is silent

    Options: ClassVar[type] = RefineOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_below_0(self.intensity)
        refuse_out_of_range(
            self, positive=POSITIVE, not_negative=(*TERMS, "cycle_pull", "cycle_warmup", "critic_momentum")
        )
        if self.critic_momentum >= 1:
            raise SettingsError(f"critic_momentum: expected less than 1, got {self.critic_momentum}")
        if self.window % 2 == 0:
            raise SettingsError(f"window: expected an odd number of voxels, got {self.window}")
        if not 1 <= len(self.encoder) <= MOST_LEVELS or not 1 <= len(self.decoder) <= len(self.encoder) + 1:
            raise SettingsError(
                f"encoder and decoder: expected 1 to {MOST_LEVELS} widths and at most one list more, got "
                f"{len(self.encoder)} and {len(self.decoder)}"
            )
        if any(not widths or min(widths) < 1 for widths in self.decoder):
            raise SettingsError(f"decoder: expected lists of positive widths, got {self.decoder}")
        if self.shape is not None and any(size % self._multiple for size in self.shape):
            raise SettingsError(f"shape: expected multiples of {self._multiple}, got {self.shape}")
        if self.adversarial and not self.critic_widths:
            raise SettingsError("critic_widths: expected one or more, for a critic (adversarial above 0), got none")
        if self.adversarial and self.shape is not None and min(self.shape) < smallest(self.critic_widths):
            raise SettingsError(
                f"shape: expected at least {smallest(self.critic_widths)} voxels along each axis for a critic of "
                f"{len(self.critic_widths)} widths, got {self.shape}"
            )
        if self.shape is not None and math.prod(self.shape) > MOST_VOXELS:
            raise SettingsError(f"shape: expected at most {MOST_VOXELS:,} voxels, got {self.shape}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs one atlas, annotated everywhere, and a pool of scans without labels."""
        found = atlas_problems(task, most=1)
        if not len(task.unlabelled):
            found.append(
                "learns from scans without labels; give some with --unlabelled: such as those to be segmented "
                "(transductive: it has then seen them), or others of their kind"
            )
        if any(1 in labelled.scan.grid.shape for labelled in task.support):
            found.append("works on volumes; a picture has one slice")
        return found

    def fit(self, task: LowShotTask, run: Run) -> AtlasTransfer:
        """Train both generators, and a critic against them, on pairs of the atlas and a scan of the pool."""
        preparation = self._preparation()
        (atlas,) = prepare_atlases(task.support, preparation, run.progress)
        with run.seeded("weights"):
            forward, backward, critic = self._networks(len(task.channels))
        least = 1 if critic is None else critic.smallest
        grid = working_grid(atlas.picture, self.spacing, self.shape, self._multiple, least)
        lost = share_outside(atlas, grid)
        if lost:
            run.progress.warn(f"{atlas.picture.name}: {lost:.0%} of what is annotated lies beyond the setting 'shape'")
        pool = pool_on_grid(task, preparation, atlas.picture, grid, self.affine, run).to(run.device)
        image = onto_grid(atlas.picture.voxels, atlas.picture.grid, grid).to(run.device)
        labels = one_hot(atlas, grid, len(task.names)).to(run.device) if self._weights.needs_labels else None
        generators = Generators(forward, backward)
        goals = [
            Goal(
                partial(generator_loss, generators, critic, self._weights, self.window),
                generators,
                Adam(generators.parameters(), self.learning_rate),
                clip_norm=LARGEST_GRADIENT,
                name="generators",
            )
        ]
        if critic is not None:
            betas = (self.critic_momentum, 0.999)
            optimiser = Adam(critic.parameters(), self.critic_learning_rate, betas)
            goals.append(Goal(partial(critic_loss, critic), critic, optimiser, name="critic"))
        batch = partial(atlas_pair, image, labels, pool, grid.spacing, self.labels_per_step)
        train(goals, batch, steps=self.steps, run=run)
        return AtlasTransfer(task.names, task.channels, preparation, (atlas,), forward, grid, self.affine)

    def restore(self, state: State) -> AtlasTransfer:
        """The forward generator alone is kept: the others only teach it."""
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = self._generator(len(state.header["channels"]))
        return AtlasTransfer.restore(network, self.affine, state)

    @property
    def _weights(self) -> Weights:
        return Weights(**{name: getattr(self, name) for name in (*TERMS, *CLOSING)})

    @property
    def _multiple(self) -> int:
        return 1 << len(self.encoder)

    def _preparation(self) -> Preparation:
        return Preparation("RAS", None, "foreground", self.intensity)

    def _generator(self, channels: int) -> DisplacementUNet:
        return DisplacementUNet(channels, encoder=self.encoder, decoder=self.decoder)

    def _networks(self, channels: int) -> tuple[DisplacementUNet, DisplacementUNet | None, PatchCritic | None]:
        forward = self._generator(channels)
        backward = self._generator(channels) if self._weights.cycle else None
        return forward, backward, PatchCritic(channels, self.critic_widths) if self.adversarial else None
