"""A model that is one network applied slice by slice; volumes go in and come out as volumes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from lowshot.contract import Region, State
from lowshot.errors import SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.header import Header
from lowshot.inference.memory import activation_bytes
from lowshot.inference.patch_model import load_weights
from lowshot.nn.geometry import Triple
from lowshot.options import SegmentOptions
from lowshot.training.run import Run


@dataclass(frozen=True)
class SliceOptions(SegmentOptions):
    """What may be chosen when a model segments slice by slice."""

    slices_at_once: int = 4
    """Slices per forward pass; more is faster on a GPU and takes more memory."""

    def __post_init__(self) -> None:
        if self.slices_at_once < 1:
            raise SettingsError(f"slices_at_once: expected at least 1, got {self.slices_at_once}")


@dataclass(eq=False)
class SliceModel:
    """A network from slices (b c i j) to logits (b k i j), and all that is needed to use it."""

    network: nn.Module
    names: Names
    channels: tuple[str, ...]
    preparation: Preparation

    def __post_init__(self) -> None:
        self.network.eval()

    def regions(self, prepared: Prepared, run: Run, options: SliceOptions) -> Iterator[Region]:
        """A few slices at a time."""
        run.place(self.network)
        everywhere, count = slice(None), prepared.grid.shape[2]
        for first in range(0, count, options.slices_at_once):
            part = slice(first, min(first + options.slices_at_once, count))
            image = run.tensor(prepared.voxels[..., part].movedim(-1, 0))
            with torch.inference_mode(), run.autocast():
                scores = self.network(image).float().softmax(dim=1)
            yield Region((everywhere, everywhere, part), scores.movedim(0, -1).cpu())

    def working_memory(self, shape: Triple, run: Run, options: SliceOptions) -> int:
        """Activations of one forward pass, however many slices the scan has."""
        dtype = run.dtype
        count, plane = min(options.slices_at_once, shape[2]), shape[:2]
        if self.preparation.resize is not None:  # whatever the scan, its slices come in this size
            plane = self.preparation.resize[:2]
        image = torch.empty(count, len(self.channels), *plane, device="meta", dtype=dtype)
        scores = 2 * 4 * count * len(self.names) * math.prod(plane)
        return activation_bytes(self.network, (image,)) + scores

    def state(self) -> State:
        """Network weights; structures and preparation in the header."""
        header = Header(self.names, self.channels, self.preparation)
        return State(
            header.to_json(), {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        )

    @classmethod
    def restore(cls, network: nn.Module, state: State) -> "SliceModel":
        """The model around a network of the same architecture (may be on the meta device), with the stored weights."""
        header = Header.from_json(state.header)
        load_weights(network, state.tensors)
        return cls(network, header.names, header.channels, header.preparation)
