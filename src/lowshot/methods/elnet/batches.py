"""What ELNet learns from: exemplars, synthetic slices, and the pool with the labels that a network gave it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
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


@dataclass(frozen=True)
class Drawing:
    """How many of each are in a batch, and how they vary."""

    exemplars: int
    synthetic: int
    pseudo_labelled: int
    synthesis: Synthesis
    augmentation: Augmentation


def draw(sources: Sources, drawing: Drawing, run: Run, step: int, generator: Generator) -> Batch:
    """A batch as a function of the step."""
    exemplars, synthesis = sources.exemplars, drawing.synthesis
    parts = [varied(exemplars.drawn(drawing.exemplars, generator), drawing.augmentation, generator)]
    if drawing.synthetic:
        parts.append(synthesise(exemplars, sources.backgrounds, synthesis, drawing.synthetic, generator))
    plain = exemplars.image[:0]
    if sources.pool is not None:
        pool = moved(sources.pool.drawn(drawing.pseudo_labelled, generator), drawing.augmentation.spatial, generator)
        plain = pool.image
        parts.append(pool._replace(image=toned(plain, drawing.augmentation.intensity, generator)))
    every = together(parts)
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    counts = (drawing.exemplars, drawing.synthetic, len(plain))
    return Batch(every._replace(image=run.tensor(every.image)), counts, draws, run.tensor(plain))


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
