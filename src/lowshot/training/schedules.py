"""Learning rate as a function of how much of the training is done; without state, so resuming needs nothing.

Each schedule maps the fraction done, in [0, 1), to a factor on every parameter group's own learning rate.
"""

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float], float]


def constant(fraction: float) -> float:
    """Always 1."""
    return 1.0


def step_decay(at: Sequence[float] = (0.5,), factor: float = 0.1) -> Schedule:
    """Multiplied by ``factor`` at each of the fractions ``at``."""
    return lambda fraction: factor ** sum(fraction >= edge for edge in at)


def cosine(warmup: float = 0.0) -> Schedule:
    """Linear from 0 to 1 during the fraction ``warmup``, then half a cosine down to 0."""

    def factor(fraction: float) -> float:
        if fraction < warmup:
            return fraction / warmup
        angle = math.pi * (fraction - warmup) / (1.0 - warmup)
        return 0.5 * (1.0 + math.cos(angle))

    return factor


def polynomial(power: float = 0.9) -> Schedule:
    """(1 − fraction) to the ``power``; 0.9 is nnU-Net's."""
    return lambda fraction: (1.0 - fraction) ** power


def stepwise(factor: float, every: int, steps: int) -> Schedule:
    """Multiplied by ``factor`` after each ``every`` of ``steps`` steps (SSL-ALPNet: 0.95 after each 1000 of 100,100).

    A budget of other than ``steps`` steps is shared out alike, so that the last factor is the same.
    """
    return lambda fraction: factor ** math.floor(fraction * steps / every + 1e-9)  # 0.29 · 100 is less than 29
