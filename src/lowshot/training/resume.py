"""Checkpoints: all that changes while training, so that a killed one goes on as if nothing had happened."""

import re
import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lowshot.atomic import remove_leftovers
from lowshot.errors import Diverged, SettingsError, UnreadableFile
from lowshot.training.archive import read_archive, write_archive
from lowshot.training.processes import any_process
from lowshot.training.run import Run


@runtime_checkable
class Stateful(Protocol):
    """Something with a state that can be taken out and put back: a module, an optimiser, a queue.

    The state is made of tensors, numbers, strings, dictionaries and lists, as checkpoints are read with
    ``weights_only=True``.
    """

    def state_dict(self) -> dict[str, Any]:
        """The state now."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Put a state back."""


class Checkpoint:
    """One stage's checkpoint in the folder of a run; without a folder nothing is written."""

    def __init__(
        self,
        stage: str,
        parts: Mapping[str, Stateful],
        fingerprint: Mapping[str, Any],
        run: Run,
        every_seconds: float = 60.0,
    ) -> None:
        """Name what is kept.

        Args:
            stage: the file is ``checkpoints/<stage>.pt``.
            parts: what changes while training, by name.
            fingerprint: settings (numbers and strings) under which the checkpoint may be used again.
            run: its folder, and its process (the first one writes, all read).
            every_seconds: time between checkpoints.
        """
        self.path = None if run.folder is None else run.folder / "checkpoints" / f"{_file_name(stage)}.pt"
        self._stage, self._parts, self._fingerprint = stage, parts, dict(fingerprint)
        self._writes = run.rank == 0
        self._every_seconds, self._last = every_seconds, time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.path is not None and time.monotonic() - self._last >= self._every_seconds

    def save(self, step: int) -> None:
        """Write the state after ``step`` steps, whole or not at all; the one before stays until then."""
        self._refuse_non_finite(step)
        if self.path is not None and self._writes:
            parts = {name: part.state_dict() for name, part in self._parts.items()}
            content = {"step": step, "fingerprint": self._fingerprint, "parts": parts}
            write_archive(self.path, content)
        self._last = time.monotonic()

    def restore(self) -> int:
        """Put back what is in the file and return the number of steps done; 0 if there is no file."""
        if self.path is None:
            return 0
        if self._writes:  # what a process left that was killed while it wrote
            remove_leftovers(self.path)
        if not self.path.exists():
            return 0
        content = read_archive(self.path, "a training checkpoint")
        try:
            fingerprint, parts, step = dict(content["fingerprint"]), content["parts"], int(content["step"])
            self._refuse_another(fingerprint)
            for name, part in self._parts.items():
                part.load_state_dict(parts[name])
        except (torch.OutOfMemoryError, SettingsError):  # the file is not to blame, or it has been told
            raise
        except Exception as error:  # whatever a part makes of a state that is none
            raise UnreadableFile(
                f"{self.path}: expected a training checkpoint, it holds something else ({type(error).__name__}). "
                "Delete it to train this stage again"
            ) from error
        return step

    def _refuse_another(self, fingerprint: Mapping[str, Any]) -> None:
        for name, value in self._fingerprint.items():
            if fingerprint.get(name) != value:
                raise SettingsError(
                    f"{self.path}: made with {name} {fingerprint.get(name)!r}, now it is {value!r}; "
                    "choose another folder, or delete the file to train this stage again"
                )

    def _refuse_non_finite(self, step: int) -> None:
        modules = (part for part in self._parts.values() if isinstance(part, nn.Module))
        for name, values in (item for module in modules for item in module.state_dict().items()):
            if isinstance(values, Tensor) and values.is_floating_point() and not bool(torch.isfinite(values).all()):
                raise Diverged(f"{self._stage}: {name} is no longer finite after step {step}. {ADVICE}")


def refuse_other_steps(first: int, run: Run) -> None:
    """All processes go on at one step, or each says which folder it does not share with the others.

    Raises:
        SettingsError: some process found another checkpoint than process 0, or none.
    """
    (differ,) = any_process([first != run.broadcast(first)], run)
    if differ:
        raise SettingsError(
            f"{run.folder}: process {run.rank} found {first} steps done there, not all of the others did; put the "
            "training's folder where every machine sees it, or take away what is left of it on some"
        )


ADVICE = "Lower the learning rate or clip the gradient; the last checkpoint, if there is one, is from before"


def _file_name(stage: str) -> str:
    return re.sub(r"[^\w.-]+", "-", stage)
