"""MT-UNet's local-global attention for all windows at once against a loop over windows and their pixels, in turns.

    python benchmarks/mt_unet_attention.py [--batch 12] [--threads 2] [--rounds 3] [--precision bfloat16]

Both have the same weights, and their results are compared first. Times are medians of forward and backward in one
process, with memory kept between steps as ``fit`` has it; processor time is that of all threads. Last comes how many
times ours the loop's is. Sizes and widths are those of the published network for slices of 224×224; the
last is that of a narrow one.
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
from torch import Tensor

from lowshot.nn.window_attention import HEADS, WINDOW, GaussianAxialAttention, LocalGlobalAttention, WindowAttention
from lowshot.reporting.tables import Column, Table, to_markdown
from lowshot.training.allocator import freed_memory_kept

MAPS = ((28, 256), (14, 512), (7, 1024), (28, 512), (28, 64))
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}


def by_loops(attention: LocalGlobalAttention, tokens: Tensor) -> Tensor:
    """What ``attention`` computes, window by window and pixel by pixel; only the batch is taken at once."""
    batch, size, _, width = tokens.shape
    count = -(-size // WINDOW)
    beyond = count * WINDOW - size
    padded = F.pad(tokens, (0, 0, 0, beyond, 0, beyond))
    rows = [
        [window_by_pixels(attention.local, window) for window in torch.split(row, WINDOW, dim=2)]
        for row in torch.split(padded, WINDOW, dim=1)
    ]
    summaries = torch.stack(
        [torch.stack([attention.summarised(w[:, None, None])[:, 0, 0] for w in row], 1) for row in rows], 1
    )
    distant = axial_by_pixels(attention.axial, summaries).movedim(-1, 1)
    enlarged = F.interpolate(distant, scale_factor=WINDOW, mode="bilinear", align_corners=True).movedim(1, -1)
    windows = torch.cat([torch.cat([w.reshape(batch, WINDOW, WINDOW, width) for w in row], 2) for row in rows], 1)
    joined: Tensor = attention.join(torch.cat([enlarged, windows], dim=-1))
    return joined[:, :size, :size]


def window_by_pixels(attention: WindowAttention, window: Tensor) -> Tensor:
    """(b, 4, 4, d) to (b, 16, d)."""
    parts = attention.query_key_value(window.flatten(1, 2)).chunk(3, dim=-1)
    query, key, value = (part.reshape(*part.shape[:2], HEADS, -1) for part in parts)  # (b, t, head, c)
    mixed = []
    for pixel in query.unbind(1):
        scores = (pixel[:, None] * key).sum(-1).float() * key.shape[-1] ** -0.5
        mixed.append((scores.softmax(dim=1)[..., None] * value).sum(1).flatten(1))
    found: Tensor = attention.out(torch.stack(mixed, dim=1))
    return found


def axial_by_pixels(attention: GaussianAxialAttention, tokens: Tensor) -> Tensor:
    """(b, p, q, d) to the same."""
    _, p, q, _ = tokens.shape
    query, key, value = attention.query_key_value(tokens).float().chunk(3, dim=-1)

    def along(line: tuple[slice | int, ...], here: int, of: Tensor) -> Tensor:
        squares = (torch.arange(key[line].shape[1]) - here).square()
        scores = (of[:, None] * key[line]).sum(-1) - attention.sharpness * squares
        found: Tensor = (scores.softmax(dim=1)[..., None] * value[line]).sum(1)
        return found

    every = slice(None)
    rows = [
        [along((every, i), j, query[:, i, j]) + along((every, every, j), i, query[:, i, j]) for j in range(q)]
        for i in range(p)
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def step(way: Callable[[Tensor], Tensor], tokens: Tensor, precision: str) -> tuple[float, float]:
    """Result and gradient once: ms on the clock and of the processor."""
    tokens.grad, start, used = None, time.perf_counter(), time.process_time()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        found = way(tokens)
    found.float().square().mean().backward()  # type: ignore[no-untyped-call]
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)


def main() -> None:
    """Compare, measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--batch", type=int, default=12)
    words.add_argument("--threads", type=int, default=torch.get_num_threads())
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--precision", choices=list(TOLERANCE), default="bfloat16")
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    print(f"`{shlex.join(['python', *sys.argv])}`: PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    rows: list[tuple[str | float, ...]] = []
    for size, width in MAPS:
        attention = LocalGlobalAttention(width)
        tokens = torch.randn(asked.batch, size, size, width, requires_grad=True)
        ways = (partial(by_loops, attention), attention)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=asked.precision == "bfloat16"):
            torch.testing.assert_close(*(way(tokens).float() for way in ways), rtol=0, atol=TOLERANCE[asked.precision])
        with freed_memory_kept():
            rounds = [[step(way, tokens, asked.precision) for way in ways] for _ in range(asked.rounds + 1)][1:]
        clock, processor = np.median(rounds, axis=0).T
        for unit, costs in (("ms", clock), ("processor ms", processor)):
            rows.append((f"{size}×{size}, {width}", unit, *costs, costs[0] / costs[1]))
    columns = (Column("tokens, width", numeric=False), Column("cost", numeric=False))
    print(to_markdown(Table((*columns, Column("loop", 0), Column("ours", 0), Column("times", 1)), tuple(rows))))


if __name__ == "__main__":
    main()
