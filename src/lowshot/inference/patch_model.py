"""A model that is one network applied to tiles; what every patch-based method returns."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowshot.contract import Region, State
from lowshot.errors import ModelFileError, SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.calibration import UNCHANGED, Calibration
from lowshot.inference.header import Header
from lowshot.inference.memory import activation_bytes
from lowshot.inference.sliding_window import predict_tiles
from lowshot.nn.geometry import Geometry, Triple
from lowshot.options import SegmentOptions
from lowshot.settings import build
from lowshot.training.run import Run

MOST_PATCH_VOXELS = 512**3
"""A larger patch would not fit into any machine with the feature maps of a network."""


@dataclass(frozen=True)
class TileOptions(SegmentOptions):
    """What may be chosen when a patch-based model segments."""

    tiles_at_once: int = 2
    """Tiles per forward pass; more is faster on a GPU and takes more memory. Two, because PyTorch takes a slower way
    through the small maps of a single sample on a CPU."""

    def __post_init__(self) -> None:
        if self.tiles_at_once < 1:
            raise SettingsError(f"tiles_at_once: expected at least 1, got {self.tiles_at_once}")


@dataclass(frozen=True)
class PatchHeader(Header):
    """What a patch model is besides its network."""

    geometry: Geometry
    calibration: Calibration = UNCHANGED

    def __post_init__(self) -> None:
        if math.prod(self.geometry.patch) > MOST_PATCH_VOXELS:
            raise ModelFileError(f"patch: expected at most {MOST_PATCH_VOXELS:,} voxels, got {self.geometry.patch}")
        if self.calibration.offsets and len(self.calibration.offsets) != len(self.names):
            raise ModelFileError(
                f"calibration: expected {len(self.names)} offsets, got {len(self.calibration.offsets)}"
            )

    def to_json(self) -> dict[str, Any]:
        """With geometry and calibration."""
        own = {"geometry": self.geometry.to_json(), "calibration": self.calibration.to_json()}
        return {**super().to_json(), **own}

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """With geometry and calibration; files of before 28 November 2026 have none, and it changes nothing."""
        own = {
            "geometry": build(Geometry, header["geometry"], "geometry"),
            "calibration": build(Calibration, header.get("calibration", {}), "calibration"),
        }
        return {**super().parts(header), **own}


@dataclass(eq=False)
class PatchModel:
    """A network from (image, coordinates) to logits, and all that is needed to use it."""

    network: nn.Module
    names: Names
    channels: tuple[str, ...]
    preparation: Preparation
    geometry: Geometry
    calibration: Calibration = UNCHANGED
    """What its probabilities are worth."""

    def __post_init__(self) -> None:
        self.network.eval()

    def regions(self, prepared: Prepared, run: Run, options: TileOptions) -> Iterator[Region]:
        """Tile by tile."""
        run.place(self.network)
        yield from predict_tiles(
            self.network,
            prepared.voxels,
            patch=self.geometry.patch,
            margin=self.geometry.margin,
            batch=options.tiles_at_once,
            run=run,
            judge=None if self.calibration == UNCHANGED else self.calibration.probabilities,
        )

    def working_memory(self, shape: Triple, run: Run, options: TileOptions) -> int:
        """Activations of one forward pass, whatever the size of the scan."""
        image = torch.empty(options.tiles_at_once, len(self.channels), *self.geometry.patch, device="meta")
        coordinates = torch.empty(options.tiles_at_once, 3, *self.geometry.patch, device="meta")
        dtype = run.dtype
        return activation_bytes(self.network, (image.to(dtype), coordinates.to(dtype)))

    def state(self) -> State:
        """Network weights; structures, preparation and geometry in the header."""
        header = PatchHeader(self.names, self.channels, self.preparation, self.geometry, self.calibration)
        return State(
            header.to_json(), {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        )

    @classmethod
    def restore(cls, network: nn.Module, state: State) -> "PatchModel":
        """The model around a network of the same architecture (may be on the meta device), with the stored weights."""
        header = PatchHeader.from_json(state.header)
        load_weights(network, state.tensors)
        return cls(network, header.names, header.channels, header.preparation, header.geometry, header.calibration)


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Stored weights into a network, which may be on the meta device; names, shapes and types have to be its own."""
    for name, own in network.state_dict().items():
        if name in tensors and tensors[name].dtype != own.dtype:
            raise ModelFileError(f"{name}: expected {own.dtype}, got {tensors[name].dtype}")
    network.load_state_dict(dict(tensors), assign=True)
