"""A disk of a few kilobytes that can be filled up: a tmpfs, which needs root; tests skip where mounting is refused."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096
"""What the smallest file takes."""


@contextmanager
def small_disk(place: Path, pages: int) -> Iterator[Path]:
    """A folder on a disk of its own, of so many pages."""
    place.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", place]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def filled_up_to(disk: Path, free_pages: int) -> Iterator[None]:
    """Only so many pages are free inside; what was written inside stays."""
    filler = disk / ".filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(max(0, file.tell() - free_pages * PAGE))
    try:
        yield
    finally:
        filler.unlink()
