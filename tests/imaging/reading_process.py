"""Reads files in a process of its own, which may crash, hang or run out of memory, and says what came of each.

Paths come on standard input, one JSON line for each goes to standard output. A file that takes too long ends the
process, and so does one that makes a C++ library crash.
"""

import json
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from lowshot.errors import LowshotError

LONGEST_CPU_SECONDS = 10
LONGEST_SECONDS = 200
"""Of waiting for something that never comes; a busy machine alone must not take as long."""
MEMORY_BYTES = 256 * 2**20
"""What reading may take beyond what the imported libraries have; the files are of a few kilobytes."""


def main() -> None:
    """One line in, one line out."""
    for sound in sys.stdin.readline().split("\t"):  # so that the libraries have all that they load when first used
        read(Path(sound.strip()))
    _limit_memory()
    print("ready", flush=True)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        for line in sys.stdin:
            said.seek(0)
            said.truncate()
            _limit_time(LONGEST_CPU_SECONDS, LONGEST_SECONDS)
            outcome = _outcome(Path(line.strip()))
            _limit_time(0, 0)
            sys.stderr.flush()
            said.seek(0)
            outcome["stderr"] = said.read().decode(errors="replace")
            print(json.dumps(outcome), flush=True)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_time(cpu_seconds: int, seconds: int) -> None:
    """The system ends the process when the time is over, whatever it is doing; 0 means no limit."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.alarm(seconds)


def _outcome(path: Path) -> dict[str, object]:
    try:
        shape = read(path)
    except LowshotError as error:
        return {"outcome": "refused", "message": str(error), "causes": _causes(error)}
    except BaseException as error:
        return {"outcome": "defect", "message": f"{type(error).__name__}: {error}", "causes": _causes(error)}
    return {"outcome": "read", "shape": shape}


def read(path: Path) -> tuple[int, ...]:
    """The scan's shape, if a label map on its grid can be written with its header and read again."""
    import numpy as np
    import torch

    from lowshot.imaging.files import read_scan, write_segmentation
    from lowshot.imaging.label_maps import read_labels
    from lowshot.imaging.names import Names
    from lowshot.imaging.scan import Segmentation

    scan = read_scan(path, colour=True)
    if not torch.isfinite(scan.voxels).all() or not np.isfinite(scan.affine).all():
        raise ValueError("what was read is not finite")
    empty = Segmentation(torch.zeros(scan.grid.shape, dtype=torch.int16), Names.from_values([1]), scan.affine)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.nii.gz"
        write_segmentation(empty, result, scan.source)
        read_labels(result, like=scan)
    return tuple(scan.voxels.shape)


def _causes(error: BaseException | None) -> list[str]:
    causes = []
    while error is not None:
        causes.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return causes


if __name__ == "__main__":
    main()
