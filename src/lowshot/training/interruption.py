"""Ctrl-C and SIGTERM during training: finish the step, keep it, and stop with one sentence."""

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Training was asked to stop. The text says how far it came and how to go on.

    Not a ``LowshotError``, so that what goes on after a failed part does not go on after this.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @classmethod
    def at(cls, stage: str, step: int, steps: int, folder: Path | None, signal_number: int | None) -> "Stopped":
        """The message after ``step`` steps; no signal number means that another process was asked."""
        kept = "nothing was kept, as no folder was given" if folder is None else f"run it again to go on from {folder}"
        return cls(f"{stage}: stopped after step {step} of {steps}; {kept}", 128 + (signal_number or signal.SIGTERM))


class Interruption:
    """Remembers, inside its ``with`` block, that a signal came; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal_number is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
