"""How image tensors lie in memory: contiguous, or with the channels last as vector units like them."""

import torch
from torch import Tensor, nn

from lowshot.training.plan import MemoryFormat

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def arrange(values: Tensor, memory_format: MemoryFormat) -> Tensor:
    """The same values in this format; only 4-D and 5-D floating point tensors have a choice."""
    if memory_format == "contiguous" or not values.is_floating_point() or values.ndim not in CHANNELS_LAST:
        return values
    return values.contiguous(memory_format=CHANNELS_LAST[values.ndim])


def arrange_weights(module: nn.Module, memory_format: MemoryFormat) -> None:
    """Arrange parameters and buffers in place, 2-D and 3-D ones mixed (``Module.to`` takes one of the two alone)."""
    for values in (*module.parameters(), *module.buffers()):
        values.data = arrange(values.data, memory_format)
