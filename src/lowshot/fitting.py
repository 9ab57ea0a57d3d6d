"""From a task to a trained model: what ``lowshot fit`` and ``lowshot.fit`` do."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from lowshot import catalogue, model_file
from lowshot.catalogue import DEFAULT_METHOD, DEFAULT_PRESET
from lowshot.contract import Learner, Method, Model
from lowshot.errors import ModelFileError, TaskProblem
from lowshot.imaging.scan import LabelledScan
from lowshot.progress import Progress
from lowshot.task import LowShotTask
from lowshot.training.folder import begin
from lowshot.training.plan import Precision
from lowshot.training.run import Budget, Run


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, and all that its file says about it."""

    model: Model | Learner
    method: Method
    name: str
    """Of the method, in the catalogue."""
    settings: Mapping[str, Any]
    """What the method was made with."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Preset, seed, plan, support, SHA-256 of the training files, machine, date."""

    def save(self, path: Path | str) -> None:
        """Write the model as one ``.safetensors`` file, whole or not at all.

        Raises:
            ModelFileError: the name does not end in ``.safetensors``.
            OutputError: it cannot be written.
        """
        require_model_name(Path(path))
        model_file.save(Path(path), self.model, method=self.name, settings=self.settings, provenance=self.provenance)

    def segmenter(self) -> Model:
        """The model, if it can segment.

        Raises:
            ModelFileError: it is a learner, which needs an example first.
        """
        if not isinstance(self.model, Model):
            raise ModelFileError(f"this {self.name} has learned how to learn, but no structure yet: give it an example")
        return self.model


def load(path: Path | str) -> Fitted:
    """Read a model that ``Fitted.save`` or ``lowshot fit`` wrote.

    Raises:
        ModelFileError: no such file, not a model of lowshot's, damaged.
    """
    saved = model_file.load(Path(path))
    own = ("format", "method", "kind", "settings", "state")
    provenance = {key: value for key, value in saved.header.items() if key not in own}
    return Fitted(saved.model, saved.method, saved.name, saved.header["settings"], provenance)


def fit(
    task: LowShotTask,
    method: str = DEFAULT_METHOD,
    preset: str = DEFAULT_PRESET,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    folder: Path | str | None = None,
    restart: bool = False,
    files: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train a method on a task.

    Args:
        task: the annotated scans, and what else there is to learn from.
        method: its name in the catalogue (``lowshot methods``).
        preset: named settings of the method.
        minutes: how long the whole fit may take; or
        steps: how many; with neither, as many as the settings say.
        settings: changes to the preset.
        seed: everything random follows from it.
        device: "auto", or a name that PyTorch knows.
        precision: "auto" measures whether bfloat16 pays.
        threads: of PyTorch on the CPU; None leaves them as they are.
        folder: plan, checkpoints and log go there; a stopped training found there goes on. None: nothing is kept.
        restart: begin anew, whatever the folder holds.
        files: path to SHA-256 of the files the task was read from; None: its voxels are hashed instead.
        progress: where to tell how far the work is; None: nowhere.

    Raises:
        SettingsError: no such method, preset or setting; or the folder holds an unfinished training of something else.
        TaskProblem: the method cannot work on this task.
        Diverged: a loss or a weight became infinite or NaN.
    """
    values = catalogue.settings(method, preset, settings)
    made = catalogue.create(method, values)
    problems = made.problems(task)
    if problems:
        raise TaskProblem(f"{method} cannot learn from this: {'; '.join(problems)}")
    files = {"the task's voxels": _digest(task)} if files is None else files
    budget = Budget(steps, minutes)
    folder = None if folder is None else Path(folder)
    key = ""
    if folder is not None:
        request = _request(task, files, method=method, settings=values, seed=seed, budget=asdict(budget))
        begin(folder, request, restart)
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    run = Run(
        device=device,
        precision=precision,
        seed=seed,
        folder=folder,
        budget=budget,
        threads=threads,
        key=key,
        progress=progress,
    )
    model = made.fit(task, run)
    return Fitted(model, made, method, values, _provenance(task, preset, run, files))


def require_model_name(path: Path) -> None:
    """Refuse an output that is not named like a model file."""
    if path.suffix.lower() != ".safetensors":
        raise ModelFileError(f"{path}: expected a name ending in .safetensors")


def _request(task: LowShotTask, files: Mapping[str, str], **asked: Any) -> dict[str, Any]:
    """What must be the same for a stopped training to go on."""
    return {
        **asked,
        "structures": dict(zip(map(str, task.names.values), task.names.names, strict=True)),
        "channels": list(task.channels),
        "mirror_pairs": task.mirror_pairs,
        "files": dict(files),
        "annotation": [_annotation(labelled) for labelled in task.support],
    }


def _annotation(labelled: LabelledScan) -> str:
    """Which part of a scan is annotated; the files do not say."""
    known = "all voxels" if labelled.known is None else f"{int(labelled.known.sum())} voxels"
    return f"{known} of {', '.join(sorted(labelled.annotated)) if labelled.annotated else 'all structures'}"


def _digest(task: LowShotTask) -> str:
    """SHA-256 over all voxels and labels of a task."""
    total = hashlib.sha256()
    for labelled in (*task.support, *task.base):
        for tensor in (labelled.scan.voxels, labelled.truth.labels, labelled.known):
            if tensor is not None:
                total.update(tensor.cpu().contiguous().numpy().tobytes())
    for scan in task.unlabelled:
        total.update(scan.voxels.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _provenance(task: LowShotTask, preset: str, run: Run, files: Mapping[str, str]) -> dict[str, Any]:
    """Where a model comes from. Hashes without paths: a model file travels, and folders can name patients."""
    return {
        "preset": preset,
        "seed": run.seed,
        "budget": asdict(run.budget),
        "plan": asdict(run.plan),
        "support": [labelled.scan.name for labelled in task.support],
        "mirror_pairs": task.mirror_pairs,
        "training_files": sorted(files.values()),
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
