"""From a learner and an example to a model, in seconds: what ``lowshot adapt`` and ``lowshot.adapt`` do."""

from collections.abc import Mapping, Sequence
from typing import Literal

from lowshot.fitting import digests_of, provenance_of, refuse_errors, warn_of_known
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan
from lowshot.model_file import Fitted
from lowshot.progress import Progress, Silent
from lowshot.task import LowShotTask
from lowshot.training.plan import Precision
from lowshot.training.run import Run

INHERITED = ("preset", "seed", "base_structures")
"""What is said of a learner, and of every model that it makes. All that is said of it stands under ``base``."""


def adapt(
    fitted: Fitted,
    support: Sequence[LabelledScan],
    names: Names,
    *,
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    files: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Give a learner an example of new structures.

    Args:
        fitted: what ``fit`` made of a base, or what ``adapt`` or ``fit`` made of it with another example.
        support: one, two or three annotated scans.
        names: the structures they are annotated for.
        device: "auto", or a name that PyTorch knows.
        precision: "auto" measures whether bfloat16 pays.
        threads: of PyTorch on the CPU; None leaves them as they are.
        files: path to SHA-256 of the files the scans were read from; None: their voxels are hashed instead.
        progress: where to tell what was found in the scans; None: nowhere.

    Raises:
        ModelFileError: the method does not learn from an example.
        ChannelMismatch: the scans have other channels than those of the base.
        InputError: a scan cannot be used; ``lowshot.check`` tells why.
    """
    learner, progress = fitted.learner(), progress or Silent()
    task = LowShotTask(names, support)
    refuse_errors(task.support, progress)
    warn_of_known(names, fitted.provenance.get("base_structures", ()), progress)
    run = Run(device=device, precision=precision, threads=threads, progress=progress)
    model = learner.adapt(task.support, names, run)
    origin = {key: fitted.provenance[key] for key in INHERITED if key in fitted.provenance}
    provenance = {
        **origin,
        **provenance_of(task.support, run, digests_of(task) if files is None else files),
        "base": fitted.provenance.get("base", dict(fitted.provenance)),
    }
    return Fitted(model, fitted.method, fitted.name, fitted.settings, provenance)
