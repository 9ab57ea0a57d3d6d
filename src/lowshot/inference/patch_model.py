"""A model that is one network applied to tiles; what every patch-based method returns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from lowshot.contract import Region, State
from lowshot.errors import SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.memory import activation_bytes
from lowshot.inference.sliding_window import predict_tiles
from lowshot.nn.geometry import Geometry, Triple
from lowshot.training.run import Run


@dataclass(frozen=True)
class TileOptions:
    """What may be chosen when a patch-based model segments."""

    tiles_at_once: int = 2
    """Tiles per forward pass; more is faster on a GPU and takes more memory. Two, because PyTorch takes a slower way
    through the small maps of a single sample on a CPU."""

    def __post_init__(self) -> None:
        if self.tiles_at_once < 1:
            raise SettingsError(f"tiles_at_once: expected at least 1, got {self.tiles_at_once}")


@dataclass(eq=False)
class PatchModel:
    """A network from (image, coordinates) to logits, and all that is needed to use it."""

    network: nn.Module
    names: Names
    channels: tuple[str, ...]
    preparation: Preparation
    geometry: Geometry

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
        )

    def working_memory(self, shape: Triple, run: Run, options: TileOptions) -> int:
        """Activations of one forward pass, whatever the size of the scan."""
        image = torch.empty(options.tiles_at_once, len(self.channels), *self.geometry.patch, device="meta")
        coordinates = torch.empty(options.tiles_at_once, 3, *self.geometry.patch, device="meta")
        dtype = torch.bfloat16 if run.plan.precision == "bfloat16" else torch.float32
        return activation_bytes(self.network, (image.to(dtype), coordinates.to(dtype)))

    def state(self) -> State:
        """Network weights; structures, preparation and geometry in the header."""
        header = {
            "names": list(self.names.names),
            "values": list(self.names.values),
            "channels": list(self.channels),
            "preparation": self.preparation.to_json(),
            "geometry": self.geometry.to_json(),
        }
        return State(header, {name: value.detach().cpu() for name, value in self.network.state_dict().items()})

    @classmethod
    def restore(cls, network: nn.Module, state: State) -> "PatchModel":
        """The model around a network of the same architecture (may be on the meta device), with the stored weights."""
        header = state.header
        network.load_state_dict(dict(state.tensors), assign=True)
        return cls(
            network=network,
            names=Names(tuple(header["names"]), tuple(header["values"])),
            channels=tuple(header["channels"]),
            preparation=Preparation.from_json(header["preparation"]),
            geometry=Geometry.from_json(header["geometry"]),
        )
