"""Telling a person or a program how far the work is.

Everything goes to standard error, so that standard output holds results alone (a table, or JSON with ``--json``):

- ``Bars``    a terminal: one bar with time left per task (rich)
- ``Lines``   a file or a pipe: plain lines at growing intervals, with time left
- ``Events``  a program: one JSON object per line, ``{"event": "progress", "task": "training", "done": 10, ...}``
- ``Silent``  nothing; what the Python interface does unless told otherwise
"""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


GONE = (errno.EPIPE, errno.EIO)
"""Of a pipe without a reader, and of a terminal that was closed."""


@runtime_checkable
class Task(Protocol):
    """One piece of work in progress."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """``n`` more units are done; ``figures`` (a loss, a Dice) are shown beside the count."""


@runtime_checkable
class Progress(Protocol):
    """Where messages and progress go."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Announce ``total`` units of work, ``done`` of them in an earlier process; they advance inside the block."""

    def note(self, message: str) -> None:
        """Say one sentence."""

    def warn(self, message: str) -> None:
        """Say one sentence that the user should act on."""


@runtime_checkable
class Stream(Protocol):
    """Where text goes: standard error, a file, a StringIO."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> object:
        """Let it be seen."""

    def isatty(self) -> bool:
        """Whether a person looks at it."""


def progress_for(stream: Stream, json_events: bool = False) -> Progress:
    """What suits the stream: events if asked for, bars on a terminal, lines elsewhere."""
    if json_events:
        return Events(stream)
    return Bars(stream) if stream.isatty() else Lines(stream)


class Unbreakable:
    """A stream that may end before the work does: what cannot be written is left unsaid.

    A training must not be lost because its reader is gone (``2>&1 | head``, a closed terminal), or a log's disk full.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str, /) -> object:
        """Write, if that is possible."""
        with self._unsaid():
            self._stream.write(text)
        return len(text)

    def flush(self) -> object:
        """Let it be seen, if that is possible."""
        with self._unsaid():
            self._stream.flush()
        return None

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream.isatty()

    @contextmanager
    def _unsaid(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in GONE:
                self._forget_reader()

    def _forget_reader(self) -> None:
        """What is still buffered goes nowhere, so that Python does not fail over it when it ends."""
        with suppress(OSError, AttributeError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, cast(IO[str], self._stream).fileno())
            os.close(nowhere)


class Silent:
    """Says nothing."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Count in silence."""
        yield Counted(total, done, lambda _: None)

    def note(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Say nothing."""


class Counted:
    """A task that counts itself and calls ``report`` after one second, and then ever more rarely, at most a minute."""

    def __init__(self, total: int, done: int, report: Callable[["Counted"], None]) -> None:
        self.total, self.done, self.figures = total, done, dict[str, float]()
        self._report, self._before, self._start, self._due = report, done, time.monotonic(), 1.0

    @property
    def seconds(self) -> float:
        """Time since the task began in this process."""
        return time.monotonic() - self._start

    @property
    def seconds_left(self) -> float | None:
        """Time left if it goes on like this; None before the first unit."""
        here = self.done - self._before
        return self.seconds / here * (self.total - self.done) if here else None

    def advance(self, n: int = 1, **figures: float) -> None:
        """``n`` more units are done."""
        self.done += n
        self.figures |= figures
        if self.seconds >= self._due and self.done < self.total:  # the end is told when it has come
            self._due = self.seconds + min(60.0, max(1.0, 0.5 * self.seconds))
            self.report()

    def report(self) -> None:
        """Tell how far it is, now."""
        self._report(self)


class Lines:
    """Plain lines: ``training 120/3000, 4 min left, loss 0.41``."""

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream = Unbreakable(stream or sys.stderr)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Print a line now and then, and one at the end."""
        task = Counted(total, done, lambda task: self.note(f"{name} {_summary(task)}"))
        yield task
        task.report()

    def note(self, message: str) -> None:
        """Print the sentence."""
        print(message, file=self._stream, flush=True)

    def warn(self, message: str) -> None:
        """Print the sentence, marked."""
        self.note(f"warning: {message}")


class Events:
    """JSON lines for programs; every object has ``event``: "progress", "note" or "warning"."""

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream = Unbreakable(stream or sys.stderr)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Print an event now and then, and one at the end; ``seconds_left`` is null until it can be told."""
        task = Counted(total, done, lambda task: self._progress(name, task))
        yield task
        task.report()

    def note(self, message: str) -> None:
        """Print a note."""
        self._print({"event": "note", "message": message})

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print({"event": "warning", "message": message})

    def _progress(self, name: str, task: Counted) -> None:
        left = None if task.seconds_left is None else round(task.seconds_left, 1)
        event = {"event": "progress", "task": name, "done": task.done, "total": task.total}
        self._print({**event, "seconds": round(task.seconds, 1), "seconds_left": left, "figures": task.figures})

    def _print(self, event: dict[str, object]) -> None:
        print(json.dumps(event), file=self._stream, flush=True)


class Bars:
    """Bars for a terminal, by rich."""

    def __init__(self, stream: Stream | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=cast(IO[str], Unbreakable(stream or sys.stderr)))

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """Draw a bar while the block runs."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with RichProgress(*columns, TextColumn("{task.fields[figures]}"), console=self._console) as bars:
            yield _Bar(bars, name, total, done)

    def note(self, message: str) -> None:
        """Print the sentence above the bars."""
        self._console.print(message, markup=False)

    def warn(self, message: str) -> None:
        """Print the sentence, marked."""
        self._console.print(f"warning: {message}", style="yellow", markup=False)


class _Bar:
    def __init__(self, bars: "RichProgress", name: str, total: int, done: int) -> None:
        self._bars, self._id = bars, bars.add_task(name, total=total, completed=done, figures="")

    def advance(self, n: int = 1, **figures: float) -> None:
        """``n`` more units are done."""
        self._bars.update(self._id, advance=n)
        if figures:
            self._bars.update(self._id, figures=_figures(figures))


def _summary(task: Counted) -> str:
    left = task.seconds_left
    if task.done >= task.total:
        when = f"done in {_duration(task.seconds)}"
    else:
        when = f"{_duration(left)} left" if left is not None else "just begun"
    return ", ".join(filter(None, (f"{task.done}/{task.total}", when, _figures(task.figures))))


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in figures.items())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
