"""The two optimisers among which methods let choose, made from their settings."""

from typing import Literal, Protocol, runtime_checkable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

OptimiserName = Literal["sgd", "adamw"]


@runtime_checkable
class OptimiserSettings(Protocol):
    """What a method's settings have for it, by these names."""

    @property
    def optimiser(self) -> OptimiserName: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def optimiser_of(settings: OptimiserSettings, module: nn.Module) -> Optimizer:
    """Of all parameters of a module; AdamW has no use for the momentum."""
    rate, weight_decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "adamw":
        return AdamW(module.parameters(), rate, weight_decay=weight_decay)
    return SGD(module.parameters(), rate, settings.momentum, weight_decay=weight_decay)
