"""What a network's probabilities are worth: how they are changed before they tell which Dice to expect.

What is mined for hard examples, or weighted by class, learns probabilities that are not frequencies: of brains a
network expected a Dice of 0.72 and reached 0.83. A temperature, and an offset for each class, at which the logits
explain labels best, mend most of it (after Guo et al., On Calibration of Modern Neural Networks, ICML 2017). Theirs are
fitted on images that were held out; with one annotated scan there is none, so that ours are fitted on that one. Labels
are decided without them.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowshot.errors import ModelFileError
from lowshot.inference.sliding_window import Tile, inside_of, through_tiles, tiles
from lowshot.nn.geometry import Geometry
from lowshot.training.run import Run
from lowshot.transforms.patches import Volume

STAGE = "how sure it is"
TILES = 64
"""That are looked at, of all annotated scans together, from those in which a label is known: in most scans all."""
VOXELS = 20_000
"""That are drawn from each: a number for each class needs no more."""
BOUNDS = (0.2, 5.0)
"""Temperatures beyond are of labels that the network has not learned at all, or by heart."""
RIDGE = 1e-4
"""Weight of the squares of the offsets, which of a class that the network tells from all others would have no end."""


@dataclass(frozen=True)
class Calibration:
    """softmax(logits / temperature + offsets); as it is made, nothing changes."""

    temperature: float = 1.0
    offsets: tuple[float, ...] = ()
    """One for each class, or none."""

    def __post_init__(self) -> None:
        numbers = (self.temperature, *self.offsets)
        if not self.temperature > 0 or not all(map(math.isfinite, numbers)):
            raise ModelFileError(f"expected a temperature above 0 and finite offsets, got {self}")

    def probabilities(self, logits: Float[Tensor, "classes *space"]) -> Float[Tensor, "classes *space"]:
        """By which a result is judged, in float32."""
        shifted = logits.float() / self.temperature
        if self.offsets:
            shifted = shifted + shifted.new_tensor(self.offsets).reshape(-1, *[1] * (logits.ndim - 1))
        return shifted.softmax(dim=0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


UNCHANGED = Calibration()


def calibrate(network: nn.Module, volumes: Sequence[Volume], geometry: Geometry, run: Run) -> Calibration:
    """The calibration with which the network explains the labels of annotated scans best.

    Args:
        network: trained, from (image, coordinates) to logits.
        volumes: the annotated scans, prepared.
        geometry: of the patches through which the network sees them.
        run: device and precision; every process gets that of process 0.
    """
    network.eval()
    generator = run.generator(STAGE)
    every = [(volume, tile) for volume in volumes for tile in _known_tiles(volume, geometry)]
    if not every:
        return UNCHANGED
    drawn = [every[n] for n in torch.randperm(len(every), generator=generator)[:TILES].tolist()]
    logits, labels = list[Tensor](), list[Tensor]()
    with run.progress.task(STAGE, len(drawn)) as task:
        for volume, tile in drawn:
            found, truth = _of_tile(network, volume, tile, geometry, run)
            some = torch.randperm(len(truth), generator=generator)[:VOXELS]
            logits.append(found[some])
            labels.append(truth[some])
            task.advance()
    return run.broadcast(best_calibration(torch.cat(logits), torch.cat(labels)))


def _known_tiles(volume: Volume, geometry: Geometry) -> list[Tile]:
    x, y, z = volume.labels.shape
    return [tile for tile in tiles((x, y, z), geometry.patch, geometry.margin) if volume.known[tile.slices].any()]


def _of_tile(
    network: nn.Module, volume: Volume, tile: Tile, geometry: Geometry, run: Run
) -> tuple[Float[Tensor, "n classes"], Int[Tensor, " n"]]:
    """Logits and labels of the voxels that a tile predicts and of which the label is known, on the CPU."""
    ((_, maps),) = through_tiles(network, volume.image, [tile], patch=geometry.patch, batch=1, run=run)
    known = volume.known[tile.slices].cpu()
    logits = maps[(slice(None), *inside_of(tile, geometry.margin))].float().cpu().movedim(0, -1)
    return logits[known], volume.labels[tile.slices].cpu()[known].long()


def best_calibration(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Calibration:
    """That of the least mean cross-entropy between the classes that are there, its temperature within ``BOUNDS``.

    Of a class without a voxel nothing is known: its offset is the mean of the others'. Offsets say the same whichever
    number is added to all of them, and come with that of class 0 at 0.
    """
    there = torch.unique(labels)
    shown, answers = logits[:, there], torch.searchsorted(there, labels)
    sharpness = torch.zeros((), requires_grad=True)  # minus the logarithm of the temperature
    own = torch.zeros(len(there), requires_grad=True)
    optimiser = torch.optim.LBFGS([sharpness, own], max_iter=100, line_search_fn="strong_wolfe")
    low, high = (-math.log(bound) for bound in reversed(BOUNDS))

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = F.cross_entropy(shown * sharpness.clamp(low, high).exp() + own, answers)
        found = found + RIDGE * own.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    temperature = math.exp(-float(sharpness.detach().clamp(low, high)))
    offsets = own.detach().mean().expand(logits.shape[1]).clone()
    offsets[there] = own.detach()
    return Calibration(temperature, tuple((offsets - offsets[0]).tolist()))
