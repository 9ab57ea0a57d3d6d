"""The two optimisers among which methods let choose, made from their settings."""

from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

OptimiserName = Literal["sgd", "adamw"]


def optimiser(
    name: OptimiserName, module: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float
) -> Optimizer:
    """Of all parameters of a module; AdamW has no use for the momentum."""
    if name == "adamw":
        return AdamW(module.parameters(), learning_rate, weight_decay=weight_decay)
    return SGD(module.parameters(), learning_rate, momentum, weight_decay=weight_decay)
