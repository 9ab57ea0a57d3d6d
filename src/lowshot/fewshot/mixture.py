"""Annotated structures and pseudo-labels in one training (ours).

A base with few structures teaches a network to find just these, whatever the example shows; regions of alike grey
values are hundreds of others. A base without labels teaches what alike grey values are, and no anatomy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator

from lowshot.fewshot.base_slices import Base
from lowshot.fewshot.episodes import Episode, Sampling, Shown, draw_structures
from lowshot.fewshot.pseudo_labels import PseudoSampling, draw_regions, has_neighbours, supervoxel_labels
from lowshot.training.run import Run

Draw = Callable[[int, Generator], Episode]
"""A batch as a function of the step."""


@dataclass(frozen=True)
class Regions:
    """Supervoxels of the base's images, and how often a step is about them instead of annotated structures."""

    share: float
    """Of the steps; 0: none, and none are looked for."""
    least_voxels: int
    least_pixels: int
    """Of a supervoxel, and of it in a slice, where slices have 256×256 pixels."""

    def beside(self, annotated: Draw, sampling: Sampling, base: Base, run: Run) -> Draw:
        """Pairs of adjacent slices that show one supervoxel each, in this share of the steps; varied alike."""
        if not self.share:
            return annotated
        if not has_neighbours(base):
            run.progress.warn(
                "no two known slices of the base follow each other, so nothing is learned from regions of alike grey "
                "values: all steps are about annotated structures (region_share=0)"
            )
            return annotated
        labels = supervoxel_labels(base, self.least_voxels, self.least_pixels, run)
        either = PseudoSampling(sampling.tasks, sampling.augmentation, "either")
        return mixed(annotated, partial(draw_regions, labels, either, run), self.share)

    def beside_structures(self, shown: Shown, sampling: Sampling, run: Run) -> Draw:
        """The usual episodes about annotated structures, and regions beside them."""
        return self.beside(partial(draw_structures, shown, sampling, run), sampling, shown.base, run)


def mixed(annotated: Draw, regions: Draw, share: float) -> Draw:
    """Regions in this share of the steps, by chance, and annotated structures in the others."""
    return partial(_draw, annotated, regions, share)


def _draw(annotated: Draw, regions: Draw, share: float, step: int, generator: Generator) -> Episode:
    chosen = regions if float(torch.rand((), generator=generator)) < share else annotated
    return chosen(step, generator)
