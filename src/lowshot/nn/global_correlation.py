"""Efficient global correlation of GCN-DE (Sun et al., 2022): every pixel of two maps learns of all pixels of both.

In two steps (interlaced sparse self-attention, Huang et al., 2019): a map is cut into 4×4 blocks. First each pixel
attends to those that lie at the same place of the other blocks, then to all of its own block. Two pixels share a block
or reach each other through a third, at a small part of the cost of full attention.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.two_arm import for_each_query

Pooled = Literal["never", "large", "always"]
SMALLEST_POOLED: dict[Pooled, float] = {"never": math.inf, "large": 32.0, "always": 2.0}
"""How many pixels a side has, at least, of groups of which only every fourth pixel is attended to."""
FEW = 64
"""Pixels of a group; for more, a matrix of all pairs is not kept."""


class GlobalCorrelation(nn.Module):
    """q + α(x): what x, both maps after they have learned of each other, adds to the query's.

    Args:
        width: channels of either map.
        partitions: into how many blocks height and width are cut; both have to be multiples.
        pooled: whether within a group the largest of every 2×2 pixels stands for them. The public code does it always,
            the paper's Eq. 2 never; "large": where a block has 32×32 pixels or more.
    """

    def __init__(self, width: int, *, partitions: int = 4, pooled: Pooled = "large") -> None:
        super().__init__()
        self.partitions = partitions
        self.long, self.short = (Correlation(2 * width, SMALLEST_POOLED[pooled]) for _ in range(2))
        self.join = nn.Conv2d(2 * width, width, 1)

    def forward(self, s: Float[Tensor, "a c h w"], q: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if any(size % self.partitions for size in q.shape[2:]):
            raise ValueError(f"expected sizes that are multiples of {self.partitions}, got {tuple(q.shape[2:])}")
        x = torch.cat([for_each_query(s, len(q)), q], dim=1)
        for correlation, offsets in ((self.long, True), (self.short, False)):
            x = correlation(x, self.partitions, offsets)
        added: Tensor = self.join(x)
        return q + added


class Correlation(nn.Module):
    """x + ω(softmax(θ φᵀ) g) within groups of pixels (Eq. 2), ω ending in a BatchNorm that begins with zeros.

    Args:
        width: channels of the map.
        pooled_from: groups of so many pixels a side have φ and g max-pooled.
    """

    def __init__(self, width: int, pooled_from: float = math.inf) -> None:
        super().__init__()
        self.pooled_from = pooled_from
        self.theta, self.phi, self.g = (nn.Conv2d(width, width // 2, 1) for _ in range(3))
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)
        self.omega = nn.Sequential(nn.Conv2d(width // 2, width, 1), norm)

    def forward(self, x: Float[Tensor, "b c h w"], partitions: int, offsets: bool) -> Float[Tensor, "b c h w"]:
        """Groups are the pixels with the same offset in each block, or else the blocks."""
        theta, phi, g = (grouped(layer(x), partitions, offsets) for layer in (self.theta, self.phi, self.g))
        if min(phi.shape[2:]) >= self.pooled_from:
            phi, g = (F.max_pool2d(each, 2) for each in (phi, g))
        tokens = (each.flatten(2).mT.contiguous() for each in (theta, phi, g))
        mixed = attended(*tokens).mT.reshape(theta.shape)
        added: Tensor = self.omega(ungrouped(mixed, partitions, offsets, (x.shape[2], x.shape[3])))
        return x + added


def grouped(x: Float[Tensor, "b c h w"], partitions: int, offsets: bool) -> Float[Tensor, "bg c u v"]:
    """Groups as maps of their own: partitions × partitions pixels of one offset, or whole blocks."""
    b, c, h, w = x.shape
    blocks = x.reshape(b, c, partitions, h // partitions, partitions, w // partitions)  # b c p y q x
    order = (0, 3, 5, 1, 2, 4) if offsets else (0, 2, 4, 1, 3, 5)
    return blocks.permute(order).flatten(0, 2)


def ungrouped(
    groups: Float[Tensor, "bg c u v"], partitions: int, offsets: bool, size: tuple[int, int]
) -> Float[Tensor, "b c h w"]:
    """The map of this size whose groups these are."""
    height, width = (each // partitions for each in size)
    numbers = (height, width) if offsets else (partitions, partitions)
    blocks = groups.reshape(-1, *numbers, *groups.shape[1:])
    order = (0, 3, 4, 1, 5, 2) if offsets else (0, 3, 1, 4, 2, 5)
    return blocks.permute(order).flatten(4, 5).flatten(2, 3)


def attended(
    theta: Float[Tensor, "n t d"], phi: Float[Tensor, "n u d"], g: Float[Tensor, "n u d"]
) -> Float[Tensor, "n t d"]:
    """softmax(θ φᵀ) g, not scaled by the square root of d."""
    if phi.shape[1] > FEW:
        return F.scaled_dot_product_attention(theta[:, None], phi[:, None], g[:, None], scale=1.0)[:, 0]
    # For a few pixels in many groups, products took a third of the time of that (in bfloat16 on a CPU).
    return (theta @ phi.mT).float().softmax(dim=-1).to(g.dtype) @ g
