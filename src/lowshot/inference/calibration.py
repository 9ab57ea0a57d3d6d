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

STAGE = "calibrating the expected Dice"
TILES = 64
"""That are looked at, of all annotated scans together, from those with a known label; more for very many classes."""
VOXELS = 400
"""That are drawn from each of every class in it: a number for each class needs no more."""
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
    chosen = drawn_tiles([_classes_in(volume, tile) for volume, tile in every], generator)
    logits, labels, weights = list[Tensor](), list[Tensor](), list[Tensor]()
    with run.progress.task(STAGE, len(chosen)) as task:
        for number, weight in chosen.items():
            found, truth = _of_tile(network, *every[number], geometry, run)
            some, counts = _drawn_voxels(truth, generator)
            logits.append(found[some])
            labels.append(truth[some])
            weights.append(weight * counts)
            task.advance()
    return run.broadcast(best_calibration(*map(torch.cat, (logits, labels, weights))))


def drawn_tiles(classes: Sequence[set[int]], generator: torch.Generator) -> dict[int, float]:
    """Tiles by number, and how many each stands for: one for every class, and of the others as many as make ``TILES``.

    By chance alone a structure that lies in one tile of three hundred would not be seen, and nothing learned of it.
    """
    order = torch.randperm(len(classes), generator=generator).tolist()
    certain: dict[int, float] = {}
    seen = set[int]()
    for number in order:
        if not classes[number] <= seen:
            certain[number] = 1.0
            seen |= classes[number]
    others = [number for number in order if number not in certain]
    some = others[: max(0, TILES - len(certain))]
    return certain | dict.fromkeys(some, len(others) / max(1, len(some)))


def _classes_in(volume: Volume, tile: Tile) -> set[int]:
    return set(torch.unique(volume.labels[tile.slices][volume.known[tile.slices]]).tolist())


def _drawn_voxels(
    labels: Int[Tensor, " n"], generator: torch.Generator
) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
    """Some of every class, and how many each of them stands for."""
    places, counts = list[Tensor](), list[Tensor]()
    for k in torch.unique(labels).tolist():
        own = (labels == k).nonzero().flatten()
        some = own[torch.randperm(len(own), generator=generator)[:VOXELS]]
        places.append(some)
        counts.append(torch.full((len(some),), len(own) / len(some)))
    return torch.cat(places), torch.cat(counts)


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


def best_calibration(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], weights: Float[Tensor, " n"] | None = None
) -> Calibration:
    """That of the least mean cross-entropy between the classes that are there, its temperature within ``BOUNDS``.

    Of a class without a voxel nothing is known: its offset is the mean of the others'. Offsets say the same whichever
    number is added to all of them, and come with that of class 0 at 0.

    Args:
        logits: of voxels of which the label is known.
        labels: of the same.
        weights: how many voxels each stands for; None: all for as many.
    """
    there = torch.unique(labels)
    shown, answers = logits[:, there].double(), torch.searchsorted(there, labels)
    share = torch.ones(len(labels)) if weights is None else weights
    share = (share / share.sum()).double()
    # The loss is convex in the offsets and the temperature's inverse, so that where the best lies beyond a bound, the
    # best within lies on it.
    sharpness, own = _least(shown, answers, share, None)
    low, high = (1 / bound for bound in reversed(BOUNDS))
    if not low <= sharpness <= high:
        sharpness, own = _least(shown, answers, share, min(max(sharpness, low), high))
    offsets = own.mean().expand(logits.shape[1]).clone()
    offsets[there] = own
    return Calibration(1 / sharpness, tuple((offsets - offsets[0]).tolist()))


def _least(
    logits: Float[Tensor, "n classes"],
    answers: Int[Tensor, " n"],
    share: Float[Tensor, " n"],
    sharpness: float | None,
) -> tuple[float, Float[Tensor, " classes"]]:
    """The temperature's inverse, unless it is given, and the offsets of the least loss."""
    sharp = torch.tensor(1.0 if sharpness is None else sharpness, dtype=torch.float64, requires_grad=sharpness is None)
    own = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    free = [own, *([sharp] if sharpness is None else [])]
    optimiser = torch.optim.LBFGS(free, max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        each = F.cross_entropy(logits * sharp + own, answers, reduction="none")
        found = each @ share + RIDGE * own.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return float(sharp.detach()), own.detach()
