"""DataAug: one-shot segmentation by examples made with learned transforms (Zhao et al., CVPR 2019).

Read from here: ``lowshot.nn.displacement_unet`` is the spatial model, ``appearance.py`` the appearance model,
``objective.py`` the losses, ``batches.py`` and ``examples.py`` the data, ``segmenter.py`` what comes out, and ``fit``
below the three stages. This folder's README maps the paper to functions and lists our deviations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.optim import Adam

from lowshot.contract import State
from lowshot.errors import ModelFileError, SettingsError
from lowshot.imaging.grid import Grid
from lowshot.imaging.preparation import Preparation, prepared_grid
from lowshot.inference.calibration import TILES, calibrate
from lowshot.inference.patch_model import PatchHeader, PatchModel, TileOptions
from lowshot.inference.voxelwise_model import VoxelwiseModel
from lowshot.methods.data_aug.appearance import AppearanceUNet
from lowshot.methods.data_aug.batches import Atlas, Laid, appearance_pair, lay_pool, spatial_pair
from lowshot.methods.data_aug.examples import (
    Appearances,
    fixed_patches,
    independent_patches,
    shapes,
    with_coupled_images,
    with_own_images,
)
from lowshot.methods.data_aug.objective import Norm, SpatialModels, appearance_loss, segmenter_loss, spatial_loss
from lowshot.methods.data_aug.segmenter import SegmenterName, segmenter
from lowshot.methods.data_aug.transforms import brought_back, changes, displacements
from lowshot.nn.displacement_unet import DisplacementUNet
from lowshot.nn.geometry import Geometry, Triple, patch_for, strides_for
from lowshot.nn.voxelwise import VoxelwiseNetwork
from lowshot.registration.affine import Picture
from lowshot.registration.fields import Spacing
from lowshot.registration.sampling import onto_grid
from lowshot.registration.working_grid import working_grid
from lowshot.settings import numbers, refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.batch_statistics import LOOK, settle_batch_statistics
from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import constant, cosine
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.patches import Patches, PatchSampling, Volume
from lowshot.transforms.support import prepare_support

Examples = Literal["sas", "coupled", "independent"]
Batch = Callable[[int, Generator], Patches]

POSITIVE = (
    *("most_voxels", "grid_spacing", "grid_shape", "encoder", "decoder", "appearance_widths", "window", "widths"),
    *("convolutions", "strides", "patch_voxels", "batch", "loss_share", "steps", "transform_rate", "learning_rate"),
    *("spatial_share", "appearance_share", "clip_norm"),
)
NOT_NEGATIVE = ("smoothness", "appearance_smoothness", "settling_batches")
SHARES = ("balanced", "balance", "loss_share", "spatial_share", "appearance_share")
MOST_LEVELS, MOST_CONVOLUTIONS, MOST_WIDTH, MOST_VOXELS = 8, 100, 4096, 1024**3
"""Beyond what any scan has use for: settings may come with a model file."""


@dataclass(frozen=True, kw_only=True)
class DataAug:
    """Defaults are the published settings, but for two weights of smoothness that ``presets.py`` names; each says where
    it comes from: paper, code or ours.
    """

    # What the networks see
    spacing: Spacing | None = None  # ours: None is the atlas's own
    resize: Triple | None = None  # MRE-Net's paper, on BTCV: voxels to which the crop is stretched
    most_voxels: int | None = None  # ours: the segmenter works at a coarser spacing above this many voxels
    crop: Literal["none", "foreground"] | Triple = (160, 192, 224)  # code: voxels that are cut out
    intensity: str = "percentiles"  # ours: scale of grey values; transform models see 0 to 1
    affine: bool = False  # the paper's scans are aligned beforehand; without, bodies are laid centre upon centre

    # Spatial and appearance models
    grid_spacing: Spacing | None = None  # ours: of the grid on which both work; None is the prepared atlas's own
    grid_shape: Triple | None = (160, 192, 224)  # code: voxels of that grid; None is all of the atlas's body
    encoder: tuple[int, ...] = (16, 32, 32, 32)  # code: channels at each level on the way down; VoxelMorph's
    decoder: tuple[tuple[int, ...], ...] = ((32,), (32,), (32,), (32, 32), (32, 16, 16))  # code: and on the way up
    window: int = 9  # code: voxels along the side of local NCC's window
    smoothness: float = 1.0  # ours: of the field; the code's 1 is of means over components, too, which is 1/3 here
    appearance_widths: tuple[int, ...] = (16, 32, 32, 32)  # ours: channels at each level of the appearance model
    appearance_smoothness: float = 0.02  # paper: λ_a; code: 1 against 50 for the reconstruction
    appearance_norm: Norm = "squared"  # ours: of the change's gradient; absolute in the code, the paper is silent

    # What the segmenter learns from
    examples: Examples = "independent"  # paper: "coupled": field and appearance of one scan; "sas": field alone
    augmentation: Level = "none"  # paper: random augmentation is a row of its own
    mirror: bool = False  # ours: examples are mirrored left to right, too
    balanced: float = 0.0  # ours: share of patches centred on a class drawn uniformly

    # Segmenter
    segmenter: SegmenterName = "planar"  # paper: the network; "luna-park" is that of MRE-Net's comparison
    widths: tuple[int, ...] = (32, 32, 64, 64, 128, 128)  # code: channels at each level of the segmenter
    convolutions: tuple[int, ...] = (2, 2, 2, 2, 2, 2)  # code: at each level; of the planar one always two
    strides: tuple[Triple, ...] | None = None  # ours: of luna-park; None follows from the scan
    patch: Triple | None = (160, 192, 1)  # paper: whole slices; None follows from the scan and patch_voxels
    margin: Triple = (0, 0, 0)  # ours: of a patch, voxels on either side that are seen and not segmented
    patch_voxels: int = 64**3  # ours: about how many voxels a patch has that follows from the scan
    batch: int = 16  # code: patches in a step
    balance: float = 0.0  # ours: 0 counts every voxel alike, 1 every structure
    loss_share: float = 1.0  # ours: part of the voxels that the loss looks at in each step

    # Training
    steps: int = 152_000  # of all stages together; code: 50,000 + 2,000, and 100,000 here for the segmenter
    spatial_share: float = 0.33  # of the steps, or minutes, that the spatial model gets
    appearance_share: float = 0.013  # the same of the appearance model; the segmenter gets the rest
    transform_rate: float = 1e-4  # code: learning rate of spatial and appearance models
    learning_rate: float = 1e-4  # code: at the start, of the segmenter
    decay: bool = False  # ours: the segmenter's rate falls by a cosine
    clip_norm: float | None = None  # ours: largest length of a gradient; None sets no limit
    settling_batches: int = 0  # ours: over which BatchNorm's statistics are taken anew at the end

    Options: ClassVar[type] = TileOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE, shares=SHARES)
        if self.window % 2 == 0:
            raise SettingsError(f"window: expected an odd number of voxels, got {self.window}")
        if self.spatial_share + self.appearance_share >= 1:
            raise SettingsError("spatial_share and appearance_share: nothing is left for the segmenter")
        self._refuse_networks_that_cannot_be()

    def _refuse_networks_that_cannot_be(self) -> None:
        for name in ("encoder", "decoder", "appearance_widths", "widths", "convolutions"):
            value, most = getattr(self, name), MOST_CONVOLUTIONS if name == "convolutions" else MOST_WIDTH
            lists = value if name == "decoder" else (value,)
            if any(not 1 <= len(each) <= MOST_LEVELS for each in lists) or max(numbers(value), default=1) > most:
                raise SettingsError(f"{name}: expected 1 to {MOST_LEVELS} numbers up to {most:,}, got {value}")
        if not 1 <= len(self.decoder) <= len(self.encoder) + 1:
            raise SettingsError(f"decoder: expected 1 to {len(self.encoder) + 1} lists, got {len(self.decoder)}")
        if self.segmenter == "luna-park" and (len(self.convolutions) != len(self.widths) or min(self.widths) < 4):
            raise SettingsError(
                f"widths and convolutions: expected as many of each and no width below 4, got {self.widths} and "
                f"{self.convolutions}"
            )
        if self.strides is not None and len(self.strides) != len(self.widths) - 1:
            raise SettingsError(f"strides: {len(self.widths)} levels need {len(self.widths) - 1}, got {self.strides}")
        if self.patch is not None and (self.strides is not None or self.segmenter == "planar"):
            Geometry(self._dimensions, self._given_strides or (), self.patch, self.margin)
        if self.grid_shape is not None and any(size % self._multiple for size in self.grid_shape):
            raise SettingsError(f"grid_shape: expected multiples of {self._multiple}, got {self.grid_shape}")
        if self.grid_shape is not None and math.prod(self.grid_shape) > MOST_VOXELS:
            raise SettingsError(f"grid_shape: expected at most {MOST_VOXELS:,} voxels, got {self.grid_shape}")

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs one annotated scan, and a pool of scans without labels."""
        found = []
        if len(task.support) != 1:
            found.append(f"needs one annotated scan, got {len(task.support)}")
        if not len(task.unlabelled):
            found.append("learns from scans without labels; give some with --unlabelled, such as those to be segmented")
        if any(1 in labelled.scan.grid.shape for labelled in task.support):
            found.append("works on volumes; a picture has one slice")
        if self.mirror and task.mirror_pairs is None:
            found.append("mirroring needs to know which structures are left and right twins; turn mirror off")
        return found

    def fit(self, task: LowShotTask, run: Run) -> VoxelwiseModel:
        """Learn how the pool differs from the atlas, in shape and in appearance; then segment what is made of it."""
        preparation, (volume,) = prepare_support(task.support, self._preparation(), self.most_voxels, run)
        scan = task.support[0].scan
        atlas = Atlas.of(volume, prepared_grid(scan, preparation.axis_map(scan)))
        picture = Picture.of(scan.name, volume.image.cpu(), atlas.grid)
        grid = working_grid(picture, self.grid_spacing, self.grid_shape, self._multiple)
        geometry = self._geometry(volume)
        pool = lay_pool(task, preparation, picture, grid, self.affine, run)
        batch = self._examples(atlas, pool, grid, self._sampling(geometry, task), run)
        del pool  # of which the segmenter keeps what it needs
        network = self._trained_segmenter(batch, task, geometry, run)
        calibration = calibrate(network, [volume], geometry, run)
        return VoxelwiseModel(network, task.names, task.channels, preparation, geometry, calibration)

    def restore(self, state: State) -> PatchModel:
        """The segmenter alone is kept: its architecture follows from the settings and the stored geometry."""
        header = PatchHeader.from_json(state.header)
        made = header.geometry.dimensions, header.geometry.strides
        if made != (self._dimensions, self._given_strides or made[1]):
            raise ModelFileError(
                f"geometry: a {self.segmenter} segmenter has no {made[0]} dimensions, strides {made[1]}"
            )
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
            network = self._segmenter(len(header.channels), len(header.names), header.geometry)
        return VoxelwiseModel.restore(network, state)

    def _examples(self, atlas: Atlas, pool: Sequence[Laid], grid: Grid, sampling: PatchSampling, run: Run) -> Batch:
        """What the segmenter learns from, as a function of the step; trains the transform models for it."""
        image = onto_grid(atlas.greys.to_unit(atlas.volume.image), atlas.grid, grid)
        spatial = self._trained_spatial(image, pool, grid, run)
        there = displacements(spatial.to_target, image, pool, grid, run)
        found = shapes(atlas, pool, there, grid, run.device)
        if spatial.to_atlas is None:
            return partial(fixed_patches, with_own_images(found, atlas, pool), sampling, run)
        brought = brought_back(spatial.to_atlas, image, pool, grid, run)
        model = self._trained_appearance(image, pool, brought, there, atlas.labels_on(grid), grid, run)
        looks = Appearances.of(atlas, pool, changes(model, image, brought, run), grid, run.device)
        if self.examples == "coupled":
            return partial(fixed_patches, with_coupled_images(found, looks), sampling, run)
        return partial(independent_patches, found, looks, sampling, run)

    # The three stages

    def _trained_spatial(self, image: Tensor, pool: Sequence[Laid], grid: Grid, run: Run) -> SpatialModels:
        with run.seeded("weights of the spatial models"):
            to_target = self._spatial(len(image))
            models = SpatialModels(to_target, None if self.examples == "sas" else self._spatial(len(image)))
        goal = Goal(
            partial(spatial_loss, models, self.window, self.smoothness),
            models,
            Adam(models.parameters(), self.transform_rate),
            name="spatial",
        )
        batch = partial(spatial_pair, image, pool, grid.spacing, run)
        train([goal], batch, steps=self._part(self.spatial_share), run=run, stage="spatial", share=self.spatial_share)
        return models

    def _trained_appearance(
        self,
        image: Tensor,
        pool: Sequence[Laid],
        brought: Tensor,
        there: Tensor,
        labels: Tensor,
        grid: Grid,
        run: Run,
    ) -> AppearanceUNet:
        with run.seeded("weights of the appearance model"):
            model = AppearanceUNet(len(image), self.appearance_widths)
        goal = Goal(
            partial(appearance_loss, model, labels.to(run.device), self.appearance_smoothness, self.appearance_norm),
            model,
            Adam(model.parameters(), self.transform_rate),
            name="appearance",
        )
        batch = partial(appearance_pair, image, pool, brought, there, grid.spacing, run)
        share = self.appearance_share
        train([goal], batch, steps=self._part(share), run=run, stage="appearance", share=share)
        return model

    def _trained_segmenter(self, batch: Batch, task: LowShotTask, geometry: Geometry, run: Run) -> VoxelwiseNetwork:
        with run.seeded("weights"):
            network = self._segmenter(len(task.channels), len(task.names), geometry)
        goal = Goal(
            partial(segmenter_loss, network, self.balance, self.loss_share),
            network,
            Adam(network.parameters(), self.learning_rate),
            schedule=cosine(warmup=0.05) if self.decay else constant,
            clip_norm=self.clip_norm,
            name="segmenter",
        )
        share = 1 - self.spatial_share - (0 if self.examples == "sas" else self.appearance_share)
        looks = LOOK * (self.settling_batches + TILES / self.batch)
        train([goal], batch, steps=self._part(share), run=run, stage="segmenter", share=share, afterwards=looks)
        settle_batch_statistics(network, partial(_look, network, batch), self.settling_batches, run)
        return network

    def _part(self, share: float) -> int:
        return max(1, round(self.steps * share))

    # What follows from the settings

    @property
    def _multiple(self) -> int:
        return 1 << max(len(self.encoder), len(self.appearance_widths))

    @property
    def _dimensions(self) -> int:
        return 2 if self.segmenter == "planar" else 3

    @property
    def _given_strides(self) -> tuple[Triple, ...] | None:
        return ((2, 2, 1),) * (len(self.widths) - 1) if self.segmenter == "planar" else self.strides

    def _preparation(self) -> Preparation:
        return Preparation("RAS", self.spacing, self.crop, self.intensity, self.resize)

    def _geometry(self, volume: Volume) -> Geometry:
        x, y, z = volume.labels.shape
        seen = (x, y, 1 if self._dimensions == 2 else z)
        strides = self._given_strides or strides_for(volume.spacing, seen, len(self.widths))
        if self.patch is not None:
            return Geometry(self._dimensions, strides, self.patch, self.margin)
        return Geometry(self._dimensions, strides, *patch_for(volume.spacing, seen, self.patch_voxels, strides))

    def _sampling(self, geometry: Geometry, task: LowShotTask) -> PatchSampling:
        mirror_pairs = task.mirror_pairs if self.mirror else None
        return PatchSampling(
            geometry.patch,
            self.batch,
            self.balanced,
            *augmentation_of(self.augmentation, self.intensity),
            mirror_pairs=mirror_pairs,
        )

    def _spatial(self, channels: int) -> DisplacementUNet:
        return DisplacementUNet(channels, encoder=self.encoder, decoder=self.decoder)

    def _segmenter(self, channels: int, classes: int, geometry: Geometry) -> VoxelwiseNetwork:
        return segmenter(self.segmenter, channels, classes, geometry, self.widths, self.convolutions)


def _look(network: VoxelwiseNetwork, batch: Batch, step: int, generator: Generator) -> None:
    patches = batch(step, generator)
    network.features(patches.image, patches.coordinates)
