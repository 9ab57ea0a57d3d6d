"""Which precision and memory format the device likes: a small convolution step, timed in every way."""

import time
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from lowshot.training.layout import arrange, arrange_weights
from lowshot.training.plan import MemoryFormat, Precision

WORTH_ROUNDING = 1.2  # bfloat16 has to be this much faster before its rounding is accepted
PATIENCE_SECONDS = 0.3  # for one way; a device that is slow in it shows so at once


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
    threads: int,
) -> Choice:
    """Choose what is left to choose, in under two seconds; once per process, device and number of threads."""
    precisions: list[Precision] = ["float32", "bfloat16"] if precision == "auto" else [precision]
    formats: list[MemoryFormat] = ["contiguous", "channels_last"] if memory_format == "auto" else [memory_format]
    if len(precisions) == len(formats) == 1:
        return Choice(precisions[0], formats[0])
    with torch.random.fork_rng([device.index] if device.type == "cuda" else []):
        ways = [(p, f) for p in precisions for f in formats]
        seconds = {way: step_seconds(device, *way) for way in ways}
    cost = {way: s * (WORTH_ROUNDING if way[0] == "bfloat16" else 1.0) for way, s in seconds.items()}
    best = min(cost, key=lambda way: cost[way])
    return Choice(*best, {f"{p} {f}": round(1000 * seconds[p, f], 2) for p, f in ways})


def step_seconds(device: torch.device, precision: Precision, memory_format: MemoryFormat) -> float:
    """Seconds of forward and backward through two small blocks, one in 2-D and one in 3-D; the best of three."""
    scale = 1 if device.type == "cpu" else 4
    flat = block(nn.Conv2d, nn.BatchNorm2d).to(device)
    solid = block(nn.Conv3d, nn.BatchNorm3d).to(device)
    image = torch.randn(4 * scale, 32, 48, 48, device=device)
    volume = torch.randn(2 * scale, 32, 12, 24, 24, device=device)
    for network in (flat, solid):
        arrange_weights(network, memory_format)
    image, volume = arrange(image, memory_format), arrange(volume, memory_format)
    times: list[float] = []
    while len(times) < 4 and sum(times) < PATIENCE_SECONDS:
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss: Tensor = flat(image).square().mean() + solid(volume).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)  # the first one warms up


def block(convolution: type[nn.Module], norm: type[nn.Module]) -> nn.Sequential:
    """Two convolutions of 32 channels, as networks for segmentation have them."""
    layers = [layer for _ in range(2) for layer in (convolution(32, 32, 3, padding=1), norm(32), nn.ReLU())]
    return nn.Sequential(*layers)
