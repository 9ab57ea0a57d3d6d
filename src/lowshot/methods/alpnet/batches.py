"""What SSL-ALPNet learns from: superpixels; if asked for, the base's annotated structures in a share of the steps."""

from dataclasses import dataclass

import torch
from torch import Generator

from lowshot.fewshot.episodes import Episode, Sampling, Shown, draw_structures
from lowshot.fewshot.pseudo_labels import PseudoLabels, PseudoSampling, draw_regions
from lowshot.training.run import Run


@dataclass(frozen=True)
class Annotated:
    """The annotated structures, and how often a step is about them."""

    shown: Shown
    sampling: Sampling
    share: float
    """Of the steps."""


def draw(
    labels: PseudoLabels,
    sampling: PseudoSampling,
    annotated: Annotated | None,
    run: Run,
    step: int,
    generator: Generator,
) -> Episode:
    """A batch as a function of the step."""
    if annotated is not None and float(torch.rand((), generator=generator)) < annotated.share:
        return draw_structures(annotated.shown, annotated.sampling, run, step, generator)
    return draw_regions(labels, sampling, run, step, generator)
