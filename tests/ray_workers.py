"""Workers of a Ray cluster on this machine, one of which is killed while it has something to do."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

EVERY = 0.02
"""Seconds between looks at the processes."""


def busy_workers() -> list[int]:
    """Process numbers of this process's Ray workers that have something to do: Ray titles them after it."""
    found = []
    for title in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            number = int(title.parent.name)
            if title.read_bytes().startswith(b"ray::_on_worker") and os.getpid() in _above(number):
                found.append(number)
    return found


def _above(number: int) -> Iterator[int]:
    """The processes that began this one, from the nearest on."""
    while number > 1:
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        yield number


@contextmanager
def one_killed(when: Callable[[], bool]) -> Iterator[list[int]]:
    """Kill the first busy worker that is seen once ``when`` holds. Yields a list that then holds its number."""
    killed, over = list[int](), Event()
    killer = Thread(target=_kill_one, args=(when, killed, over))
    killer.start()
    try:
        yield killed
    finally:
        over.set()
        killer.join()


def _kill_one(when: Callable[[], bool], killed: list[int], over: Event) -> None:
    while not over.is_set():
        workers = busy_workers()
        if when() and workers:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])
            return
        time.sleep(EVERY)
