"""How much memory the process will take at its peak while one scan is segmented, told before it starts."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lowshot.contract import Model
from lowshot.imaging.axis_map import AxisMap
from lowshot.inference.assemble import BYTES_PER_VOXEL
from lowshot.training.run import Run

PREPARED_BYTES = 4
"""Per prepared voxel and channel."""
MARGIN_BYTES = 4
"""Per prepared voxel: the margin that ``Preparation.undo_labels`` weighs labels with."""
COPY_BYTES = 4
"""Per voxel of the scan, where its grid is copied: the labels, and the same once more when they are written."""
RESAMPLE_BYTES = 19
"""Per voxel of the scan, where its grid is interpolated: labels, two shares, and the last axis of the interpolation."""
PIECES_BYTES = 8
"""Per voxel, where the largest piece of every structure is looked for: which are kept, and the pieces' numbers."""
FIRST_PASS_BYTES = 100_000_000
"""What the first forward passes take and keep: kernels and the threads' own memory (30 to 35 MB, measured), and freed
pieces that the allocator cannot use again (20 to 110 MB from run to run, where a tile's activations take 190 MB)."""


def memory_needed(model: Model, axis_map: AxisMap, run: Run, options: Any) -> int:
    """Bytes that preparing and segmenting will add at their peak to a process that has read the scan.

    What a GPU computes is not counted, it has its own memory; nor what probabilities on disk take of the page cache:
    the system takes it back when it needs it.
    """
    x, y, z = axis_map.shape
    prepared = PREPARED_BYTES * len(model.channels) * x * y * z
    network = 0 if run.device.type == "cuda" else model.working_memory((x, y, z), run, options)
    deciding = network + BYTES_PER_VOXEL * x * y * z
    undone = (COPY_BYTES if axis_map.is_exact else RESAMPLE_BYTES) + (PIECES_BYTES if options.one_piece else 0)
    undoing = (BYTES_PER_VOXEL + MARGIN_BYTES) * x * y * z + undone * math.prod(axis_map.scan_shape)
    return FIRST_PASS_BYTES + prepared + max(deciding, undoing)


def resident_bytes() -> int:
    """Memory that this process holds now."""
    statm = Path("/proc/self/statm")
    if not statm.exists():  # elsewhere the most so far has to do
        return highest_resident_bytes()
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def forget_highest_resident() -> None:
    """Let ``highest_resident_bytes`` count from now on, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def highest_resident_bytes() -> int:
    """The most memory that this process held since it began, or since ``forget_highest_resident``.

    0 where the system does not tell (Windows).
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next((int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:"), 0)
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def forget_highest_of_gpus() -> None:
    """Let ``highest_of_gpus`` count from now on; without a GPU in use there is nothing to forget."""
    if _gpu_in_use():
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


def highest_of_gpus() -> int | None:
    """The most memory that PyTorch took of one GPU since ``forget_highest_of_gpus``; None where it uses none."""
    if not _gpu_in_use():
        return None
    return max(torch.cuda.max_memory_reserved(number) for number in range(torch.cuda.device_count()))


def _gpu_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def available_bytes() -> int | None:
    """Memory that a process may still take without swapping; None where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)


def gigabytes(count: int) -> str:
    """``1.4 GB``."""
    return f"{count / 1e9:.1f} GB"
