"""What ELNet learns from: exemplars, synthetic slices, and the pool with the labels that a network gave it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from lowshot.methods.elnet.objective import Batch
from lowshot.training.run import Run
from lowshot.transforms.levels import Augmentation
from lowshot.transforms.slices import Slices, moved, together, toned, varied
from lowshot.transforms.synthesis import Synthesis, synthesise

SLICES_AT_ONCE = 8


@dataclass(frozen=True)
class Sources:
    """All there is to draw from, on the run's device."""

    exemplars: Slices
    backgrounds: Float[Tensor, "m c i j"]
    """Slices on which cut-out organs are laid."""
    pool: Slices | None = None
    """With pseudo-labels; None in the first stage."""
    following: Int[Tensor, " n"] | None = None
    """For each slice of the pool the next of its scan; the last has the one before it, an only one itself."""


@dataclass(frozen=True)
class Drawing:
    """How many of each are in a batch, and how they vary."""

    exemplars: int
    synthetic: int
    pseudo_labelled: int
    synthesis: Synthesis
    augmentation: Augmentation
    neighbours: bool = False
    """Whether the slices that follow those of the pool come along."""


def draw(sources: Sources, drawing: Drawing, run: Run, step: int, generator: Generator) -> Batch:
    """A batch as a function of the step."""
    exemplars, synthesis = sources.exemplars, drawing.synthesis
    parts = [varied(exemplars.drawn(drawing.exemplars, generator), drawing.augmentation, generator)]
    if drawing.synthetic:
        parts.append(synthesise(exemplars, sources.backgrounds, synthesis, drawing.synthetic, generator))
    plain = following = exemplars.image[:0]
    if sources.pool is not None:
        pool, following = _from_pool(sources.pool, sources.following, drawing, generator)
        plain = pool.image
        parts.append(pool._replace(image=toned(plain, drawing.augmentation.intensity, generator)))
    every = together(parts)
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    counts = (drawing.exemplars, drawing.synthetic, len(plain))
    return Batch(every._replace(image=run.tensor(every.image)), counts, draws, run.tensor(plain), run.tensor(following))


def _from_pool(
    pool: Slices, order: Int[Tensor, " n"] | None, drawing: Drawing, generator: Generator
) -> tuple[Slices, Float[Tensor, "m c i j"]]:
    """Some slices of the pool, moved, and where they are wanted those that follow, moved alike."""
    chosen = torch.randint(len(pool.image), (drawing.pseudo_labelled,), generator=generator)
    some, spatial = pool.of(chosen), drawing.augmentation.spatial
    if not drawing.neighbours or order is None:
        return moved(some, spatial, generator), some.image[:0]
    nexts = pool.image[order[chosen].to(some.image.device)]
    both = moved(some._replace(image=torch.cat([some.image, nexts], dim=1)), spatial, generator)
    image, following = both.image.chunk(2, dim=1)
    return both._replace(image=image), following


def following_slices(lengths: Sequence[int]) -> Int[Tensor, " n"]:
    """The next slice of each, of scans that lie one after the other; the last of a scan has the one before it.

    Example: scans of 3 and of 1 slices give 1, 2, 1, 3.
    """
    parts, first = [], 0
    for length in lengths:
        own = torch.arange(length) + 1
        own[-1:] = max(0, length - 2)
        parts.append(own + first)
        first += length
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)


def pseudo_labels(
    network: nn.Module, image: Float[Tensor, "n c i j"], confidence: float, run: Run
) -> dict[str, Tensor]:
    """The labels that a trained network gives slices, and where it is sure enough of them."""
    run.place(network).eval()
    parts = []
    for some in torch.split(image, SLICES_AT_ONCE):
        with torch.inference_mode(), run.autocast():
            parts.append(network(run.tensor(some)).float().softmax(dim=1).cpu())
    sure, labels = torch.cat(parts).max(dim=1)
    return {"labels": labels.to(torch.int16), "known": sure >= confidence}
