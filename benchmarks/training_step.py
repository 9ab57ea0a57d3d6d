"""One training step of a small 3-D network with and without keeping freed memory, in one process.

    python benchmarks/training_step.py

Prints processor time (user + system) and page faults per step; the ratio is what ``training.allocator`` wins.
"""

import resource
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import nn

from lowshot.training.allocator import freed_memory_kept
from lowshot.training.run import Run

STEPS, ROUNDS = 1, 4


def network() -> nn.Sequential:
    """Four blocks of convolution, BatchNorm and ReLU."""
    widths = (1, 32, 64, 64, 32)
    pairs = pairwise(widths)
    return nn.Sequential(
        *(layer for a, b in pairs for layer in (nn.Conv3d(a, b, 3, padding=1), nn.BatchNorm3d(b), nn.ReLU()))
    )


def main() -> None:
    """Alternate between the two ways and print each round."""
    run = Run(precision="bfloat16", memory_format="channels_last")
    net = run.place(network())
    optimiser = torch.optim.Adam(net.parameters())
    patches = run.tensor(torch.randn(24, 1, 12, 36, 36))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with run.autocast():
            loss = net(patches).square().mean()
        loss.backward()
        optimiser.step()

    for _ in range(ROUNDS):
        costs = []
        for kept in (nullcontext, freed_memory_kept):
            with kept():
                step()
                before = resource.getrusage(resource.RUSAGE_SELF)
                for _ in range(STEPS):
                    step()
                after = resource.getrusage(resource.RUSAGE_SELF)
            seconds = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / STEPS
            faults = (after.ru_minflt - before.ru_minflt) / STEPS
            costs.append(seconds)
            print(f"{kept.__name__}: {seconds:.3f} s, {faults:.0f} page faults per step")
        print(f"ratio {costs[0] / costs[1]:.2f}")


if __name__ == "__main__":
    main()
