"""From a task to a trained model: what ``lowshot fit`` and ``lowshot.fit`` do."""

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lowshot import catalogue
from lowshot.catalogue import DEFAULT_METHOD, DEFAULT_PRESET
from lowshot.contract import Method, Synthesises
from lowshot.errors import InputError, SettingsError, TaskProblem
from lowshot.imaging.check import check, check_together, given_before
from lowshot.imaging.digests import digests
from lowshot.imaging.grid import Affine
from lowshot.imaging.names import Names, is_unnamed
from lowshot.imaging.placement import placement
from lowshot.imaging.scan import LabelledScan, Scan
from lowshot.model_file import Fitted
from lowshot.progress import Progress, Silent
from lowshot.task import LowShotTask
from lowshot.training.folder import begin, held
from lowshot.training.plan import Plan, Precision
from lowshot.training.run import Budget, Run
from lowshot.transforms.slices import Slices


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
    plan: Plan | None = None,
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
        folder: plan, checkpoints and log go there. The same training found there goes on, or returns at once if it
            had ended; ``Fitted.save`` removes its checkpoints. None: nothing is kept.
        restart: begin anew, whatever the folder holds.
        files: path to SHA-256 of the files the task was read from; None: its voxels are hashed instead.
        plan: of another seed's training, so that this one takes as many steps in the same precision.
        progress: where to tell how far the work is; None: nowhere.

    Raises:
        SettingsError: no such method, preset or setting; or the folder holds an unsaved training of something else, or
            another process is at it.
        OutputError: nothing can be written to the folder.
        InputError: an annotated scan cannot be used; ``lowshot.check`` tells why.
        TaskProblem: the method cannot work on this task.
        Diverged: a loss or a weight became infinite or NaN.
    """
    values = catalogue.settings(method, preset, settings)
    made = _able(method, values, task)
    refuse_errors(task.support, progress or Silent())
    _warn_of_unused(task, method, progress or Silent())
    base = _base_structures(task, method)
    warn_of_known(task.names, base, progress or Silent())
    files = {**(digests_of(task) if files is None else files), **_digest_of_weights(made)}
    budget = Budget(steps, minutes)
    folder = None if folder is None else Path(folder)
    with held(folder):
        key = ""
        if folder is not None:
            request = _request(task, base, files, method=method, settings=values, seed=seed, budget=asdict(budget))
            begin(folder, request, restart)
            told = json.dumps([request, list(files)], sort_keys=True)  # what is kept goes by the scans' order
            key = hashlib.sha256(told.encode()).hexdigest()[:16]
        run = Run(
            device=device,
            precision=precision,
            seed=seed,
            folder=folder,
            budget=budget,
            threads=threads,
            key=key,
            plan=plan,
            progress=progress,
        )
        model = made.fit(task, run)
    provenance = {
        "preset": preset,
        "seed": seed,
        "budget": asdict(budget),
        **provenance_of(task.support, run, files),
        "mirror_pairs": task.mirror_pairs,
        **({"base_structures": base} if base else {}),
    }
    return Fitted(model, made, method, values, provenance, folder)


def samples(
    task: LowShotTask,
    method: str,
    preset: str = DEFAULT_PRESET,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Slices:
    """A batch of what a method makes from the annotated scans, to be looked at before it learns from such.

    Raises:
        SettingsError: as for ``fit``, or the method makes none.
        TaskProblem: the method cannot work on this task.
    """
    made = _able(method, catalogue.settings(method, preset, settings), task)
    if not isinstance(made, Synthesises):
        raise SettingsError(f"{method} makes no samples; it learns from the scans themselves")
    return made.samples(task, Run(seed=seed, device="cpu", precision="float32", memory_format="contiguous"))


def _able(method: str, values: Mapping[str, Any], task: LowShotTask) -> Method:
    """The method, which has no problem with the task."""
    made = catalogue.create(method, values)
    problems = made.problems(task)
    if problems:
        raise TaskProblem(f"{method} cannot learn from this: {'; '.join(problems)}")
    return made


def _digest_of_weights(method: Method) -> dict[str, str]:
    """Of the file of weights that a method begins with, if it does: another content is another training."""
    weights = getattr(method, "weights", None)
    return {} if weights is None else digests([Path(weights)])


def refuse_errors(support: Sequence[LabelledScan], progress: Progress) -> None:
    """Tell all findings about annotated scans, then refuse to learn if one of them is an error.

    Raises:
        InputError: one is.
    """
    errors, seen = list[str](), dict[str, str]()
    again = (given_before(labelled.scan, seen) for labelled in support)
    for finding in chain(*map(check, support), *again, check_together(support)):
        if finding.severity == "error":
            errors.append(finding.message)
        elif finding.severity == "warning":
            progress.warn(finding.message)
        else:
            progress.note(finding.message)
    if errors:
        raise InputError("; ".join(errors))


def _warn_of_unused(task: LowShotTask, method: str, progress: Progress) -> None:
    given = {"unlabelled": "scans without labels", "base": "scans annotated for other structures"}
    unused = [
        what for part, what in given.items() if len(getattr(task, part)) and part not in catalogue.entry(method).uses
    ]
    if unused:
        progress.warn(f"{method} does not learn from {' or '.join(unused)}; they make no difference")


def _base_structures(task: LowShotTask, method: str) -> list[str]:
    """What the method learns from the base, by its first scan; the others are read when the method asks for them."""
    if not len(task.base) or "base" not in catalogue.entry(method).uses:
        return []
    first = task.base[0]
    return [name for name in first.truth.names.foreground if first.annotated is None or name in first.annotated]


def warn_of_known(names: Names, base: Iterable[str], progress: Progress) -> None:
    """Tell which structures to be learned from an example the base has shown already."""
    there = {name.casefold() for name in base if not is_unnamed(name)}  # these need not be the same
    known = [name for name in names.foreground if name.casefold() in there]
    if known:
        listed, verb = ", ".join(known), "is" if len(known) == 1 else "are"
        progress.warn(f"the base is annotated for {listed} too, so {listed} {verb} not new to it")


def _request(task: LowShotTask, base: Sequence[str], files: Mapping[str, str], **asked: Any) -> dict[str, Any]:
    """What must be the same for a stopped training to go on."""
    return {
        **asked,
        "structures": dict(zip(map(str, task.names.values), task.names.names, strict=True)),
        **({"base": base} if base else {}),
        "channels": list(task.channels),
        "mirror_pairs": task.mirror_pairs,
        "files": dict(files),
        "annotation": [_annotation(labelled) for labelled in task.support],
    }


def _annotation(labelled: LabelledScan) -> str:
    """Which part of a scan is annotated; the files do not say."""
    known = "all voxels"
    if labelled.known is not None:  # slices 5 and 6 have as many voxels
        known = f"{int(labelled.known.sum())} voxels ({_sha256(labelled.known)[:8]})"
    return f"{known} of {', '.join(sorted(labelled.annotated)) if labelled.annotated else 'all structures'}"


def digests_of(task: LowShotTask) -> dict[str, str]:
    """SHA-256 over a task in memory: voxels, where they lie, and what is known of their labels."""
    annotated = (_sha256(*_parts(each.scan), each.truth.labels, each.known) for each in chain(task.support, task.base))
    pool = (_sha256(*_parts(scan)) for scan in task.unlabelled)
    return {"the task": hashlib.sha256("".join([*annotated, *pool]).encode()).hexdigest()}


def _parts(scan: Scan) -> tuple[Tensor, Affine, Tensor]:
    return scan.voxels, scan.affine, torch.tensor(scan.spacing_known)


def _sha256(*parts: Tensor | Affine | None) -> str:
    total = hashlib.sha256()
    for part in parts:
        if part is not None:
            total.update(np.asarray(part).tobytes())
    return total.hexdigest()


def provenance_of(support: Sequence[LabelledScan], run: Run, files: Mapping[str, str]) -> dict[str, Any]:
    """Where a model comes from. Hashes without paths: a model file travels, and folders can name patients."""
    return {
        "plan": asdict(run.plan),
        "support": [labelled.scan.name for labelled in support],
        "support_voxels": [labelled.scan.digest() for labelled in support],
        "support_lie": [placement(labelled.scan) for labelled in support],
        "training_files": sorted(files.values()),
        "machine": machine_of(run),
        "versions": {package: version(package) for package in ("lowshot", "torch")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine_of(run: Run) -> dict[str, Any]:
    """What computes: plain JSON values."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
    }


def _processor() -> str:
    """The kind of processor; only Linux keeps its name in a file, elsewhere Python's answer has to do."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
