"""What a training says while it runs: progress for people, ``log.csv`` for later, an error when it diverges."""

import csv
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from lowshot.atomic import atomic_path, mend
from lowshot.errors import Diverged, OutputError
from lowshot.training.processes import mean
from lowshot.training.resume import ADVICE
from lowshot.training.run import Run

COLUMNS = ("stage", "step", "seconds", "term", "value")
EVERY = 10
"""Steps that are averaged into a row, so that a GPU is waited for once in so many steps."""


class Journal:
    """Loss terms of one stage; a context manager around its steps."""

    def __init__(self, run: Run, stage: str, first: int, steps: int) -> None:
        """Begin at step ``first`` of ``steps``; rows that a killed training wrote beyond it are dropped."""
        self._run, self._stage, self._step, self._steps = run, stage, first, steps
        self._terms: list[dict[str, Tensor]] = []
        self._path = None if run.folder is None or run.rank else run.folder / "log.csv"
        self._before = 0.0 if self._path is None else _drop_rows_beyond(self._path, stage, first)
        self._start = time.monotonic()
        self._exits = ExitStack()

    def __enter__(self) -> "Journal":
        progress = self._run.progress.task(self._stage, self._steps, done=self._step)
        self._task = self._exits.enter_context(progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def add(self, terms: dict[str, Tensor]) -> None:
        """Note the terms of one step."""
        self._terms.append(terms)
        self._step += 1
        self._task.advance()
        if len(self._terms) == EVERY:
            self.flush()

    def flush(self) -> None:
        """Look at the steps since the last time: a row of their means, or an error naming the first bad one."""
        if not self._terms:
            return
        names = list(self._terms[0])
        table = mean(torch.stack([torch.stack([t[name].float() for name in names]) for t in self._terms]), self._run)
        table = table.cpu()  # (steps, terms)
        bad = (~torch.isfinite(table)).nonzero()
        if len(bad):
            step, term = self._step - len(table) + int(bad[0, 0]), names[int(bad[0, 1])]
            raise Diverged(f"{self._stage}, step {step}: {term} is {table[*bad[0]].item()}. {ADVICE}")
        means = dict(zip(names, table.mean(0).tolist(), strict=True))
        self._terms = []
        self._task.advance(0, **means)
        self._write(means)

    def _write(self, means: dict[str, float]) -> None:
        if self._path is None:
            return
        seconds = round(self._before + time.monotonic() - self._start, 2)
        try:
            with self._path.open("a", newline="") as file:
                rows = ((self._stage, self._step, seconds, name, f"{value:.6g}") for name, value in means.items())
                csv.writer(file).writerows(rows)
        except OSError as error:
            told = f"{self._path}: cannot be written: {error.strerror}"
            raise OutputError(f"{told}. {mend(error, 'move its folder elsewhere')}, then resume") from error


def _drop_rows_beyond(path: Path, stage: str, step: int) -> float:
    """Rewrite the log without what comes again now; returns the seconds of the stage's last row that stays."""
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [row for row in csv.reader(lines) if len(row) == len(COLUMNS) and row[1].isdecimal()]
    kept = [row for row in whole if row[0] != stage or int(row[1]) <= step]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *kept])
    return max((float(row[2]) for row in kept if row[0] == stage), default=0.0)
