"""MRE-Net: one-shot segmentation by multi-scale embedding and deep metric learning. Settings, fit and restore.

Read from here: ``network.py`` is the model, ``objective.py`` the loss, ``lowshot.transforms.patches`` the data, and
``fit`` below the loop. This folder's README maps the paper's equations to functions and lists our deviations.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.inference.calibration import TILES, calibrate
from lowshot.inference.patch_model import PatchHeader, PatchModel, TileOptions
from lowshot.inference.voxelwise_model import VoxelwiseModel
from lowshot.methods.mre_net.network import Distance, Embedding, Mixing, PrototypeClassifier
from lowshot.methods.mre_net.objective import majority_classes, mined_loss
from lowshot.nn.geometry import Geometry, Triple, patch_for, strides_for
from lowshot.nn.luna_park import LunaParkUNet, Norm
from lowshot.nn.voxelwise import Planar, VoxelwiseNetwork
from lowshot.settings import numbers
from lowshot.task import LowShotTask
from lowshot.training.batch_statistics import LOOK, settle_batch_statistics
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import cosine, step_decay
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.patches import Patches, PatchSampling, Volume, sample_patches
from lowshot.transforms.support import class_counts, prepare_support
from lowshot.wording import listed

POSITIVE = [
    *("most_voxels", "patch_voxels", "batch", "convolutions", "strides", "level_width", "pyramid_width"),
    *("pyramid_rates", "pyramid_stride", "embedding_size", "modes", "mixer_width", "scale", "hard_multiple"),
    *("loss_share", "steps", "learning_rate", "clip_norm"),
]
NARROWEST = 4
MOST = {"convolutions": 100, "pyramid_rates": 1000, "pyramid_stride": 1000}
"""Beyond what any scan has use for: settings may come with a model file, and these do not show in the size of one."""
MOST_LEVELS = 10


@dataclass(frozen=True, kw_only=True)
class MRENet:
    """Multi-scale representation embedding with prototypes, from one to three annotated scans.

    Defaults are the published settings for MRBrainS18; each says where it comes from (paper, code, ours).
    """

    # What the network sees
    orientation: Literal["RAS"] | None = "RAS"  # ours: scans are turned to it; None leaves them
    spacing: tuple[float, float, float] | None = None  # ours: None is the annotated scan's own
    resize: Triple | None = None  # paper: BTCV and ultrasound; voxels to which the crop is stretched
    most_voxels: int | None = None  # ours: coarser spacing above this many voxels
    crop: Literal["none", "foreground"] | Triple = (216, 216, 48)  # paper: voxels around the body's centre
    intensity: str = "zscore"  # paper: how grey values are brought to one scale

    # Patches and tiles
    patch: Triple | None = (36, 36, 12)  # paper: voxels of an example; None follows from the scan and patch_voxels
    margin: Triple = (4, 4, 2)  # paper: voxels on either side of a patch that are seen and not segmented: 28×28×8 tiles
    patch_voxels: int = 64**3  # ours: about how many voxels a patch has that follows from the scan
    batch: int = 24  # paper: examples in a step
    balanced: float = 0.0  # ours: share of patches centred on a class drawn uniformly
    augmentation: Level = "none"  # paper: how much patches are changed at random; the paper calls it optional
    mirror: bool = False  # paper: patches are mirrored left to right, too; brain only

    # Backbone
    dimensions: Literal[2, 3] | None = 3  # paper: of convolutions, 2 for ultrasound; None follows from the scan
    widths: tuple[int, ...] = (64, 128, 256)  # paper: channels at each level of the U-Net
    convolutions: tuple[int, ...] = (3, 4, 5)  # paper: how many at each level
    strides: tuple[Triple, ...] | None = ((2, 2, 2), (2, 2, 1))  # paper: between levels; None follows from the scan
    norm: Norm = "batch"  # paper: normalisation of maps; the backbone's public code has affine-free instance norm

    # Attentional multi-scale embedding (AMS)
    attention: bool = True  # paper: of scales, voxel by voxel; off in rows a to c
    coordinates: bool = True  # paper: maps of position beside the features; off in rows a, b and g
    level_width: int | None = None  # ours: narrow the deep maps before they are brought to full size
    pyramid_width: int = 256  # ours: channels of the spatial pyramid; the paper is silent
    pyramid_rates: Triple = (6, 12, 18)  # paper: dilations of the spatial pyramid
    pyramid_stride: int = 1  # ours: of the maps that the spatial pyramid works on
    embedding_size: int = 2048  # paper: channels of the embedding, Ne

    # Deep metric learning (DML)
    metric_learning: bool = True  # paper: prototypes instead of a linear classifier; off in rows a and f
    modes: int = 3  # paper: prototypes of each class, M
    mixing: Mixing = "adaptive"  # paper: how a class's prototypes are weighed against each other
    mixer_width: int = 512  # paper: hidden units of what weighs them
    distance: Distance = "cosine"  # paper: between embedding and prototype
    scale: float = 10.0  # ours: initial ξ, by which similarities are multiplied

    # Loss
    mining: bool = True  # paper: hard examples alone count (OHEM); off in rows a to d
    mining_from: float = 0.0  # ours: part of the training after which mining begins
    majority: tuple[str, ...] | None = None  # paper: named per data set; None follows from the label counts
    hard_multiple: float = 6.0  # paper: voxels of majority classes for each of a minority one, N_Lg
    balance: float = 1.0  # paper: 1 counts every category alike, 0 every voxel

    loss_share: float = 1.0  # ours: part of the voxels that the loss looks at in each step

    # Training
    steps: int = 3000  # paper: of training
    learning_rate: float = 1e-3  # paper: at the start
    decay_at: tuple[float, ...] | None = (0.5,)  # paper: ×0.1 every 1500 iterations, that is once; None: cosine (ours)
    clip_norm: float | None = None  # ours: largest length of a gradient; None sets no limit
    settling_batches: int = 0  # ours: over which BatchNorm's statistics are taken anew at the end

    Options: ClassVar[type] = TileOptions

    def __post_init__(self) -> None:
        self._preparation()
        if not len(self.widths) == len(self.convolutions):
            raise SettingsError(f"widths and convolutions: {len(self.widths)} and {len(self.convolutions)} levels")
        if self.strides is not None and len(self.strides) != len(self.widths) - 1:
            raise SettingsError(f"strides: {len(self.widths)} levels need {len(self.widths) - 1}, got {self.strides}")
        if self.patch is not None and self.strides is not None:
            Geometry(self.dimensions or (2 if self.patch[2] == 1 else 3), self.strides, self.patch, self.margin)
        if len(self.widths) > MOST_LEVELS:
            raise SettingsError(f"widths: expected at most {MOST_LEVELS} levels, got {len(self.widths)}")
        if min(self.widths) < NARROWEST:
            raise SettingsError(
                f"widths: transition layers are a quarter as wide, so at least {NARROWEST}, got {self.widths}"
            )
        self._refuse_numbers_out_of_range()

    def _refuse_numbers_out_of_range(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if any(not each > 0 for each in numbers(value)):
                raise SettingsError(f"{name}: expected more than 0, got {value}")
        for name, most in MOST.items():
            if any(each > most for each in numbers(getattr(self, name))):
                raise SettingsError(f"{name}: expected at most {most}, got {getattr(self, name)}")
        for name in ("balanced", "loss_share", "decay_at", "mining_from"):
            if any(not 0 <= each <= 1 for each in numbers(getattr(self, name))):
                raise SettingsError(f"{name}: expected shares from 0 to 1, got {getattr(self, name)}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a support; names in the settings must be structures of the task."""
        found = []
        if not task.support:
            found.append("MRE-Net learns from annotated scans of the structures themselves; give at least one")
        unknown = set(self.majority or ()) - set(task.names.names)
        if unknown:
            found.append(f"majority names unknown structures: {', '.join(sorted(unknown))}")
        flat = self.resize is not None and self.resize[2] == 1
        deep = [each.scan.name for each in task.support if flat and each.scan.grid.shape[2] > 1]
        if deep:
            found.append(
                f"{listed(deep)}: is a volume, and resize would mix its slices into one, as these settings are for "
                "pictures; take another preset"
            )
        if self.mirror and task.mirror_pairs is None:
            found.append("mirroring needs to know which structures are left and right twins; turn mirror off")
        if self.mirror and self.orientation is None:
            found.append("mirroring needs to know where left is; set orientation to RAS, or turn mirror off")
        return found

    def fit(self, task: LowShotTask, run: Run) -> VoxelwiseModel:
        """Train on random patches of the annotated scans."""
        preparation, volumes = prepare_support(task.support, self._preparation(), self.most_voxels, run)
        geometry = self._geometry(volumes[0])
        with run.seeded("weights"):
            network = self._network(len(task.channels), len(task.names), geometry)
        spatial, intensity = augmentation_of(self.augmentation, self.intensity)
        mirror_pairs = task.mirror_pairs if self.mirror else None
        sampling = PatchSampling(geometry.patch, self.batch, self.balanced, spatial, intensity, mirror_pairs)
        goal = Goal(
            loss=partial(self._loss, network, self._majority(task.names, volumes)),
            module=network,
            optimiser=Adam(network.parameters(), self.learning_rate),
            schedule=cosine(warmup=0.05) if self.decay_at is None else step_decay(self.decay_at),
            clip_norm=self.clip_norm,
        )
        batch = partial(_batch, volumes, sampling, run)
        looks = self.settling_batches + TILES / self.batch
        train([goal], batch, steps=self.steps, run=run, afterwards=LOOK * looks)
        settle_batch_statistics(network, partial(_look, network, batch), self.settling_batches, run)
        calibration = calibrate(network, volumes, geometry, run)
        return VoxelwiseModel(network, task.names, task.channels, preparation, geometry, calibration)

    def restore(self, state: State) -> PatchModel:
        """The network's architecture follows from the settings and the stored geometry."""
        header = PatchHeader.from_json(state.header)
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = self._network(len(header.channels), len(header.names), header.geometry)
        return VoxelwiseModel.restore(network, state)

    def _preparation(self) -> Preparation:
        return Preparation(self.orientation, self.spacing, self.crop, self.intensity, self.resize)

    def _geometry(self, volume: Volume) -> Geometry:
        x, y, z = volume.labels.shape
        dimensions = self.dimensions or (2 if z == 1 else 3)
        seen = (x, y, 1 if dimensions == 2 else z)
        strides = self.strides or strides_for(volume.spacing, seen, len(self.widths))
        tile = (self.patch, self.margin) if self.patch else patch_for(volume.spacing, seen, self.patch_voxels, strides)
        geometry = Geometry(dimensions, strides, *tile)
        deepest = math.prod(geometry.patch) // math.prod(map(math.prod, strides))
        if deepest * (self.batch if self.norm == "batch" else 1) == 1:
            raise SettingsError(
                f"patch, strides: of patches of {geometry.patch} a single value is left at the deepest level, and a "
                "norm has nothing to learn of it; take larger patches or fewer levels"
            )
        return geometry

    def _network(self, channels: int, classes: int, geometry: Geometry) -> VoxelwiseNetwork:
        dimensions = geometry.dimensions
        backbone = LunaParkUNet(
            channels,
            widths=self.widths,
            convolutions=self.convolutions,
            strides=geometry.strides,
            norm=self.norm,
            dimensions=dimensions,
        )
        embedding = Embedding(
            backbone,
            attention=self.attention,
            coordinates=self.coordinates,
            level_width=self.level_width,
            pyramid_width=self.pyramid_width,
            pyramid_rates=self.pyramid_rates,
            stride=self.pyramid_stride,
            norm=self.norm,
            dimensions=dimensions,
        )
        return VoxelwiseNetwork(Planar(embedding) if dimensions == 2 else embedding, self._head(embedding, classes))

    def _head(self, embedding: Embedding, classes: int) -> nn.Module:
        if not self.metric_learning and not self.attention:
            return nn.Linear(embedding.outputs, classes)
        to_embedding = nn.Linear(embedding.outputs, self.embedding_size)
        if not self.metric_learning:
            return nn.Sequential(to_embedding, nn.Linear(self.embedding_size, classes))
        classifier = PrototypeClassifier(
            self.embedding_size,
            classes,
            modes=self.modes,
            mixing=self.mixing,
            distance=self.distance,
            scale=self.scale,
            hidden=self.mixer_width,
        )
        return nn.Sequential(to_embedding, classifier)

    def _majority(self, names: Names, volumes: Sequence[Volume]) -> tuple[int, ...] | None:
        if not self.mining:
            return None
        if self.majority is None:
            return majority_classes(class_counts(volumes, len(names)).tolist())
        return (0, *(names.index(name) for name in self.majority))

    def _loss(
        self, network: VoxelwiseNetwork, majority: tuple[int, ...] | None, batch: Patches, done: float
    ) -> Mapping[str, Tensor]:
        features = network.features(batch.image, batch.coordinates)
        loss = mined_loss(
            network.head,
            features,
            batch.labels,
            batch.known,
            majority=majority if done >= self.mining_from else None,
            multiple=self.hard_multiple,
            balance=self.balance,
            share=self.loss_share,
        )
        return {"cross_entropy": loss}


def _batch(volumes: Sequence[Volume], sampling: PatchSampling, run: Run, step: int, generator: Generator) -> Patches:
    return Patches(*map(run.tensor, sample_patches(volumes, sampling, generator)))


def _look(
    network: VoxelwiseNetwork, batch: Callable[[int, Generator], Patches], step: int, generator: Generator
) -> None:
    patches = batch(step, generator)
    network.features(patches.image, patches.coordinates)
