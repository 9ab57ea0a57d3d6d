"""What ELNet learns from: exemplars, synthetic slices, and the pool with the labels that a network gave it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from lowshot.methods.elnet.objective import Batch, sure_enough
from lowshot.training.run import Run
from lowshot.transforms.intensity import in_the_look_of
from lowshot.transforms.levels import AUGMENTATION, Augmentation
from lowshot.transforms.slices import Slices, placed, places, sample_slices, together, toned, varied
from lowshot.transforms.swelling import swollen
from lowshot.transforms.synthesis import Synthesis, synthesise

SLICES_AT_ONCE = 8


@dataclass(frozen=True)
class Sources:
    """All there is to draw from, on the run's device."""

    exemplars: Slices
    backgrounds: Float[Tensor, "m c i j"]
    """Slices on which cut-out organs are laid."""
    looks: Float[Tensor, "l c i j"]
    """Slices whose grey values exemplars may take: all of the pool."""
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
    looks: float = 0.0
    """Share of the exemplars that take grey values of a slice of the pool."""
    swellings: int = 0
    """Times that a structure of an exemplar, drawn anew, is made smaller or larger."""
    synthetic_augmentation: Augmentation = AUGMENTATION["none"]
    """How finished synthetic slices vary."""


def draw(sources: Sources, drawing: Drawing, run: Run, step: int, generator: Generator) -> Batch:
    """A batch as a function of the step."""
    own = varied_exemplars(sources, drawing, generator)
    parts = [own, synthetic(sources, drawing, generator)] if drawing.synthetic else [own]
    plain = there = following = own.image[:0]
    if sources.pool is not None:
        chosen = torch.randint(len(sources.pool.image), (drawing.pseudo_labelled,), generator=generator)
        plain = sources.pool.image[chosen.to(own.image.device)]
        there = places(plain, drawing.augmentation.spatial, generator)
        pool = placed(sources.pool.of(chosen), there)
        parts.append(pool._replace(image=toned(pool.image, drawing.augmentation.intensity, generator)))
        if drawing.neighbours and sources.following is not None:
            nexts = sources.pool.image[sources.following[chosen].to(own.image.device)]
            following = sample_slices(nexts, there, "bilinear")
    every = together(parts)
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    counts = (drawing.exemplars, drawing.synthetic, len(plain))
    image, plain, following = (run.tensor(each) for each in (every.image, plain, following))
    return Batch(every._replace(image=image), counts, draws, plain, there, following)


def varied_exemplars(sources: Sources, drawing: Drawing, generator: Generator) -> Slices:
    """The exemplars of a batch, each varied on its own."""
    return varied(_exemplars(sources, drawing.exemplars, drawing, generator), drawing.augmentation, generator)


def synthetic(sources: Sources, drawing: Drawing, generator: Generator) -> Slices:
    """Slices made from the exemplars, as many as are in a batch."""
    shown = sources.exemplars.of(sources.exemplars.shows_structures().nonzero().flatten())
    cut = shown
    if drawing.looks or drawing.swellings:
        cut = _exemplars(replace(sources, exemplars=shown), drawing.synthetic, drawing, generator)
    if not bool(cut.shows_structures().any()):  # of a structure of two pixels a smaller one may have none
        cut = shown
    made = synthesise(cut, sources.backgrounds, drawing.synthesis, drawing.synthetic, generator)
    return varied(made, drawing.synthetic_augmentation, generator)


def _exemplars(sources: Sources, count: int, drawing: Drawing, generator: Generator) -> Slices:
    """Drawn from all; with structures of other sizes, and some with, more or less, grey values of the pool."""
    drawn, looks = sources.exemplars.drawn(count, generator), sources.looks
    for _ in range(drawing.swellings):
        drawn = swollen(drawn, generator)
    if not drawing.looks or not len(looks):
        return drawn
    others = looks[torch.randint(len(looks), (count,), generator=generator).to(looks.device)]
    amount = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < drawing.looks)
    return drawn._replace(image=in_the_look_of(drawn.image, others, amount))


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
    network: nn.Module, image: Float[Tensor, "n c i j"], confidence: float, of_background: float, run: Run
) -> dict[str, Tensor]:
    """The labels that a trained network gives slices, and where it is sure enough of them."""
    run.place(network).eval()
    sure_parts, label_parts = [], []
    for some in torch.split(image, SLICES_AT_ONCE):
        with torch.inference_mode(), run.autocast():
            best = network(run.tensor(some)).float().softmax(dim=1).max(dim=1)
        sure_parts.append(best.values.cpu())  # all classes of the whole pool would take gigabytes
        label_parts.append(best.indices.to(torch.int16).cpu())
    sure, labels = torch.cat(sure_parts), torch.cat(label_parts)
    return {"labels": labels, "known": sure_enough(sure, labels, confidence, of_background)}
