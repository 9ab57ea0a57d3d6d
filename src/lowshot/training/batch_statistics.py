"""BatchNorm's statistics, taken anew once the weights no longer change.

During training they are a running mean over the last ten or so batches, of which each may hold two patches. What the
network then uses on whole scans is a matter of chance. Averaging over many batches with the final weights costs seconds
(Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, call it precise BatchNorm).
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lowshot.training.processes import average_buffers
from lowshot.training.run import Run

STAGE = "batch statistics"
LOOK = 0.3
"""Of a training step's time, that a look takes: a forward pass without what backward needs (measured: 0.23)."""


def settle_batch_statistics(
    network: nn.Module, look: Callable[[int, torch.Generator], object], batches: int, run: Run
) -> None:
    """Replace the running statistics by the mean over ``batches`` batches; the network comes back in evaluation mode.

    A function of the weights, the seed and the data, so that a training killed meanwhile ends with the same.

    Args:
        network: trained; without BatchNorm nothing happens.
        look: (step, CPU generator seeded for it) puts a batch through the network, as training does.
        batches: how many.
        run: every process looks at its own batches, and all share the mean.
    """
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not layers or not batches:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch's word for the mean over all batches
    network.train()
    with run.autocast(), torch.no_grad(), run.progress.task(STAGE, batches) as task:
        for step in range(batches):
            look(step, run.generator(STAGE, step))
            task.advance()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    average_buffers([network], run)
    network.eval()
