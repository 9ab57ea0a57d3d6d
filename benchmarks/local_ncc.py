"""Local correlation and its gradient against MONAI's loss, in one process, in turns.

    python benchmarks/local_ncc.py [--threads 2] [--rounds 3]

Times are medians, with memory kept between steps as ``fit`` has it; processor time is that of all threads. The peak is
what the process holds more than before, with memory not kept. Last comes how many times ours MONAI's is.
"""

import argparse
import ctypes
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss
from torch import Tensor

from lowshot.losses.similarity import local_ncc
from lowshot.reporting.tables import Column, Table, to_markdown
from lowshot.training.allocator import freed_memory_kept

SHAPES = ((80, 96, 80), (160, 192, 160))
WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "MONAI": LocalNormalizedCrossCorrelationLoss(kernel_size=9),
    "ours": lambda moving, fixed: -local_ncc(fixed, moving),
}


def pictures(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A smooth picture with noise, which asks for a gradient, and without."""
    coarse = torch.rand(1, 1, *(size // 8 for size in shape), generator=torch.Generator().manual_seed(0))
    fixed = F.interpolate(coarse, size=shape, mode="trilinear")
    return (fixed + 0.1 * torch.rand_like(fixed)).requires_grad_(), fixed


def step(way: Callable[[Tensor, Tensor], Tensor], moving: Tensor, fixed: Tensor) -> tuple[float, float]:
    """Value and gradient once: ms on the clock and of the processor."""
    moving.grad, start, used = None, time.perf_counter(), time.process_time()
    way(moving, fixed).backward()  # type: ignore[no-untyped-call]
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)


def resident_mb(kind: str) -> float:
    """Memory of this process in MiB: VmRSS, now; VmHWM, the most since it was last reset."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) / 1024


def peak_mb(way: Callable[[Tensor, Tensor], Tensor], moving: Tensor, fixed: Tensor) -> float:
    """The most that a step holds beyond what there was before (Linux with glibc)."""
    moving.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # or the next would find there what the last one freed
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mb("VmRSS")
    step(way, moving, fixed)
    return resident_mb("VmHWM") - before


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--threads", type=int, default=torch.get_num_threads())
    words.add_argument("--rounds", type=int, default=3)
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"`{shlex.join(['python', *sys.argv])}`: PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    rows: list[tuple[str | float, ...]] = []
    for shape in SHAPES:
        pair = pictures(shape)
        peaks = [peak_mb(way, *pair) for way in WAYS.values()]
        with freed_memory_kept():
            rounds = [[step(way, *pair) for way in WAYS.values()] for _ in range(asked.rounds + 1)][1:]
        clock, processor = np.median(rounds, axis=0).T
        for unit, costs in (("ms", clock), ("processor ms", processor), ("peak MiB", peaks)):
            rows.append(("×".join(map(str, shape)), unit, *costs, costs[0] / costs[1]))
    columns = (Column("voxels", numeric=False), Column("cost", numeric=False))
    print(to_markdown(Table((*columns, *(Column(name, 0) for name in WAYS), Column("times", 1)), tuple(rows))))


if __name__ == "__main__":
    main()
