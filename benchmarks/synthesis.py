"""A batch of synthetic or changed slices of ELNet against the training step that eats it, in one process, in turns.

    python benchmarks/synthesis.py [--threads 1] [--rounds 5] [--widths 16 32 64 128]

The step is a small plain U-Net's on twelve slices of 224×224, with bfloat16 and channels last; ten of them are
synthetic. Times are medians, with memory kept between steps as ``fit`` has it; processor time is that of all threads.
The exemplar is a phantom of a heart with three structures, backgrounds are other slices of its chest. What the preset
``compact-taught`` does instead (``looks``, ``swellings``) follows, for as many slices. Last comes which share of the
step each takes.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from lowshot.nn.planar_unet import PlanarUNet
from lowshot.phantoms.study import Study
from lowshot.reporting.tables import Column, Table, to_markdown
from lowshot.training.allocator import freed_memory_kept
from lowshot.transforms.intensity import in_the_look_of
from lowshot.transforms.slices import Slices
from lowshot.transforms.swelling import swollen
from lowshot.transforms.synthesis import Synthesis, backgrounds_of, synthesise

SIZE, BATCH, SYNTHETIC = 224, 12, 10
WAYS = {
    "as by default": Synthesis(),
    "all on black": Synthesis(black=1.0),
    "all on slices of the pool": Synthesis(black=0.0),
    "all on the exemplar, emptied": Synthesis(black=0.0, own=1.0),
    "structures as they are": Synthesis(exemplar_intensity=False, exemplar_geometry=False),
}


def slices() -> Slices:
    """Of a heart's phantom, z-scored."""
    (subject,) = Study(anatomy="cardiac-mr", subjects=1, shape=(SIZE, SIZE, 10))
    image = subject.scan.voxels.movedim(-1, 0)
    labels = subject.truth.labels.movedim(-1, 0)
    return Slices((image - image.mean()) / image.std(), labels, torch.ones_like(labels, dtype=torch.bool))


def training_step(classes: int, widths: list[int]) -> Callable[[], object]:
    """Forward, backward and an update."""
    network = PlanarUNet(1, classes, widths=widths)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters())
    image = torch.randn(BATCH, 1, SIZE, SIZE).to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (BATCH, SIZE, SIZE))

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def changes(
    exemplars: Slices, others: Float[Tensor, "n c i j"], generator: Generator
) -> dict[str, Callable[[], object]]:
    """What changes exemplars as wholes, instead of cutting structures out of them."""
    amount = torch.rand(len(others), generator=generator)
    return {
        "grey values of other slices": partial(in_the_look_of, exemplars.image, others, amount),
        "two structures of another size": lambda: swollen(swollen(exemplars, generator), generator),
    }


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    action()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"`{shlex.join(['python', *sys.argv])}`: PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    every, generator = slices(), torch.Generator().manual_seed(0)
    exemplar = every.of(torch.tensor([len(every.image) // 2]))
    backgrounds = backgrounds_of([every.image], exemplar)
    actions: dict[str, Callable[[], object]] = {"training step": training_step(4, asked.widths)}
    for name, way in WAYS.items():
        actions[name] = partial(synthesise, exemplar, backgrounds, way, SYNTHETIC, generator)
    actions |= changes(exemplar.drawn(SYNTHETIC, generator), every.drawn(SYNTHETIC, generator).image, generator)
    with freed_memory_kept():
        rounds = [[timed(action) for action in actions.values()] for _ in range(asked.rounds + 1)][1:]
    costs = np.median(rounds, axis=0)
    rows = tuple((name, *cost, 100 * cost[1] / costs[0, 1]) for name, cost in zip(actions, costs, strict=True))
    columns = (Column("what", numeric=False), Column("ms", 0), Column("processor ms", 0), Column("% of the step", 1))
    print(to_markdown(Table(columns, rows)))


if __name__ == "__main__":
    main()
