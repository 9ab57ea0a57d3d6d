"""Annotated structures and pseudo-labels in one training (ours).

A base with few structures teaches a network to find just these, whatever the example shows; regions of alike grey
values are hundreds of others. A base without labels teaches what alike grey values are, and no anatomy.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator

from lowshot.fewshot.episodes import Episode

Draw = Callable[[int, Generator], Episode]
"""A batch as a function of the step."""


def mixed(annotated: Draw, regions: Draw, share: float) -> Draw:
    """Regions in this share of the steps, by chance, and annotated structures in the others."""
    return partial(_draw, annotated, regions, share)


def _draw(annotated: Draw, regions: Draw, share: float, step: int, generator: Generator) -> Episode:
    chosen = regions if float(torch.rand((), generator=generator)) < share else annotated
    return chosen(step, generator)
