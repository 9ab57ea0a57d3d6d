"""Keeping several processes in step without wrapping modules (they are started by ``torchrun``).

Wrapped modules synchronise gradients behind the back of losses that close over the bare module: the processes
then drift apart in silence. Here everything that is exchanged is exchanged where the loop says so.
With one process each function returns at once.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from lowshot.training.run import Run

BUCKET = 2**23
"""Numbers sent together: few enough to copy cheaply, enough to hide the latency of a message."""


def share_initial_values(modules: Iterable[nn.Module], run: Run) -> None:
    """Give every process the parameters and buffers of process 0."""
    if run.world_size > 1:
        for module in modules:
            for values in (*module.parameters(), *module.buffers()):
                values.data.copy_(run.fabric.broadcast(values.data))


def average_gradients(parameters: Iterable[nn.Parameter], run: Run) -> None:
    """Replace every gradient by its mean over the processes; a parameter that no process used keeps none."""
    if run.world_size == 1:
        return
    trained = [p for p in parameters if p.requires_grad]
    used = mean(torch.tensor([float(p.grad is not None) for p in trained], device=run.device), run)
    trained = [p for p, share in zip(trained, used.tolist(), strict=True) if share > 0]
    for p in trained:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    _average([p.grad for p in trained if p.grad is not None], run)


def average_buffers(modules: Iterable[nn.Module], run: Run) -> None:
    """Average running statistics (BatchNorm) over the processes; counters are the same everywhere anyway."""
    if run.world_size > 1:
        _average([b for module in modules for b in module.buffers() if b.is_floating_point()], run)


def mean(values: Tensor, run: Run) -> Tensor:
    """Mean over the processes, elementwise."""
    if run.world_size == 1:
        return values
    return cast(Tensor, run.fabric.all_reduce(values.clone(), reduce_op="mean"))


def any_process(flags: Sequence[bool], run: Run) -> list[bool]:
    """For each flag, whether it is set in any process; the same answer in all."""
    if run.world_size == 1:
        return list(flags)
    return [share > 0 for share in mean(torch.tensor(flags, dtype=torch.float32, device=run.device), run).tolist()]


def _average(tensors: Sequence[Tensor], run: Run) -> None:
    bucket: list[Tensor] = []
    for index, tensor in enumerate(tensors):
        bucket.append(tensor)
        if index == len(tensors) - 1 or sum(t.numel() for t in bucket) >= BUCKET:
            flat = mean(torch.cat([t.reshape(-1) for t in bucket]), run)
            for t, values in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                t.copy_(values.view(t.shape))
            bucket = []
