"""One training step as ``fit`` takes it against the same network in plain PyTorch, in one process, in turns.

    python benchmarks/training_step.py [--preset compact] [--batch 2] [--threads 2] [--rounds 3]
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/training_step.py     # without bfloat16 instructions

Plain is float32, contiguous, PyTorch's own layers, and memory that goes back to the operating system. Prints seconds,
processor seconds and page faults per step, and where processor time goes; between the two stands the network
with PyTorch's own layers, otherwise as ``fit`` has it. Support is a phantom of a brain, 160×192×160.
"""

import argparse
import platform
import resource
import shlex
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lowshot
from lowshot import catalogue
from lowshot.methods.mre_net import method
from lowshot.nn.dilated import DilatedConv3d
from lowshot.nn.resampling import AveragePool, BlockTransposed3d
from lowshot.phantoms.study import Study
from lowshot.reporting.tables import Column, Table, to_markdown
from lowshot.training.allocator import freed_memory_kept
from lowshot.training.loop import _take_step
from lowshot.training.run import Run

Step = Callable[[], None]
Ways = Mapping[str, tuple[Step, Callable[[], AbstractContextManager[None]]]]
GROUPS = {
    "convolution, forward": ("convolution", "mkldnn_convolution"),
    "convolution, backward": ("convolution_backward",),
    "norm": ("native_batch_norm", "native_batch_norm_backward"),
    "ReLU": ("relu_", "threshold_backward"),
    "interpolation": ("upsample_trilinear3d", "upsample_trilinear3d_backward"),
    "average pooling": ("avg_pool3d", "avg_pool3d_backward", "_adaptive_avg_pool3d", "_adaptive_avg_pool3d_backward"),
    "matrix products": ("mm", "bmm", "addmm"),
    "choosing voxels": ("index", "index_put", "index_put_", "index_select", "index_add", "index_add_", "nonzero"),
    "copies, casts, concatenation": ("_to_copy", "clone", "copy_", "cat", "stack", "fill_", "zeros", "new_zeros"),
    "patch sampling": ("grid_sampler_3d", "normal_", "replication_pad3d"),
}


class Costs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Processor time of this thread, by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = time.thread_time()
        result = function(*args, **(kwargs or {}))
        self.seconds[function.overloadpacket.__name__] += time.thread_time() - before
        return result


def training_step(task: lowshot.LowShotTask, preset: str, changes: Mapping[str, Any], run: Run, plain: bool) -> Step:
    """What ``MRENet.fit`` hands to the loop, as a function that takes one step."""
    chosen = catalogue.create("mre-net", catalogue.settings("mre-net", preset, changes))
    with mock.patch.object(method, "train") as train:
        chosen.fit(task, run)
    ((goal,), batch), _ = train.call_args
    if plain:
        with_pytorchs_layers(goal.module)
    run.place(goal.module).train()
    steps = iter(range(1_000_000))

    def step() -> None:
        number = next(steps)
        with run.seeded("training", number):
            _take_step([goal], batch(number, run.generator("training", number)), 0.0, run)

    return step


def with_pytorchs_layers(module: nn.Module) -> None:
    """Turn our layers back into those that they stand in for; weights stay."""
    for name, child in module.named_children():
        if isinstance(child, AveragePool):
            setattr(module, name, nn.AvgPool3d(child.factors))  # type: ignore[arg-type]
        elif isinstance(child, DilatedConv3d):
            child.__class__ = nn.Conv3d  # type: ignore[assignment]
        elif isinstance(child, BlockTransposed3d):
            child.__class__ = nn.ConvTranspose3d  # type: ignore[assignment]
        with_pytorchs_layers(child)


def timed(step: Step, memory: Callable[[], AbstractContextManager[None]], steps: int) -> tuple[float, float, float]:
    """Seconds, processor seconds (user + system, all threads) and page faults per step, after one to warm up."""
    with memory():
        step()
        used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(steps):
            step()
        seconds, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return seconds / steps, processor / steps, (now.ru_minflt - used.ru_minflt) / steps


def ratios(ways: Ways, rounds: int, steps: int) -> str:
    """Every way in turns; medians, and how often the first one's time the others take."""
    costs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (step, memory) in ways.items():
            costs[name].append(timed(step, memory, steps))
    middle = {name: [statistics.median(column) for column in zip(*own, strict=True)] for name, own in costs.items()}
    plain = next(iter(middle.values()))
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (name, seconds, processor, faults, plain[0] / seconds, plain[1] / processor)
        for name, (seconds, processor, faults) in middle.items()
    )
    columns = (Column("way", numeric=False), Column("s", 2), Column("processor s", 2), Column("page faults", 0))
    return to_markdown(Table((*columns, Column("faster", 2), Column("by processor time", 2)), rows))


def where_time_goes(ways: Ways, steps: int) -> str:
    """Processor milliseconds per step and group of operations, in one thread."""
    shares: dict[str, dict[str, float]] = {}
    for name, (step, memory) in ways.items():
        with memory():
            step()
            start = time.thread_time()
            with Costs() as costs:
                for _ in range(steps):
                    step()
            total = time.thread_time() - start
        grouped = {group: sum(costs.seconds[op] for op in ops) for group, ops in GROUPS.items()}
        grouped["other operations"] = sum(costs.seconds.values()) - sum(grouped.values())
        grouped["between operations"] = total - sum(grouped.values())
        shares[name] = {group: seconds / steps for group, seconds in grouped.items()} | {"all": total / steps}
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (group, *(value for own in shares.values() for value in (1000 * own[group], 100 * own[group] / own["all"])))
        for group in (*GROUPS, "other operations", "between operations", "all")
    )
    columns = (column for name in shares for column in (Column(f"{name}, ms", 0), Column("%", 0)))
    return to_markdown(Table((Column("operations", numeric=False), *columns), rows))


def machine() -> str:
    """Which instructions there are, and what PyTorch was told to use."""
    information = Path("/proc/cpuinfo")
    words = set(information.read_text().split()) if information.exists() else set()
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in words]
    return f"{platform.machine()} {' '.join(flags)}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--preset", default="compact")
    words.add_argument("--batch", type=int, default=2)
    words.add_argument("--threads", type=int, default=torch.get_num_threads())
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--steps", type=int, default=2)
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    plan = (run := Run(threads=asked.threads)).plan
    print(f"`{shlex.join(['python', *sys.argv])}`: {machine()}\nRun measured {plan.measured_ms}")
    (example,) = Study(anatomy="brain-mr", subjects=1, shape=(160, 192, 160))
    task, changes = lowshot.LowShotTask(example.truth.names, [example]), {"batch": asked.batch, "settling_batches": 0}
    float32 = Run(precision="float32", memory_format="contiguous")
    step = partial(training_step, task, asked.preset, changes)
    plain, half, ours = step(float32, plain=True), step(run, plain=True), step(run, plain=False)
    chosen = f"{plan.precision} {plan.memory_format}"
    ways: Ways = {
        "plain PyTorch": (plain, nullcontext),
        f"{chosen}, PyTorch's layers": (half, freed_memory_kept),
        f"{chosen}, ours": (ours, freed_memory_kept),
    }
    print(ratios({**ways, "ours, memory not kept": (ours, nullcontext)}, asked.rounds, asked.steps))
    torch.set_num_threads(1)
    print(where_time_goes(ways, asked.steps))


if __name__ == "__main__":
    main()
