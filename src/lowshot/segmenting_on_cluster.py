"""Many scans on the workers of a cluster, each with the model in its memory from one scan to the next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from lowshot.cluster import Cluster, on_cluster
from lowshot.errors import LowshotError
from lowshot.inputs.scan_files import NOTHING_DECLARED, Declared, ScanFiles
from lowshot.model_file import Fitted, load
from lowshot.progress import Progress
from lowshot.segmenting import options_of
from lowshot.segmenting_files import Batch, Failed, Outputs, Segmented
from lowshot.training.plan import Precision
from lowshot.training.run import Run


@dataclass(frozen=True)
class SharedBatch:
    """A ``Batch`` in words that can be sent to another machine: the model is the file that its workers read."""

    model: Path
    outputs: Outputs
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int = 1
    declared: Declared = NOTHING_DECLARED
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def segment(
        self, fitted: Fitted, scans: Sequence[ScanFiles], cluster: Cluster, progress: Progress
    ) -> Iterator[Segmented | Failed]:
        """Segment scans in any order; what became of each, as it ends. ``fitted`` is what the model's file holds.

        Raises:
            ModelFileError, SettingsError, OutputError: as ``Batch.segment``, before any work.
            MissingExtra, InputError: as ``on_cluster``.
        """
        fitted.segmenter(), options_of(fitted, self.options)
        self.outputs.require_place(scans)
        self.outputs.folder.mkdir(parents=True, exist_ok=True)
        with progress.task("scans", len(scans)) as task:
            for scan, outcome in on_cluster(partial(_segment, self), scans, cluster, self.outputs.folder):
                ended = _died(scan, outcome) if isinstance(outcome, LowshotError) else outcome
                if isinstance(ended, Failed):
                    progress.warn(str(ended.error))
                task.advance()
                yield ended


def _died(scan: ScanFiles, error: LowshotError) -> Failed:
    """What workers died over is not in the error."""
    return Failed(scan.name, LowshotError(f"{scan.name}: {error}"))


def _segment(shared: SharedBatch, scan: ScanFiles) -> Segmented | Failed:
    run = Run(device=shared.device, precision=shared.precision, threads=shared.threads)
    fitted = _loaded(shared.model, shared.model.stat().st_mtime_ns)
    batch = Batch(fitted, shared.outputs, run, shared.declared, shared.options, shared.source)
    [outcome] = batch.segment([scan])
    return outcome


@lru_cache(maxsize=1)  # a file that was replaced has another time
def _loaded(model: Path, changed: int) -> Fitted:
    return load(model)
