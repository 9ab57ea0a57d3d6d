"""Which precision and memory format the device likes: a small convolution step, timed in every way."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from lowshot.training.allocator import freed_memory_kept
from lowshot.training.layout import arrange, arrange_weights
from lowshot.training.plan import MemoryFormat, Precision

WORTH_ROUNDING = 1.2  # bfloat16 has to be this much faster before its rounding is accepted
WORTH_COPYING = 1.3  # and so has contiguous memory: whole networks, with their voxel-wise heads, gain more by the other
PATIENCE_SECONDS = 2.0  # for all ways together
SMALL, EMULATED = 32, 4.0  # pixels of a small step, and how much longer it takes where bfloat16 is only emulated


@dataclass(frozen=True)
class Choice:
    """The winner, and the milliseconds of everything that was tried."""

    precision: Precision
    memory_format: MemoryFormat
    measured_ms: dict[str, float] = field(default_factory=dict)


@cache
def fastest(
    device: torch.device,
    precision: Precision | Literal["auto"],
    memory_format: MemoryFormat | Literal["auto"],
) -> Choice:
    """Choose what is left to choose, in about two seconds; once per process and device.

    Where bfloat16 is only emulated it is not tried: a single step would take longer than all others.
    """
    precisions: list[Precision] = [precision] if precision != "auto" else ["float32"]
    if precision == "auto" and not is_emulated(device):
        precisions.append("bfloat16")
    formats: list[MemoryFormat] = ["contiguous", "channels_last"] if memory_format == "auto" else [memory_format]
    if len(precisions) == len(formats) == 1:
        return Choice(precisions[0], formats[0])
    ways = [(p, f) for p in precisions for f in formats]
    with torch.random.fork_rng([device.index] if device.type == "cuda" else []), _undisturbed(device) as clock:
        steps = [stepper(device, *way) for way in ways]
        times = best_times(steps, clock)
    seconds = dict(zip(ways, times, strict=True))
    handicap = {"bfloat16": WORTH_ROUNDING, "contiguous": WORTH_COPYING}
    cost = {(p, f): seconds[p, f] * handicap.get(p, 1.0) * handicap.get(f, 1.0) for p, f in ways}
    best = min(cost, key=lambda way: cost[way])
    return Choice(*best, {f"{p} {f}": round(1000 * seconds[p, f], 2) for p, f in ways})


@cache
def is_emulated(device: torch.device) -> bool:
    """Whether a processor has no instructions for bfloat16, so that a training in it takes ten times as long."""
    if device.type != "cpu":
        return False
    with torch.random.fork_rng([]), _undisturbed(device) as clock:
        steps = [stepper(device, precision, "contiguous", SMALL) for precision in ("float32", "bfloat16")]
        exact, rounded = best_times(steps, clock)
    return rounded > EMULATED * exact


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[Callable[[], float]]:
    """A clock that other work on the machine hardly moves: on a CPU the processor time of a single thread.

    Threads that wait for each other turn a busy neighbour into seconds, which fall on one way and not on the next.
    Gradients are on, as whoever first asks for a plan may be about to predict.
    """
    with torch.inference_mode(False), torch.enable_grad():
        if device.type != "cpu":
            yield time.perf_counter
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with freed_memory_kept():  # as in training
                yield time.thread_time
        finally:
            torch.set_num_threads(threads)


def best_times(steps: Sequence[Callable[[], None]], clock: Callable[[], float]) -> list[float]:
    """Shortest time of each step in seconds, taken in turns, so that other work on the machine disturbs all alike."""

    def timed(step: Callable[[], None]) -> float:
        before = clock()
        step()
        return clock() - before

    start = clock()
    for step in steps:
        step()  # warms up; an accelerator loads libraries and kernels
    times = [math.inf] * len(steps)
    for _ in range(7):
        times = [min(best, timed(step)) for best, step in zip(times, steps, strict=True)]
        if clock() - start > PATIENCE_SECONDS:
            break
    return times


def stepper(
    device: torch.device, precision: Precision, memory_format: MemoryFormat, size: int = 64
) -> Callable[[], None]:
    """A forward and backward pass through two small networks, one in 2-D and one in 3-D with a voxel-wise head."""
    scale = 1 if device.type == "cpu" else 4
    flat = block(nn.Conv2d, nn.BatchNorm2d).to(device)
    solid = block(nn.Conv3d, nn.BatchNorm3d).to(device)
    head = nn.Linear(16, 32).to(device)
    for network in (flat, solid):
        arrange_weights(network, memory_format)
    image = arrange(torch.randn(4 * scale, 16, size, size, device=device), memory_format)
    # Two samples: through a single small one PyTorch takes its slow way in float32, which no training does.
    volume = arrange(torch.randn(2 * scale, 16, 12, size // 2, size // 2, device=device), memory_format)

    def step() -> None:
        bfloat16 = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
        with bfloat16:
            logits = head(solid(volume).movedim(1, -1))
            loss: Tensor = flat(image).square().mean() + logits.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    return step


def block(convolution: type[nn.Module], norm: type[nn.Module]) -> nn.Sequential:
    """Two convolutions of 16 channels, as the widest maps of our networks have them."""
    layers = [layer for _ in range(2) for layer in (convolution(16, 16, 3, padding=1), norm(16), nn.ReLU())]
    return nn.Sequential(*layers)
