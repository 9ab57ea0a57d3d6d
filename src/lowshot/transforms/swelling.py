"""One structure of a slice made smaller or larger, its surroundings stretched to fit: hearts beat, organs differ."""

import math

import torch
from torch import Generator

from lowshot.transforms.slices import Slices, placed

SIZES = (0.5, 1.5)
"""Of the structure, times its own. Above 0.45 nothing folds, see below."""
REACHES = (1.5, 3.0)
"""How far around the structure's middle anything moves, in radii of a disc of the structure's area. Near, a shrinking
cavity thickens the wall around it; far, the wall comes along."""


def swollen(slices: Slices, generator: Generator) -> Slices:
    """Every slice with one of its structures, drawn from those that it shows, of another size.

    A place at t of the reach R from the middle shows what was at t (1 + a (1 − t²)²), with a = 1 / size − 1. That grows
    with t, so that nothing folds, as long as a (1 − t²) (5 t² − 1) < 1: its maximum is 0.8 a.

    Args:
        slices: what is not known in them belongs to no structure; one without structures stays as it is.
        generator: on the CPU; as many numbers are drawn whatever the slices show.
    """
    count, _, i, j = slices.image.shape
    pick, size, reach = torch.rand(3, count, generator=generator).to(slices.image.device)
    inside = _one_structure(slices, pick)
    x, y = (torch.arange(n, dtype=torch.float32, device=inside.device) for n in (i, j))
    area = inside.sum(dim=(1, 2)).float().clamp_min(1)
    down = x - (inside.sum(dim=2).float() @ x / area)[:, None]
    across = y - (inside.sum(dim=1).float() @ y / area)[:, None]
    radius = (REACHES[0] + reach * (REACHES[1] - REACHES[0])) * (area / math.pi).sqrt()
    a = (1 / (SIZES[0] * (SIZES[1] / SIZES[0]) ** size) - 1) * inside.any(dim=2).any(dim=1)
    squared = down.square()[:, :, None] + across.square()[:, None]
    further = a[:, None, None] * (1 - squared / radius.square()[:, None, None]).clamp_min(0).square()
    places = [x[:, None] + down[:, :, None] * further, y + across[:, None] * further]
    return placed(slices, torch.stack(places, dim=-1))


def _one_structure(slices: Slices, pick: torch.Tensor) -> torch.Tensor:
    """Where the drawn structure is in each slice; nowhere if a slice shows none. ``pick`` is uniform in [0, 1)."""
    classes = torch.arange(1, int(slices.labels.max()) + 1, device=pick.device)
    masks = (slices.labels[:, None] == classes[:, None, None]) & slices.known[:, None]
    there = masks.flatten(2).any(dim=2).cumsum(dim=1)
    nth = (pick * there[:, -1:].squeeze(1)).floor() if len(classes) else pick
    chosen = (there > nth[:, None]).cumsum(dim=1) == 1
    return (masks & chosen[..., None, None]).any(dim=1)
