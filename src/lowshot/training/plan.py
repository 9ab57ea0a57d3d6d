"""What is fixed before step 0 and never changes: ``plan.json`` in the folder of a run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from lowshot.atomic import atomic_path
from lowshot.errors import UnreadableFile

Precision = Literal["float32", "bfloat16"]
MemoryFormat = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class StagePlan:
    """How long one training stage takes."""

    steps: int
    share: float = 1.0
    """Part of the whole budget that belongs to this stage."""
    seconds: float | None = None
    """Time the steps were expected to take, where they come from ``--minutes``."""


@dataclass(frozen=True)
class Plan:
    """Precision, memory format, threads and steps. Resuming reuses it; ``Run(plan=...)`` gives it to other seeds."""

    precision: Precision
    memory_format: MemoryFormat
    threads: int
    device: str
    torch: str
    key: str = ""
    """What is trained here (method, settings, data), so that a folder is not resumed with something else."""
    measured_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of one small convolution step in each way that was tried."""
    stages: Mapping[str, StagePlan] = field(default_factory=dict)

    def with_stage(self, name: str, stage: StagePlan) -> "Plan":
        """The same plan with one more stage."""
        return replace(self, stages={**self.stages, name: stage})

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read what ``write`` wrote."""
        try:
            fields = json.loads(path.read_text())
            stages = {name: StagePlan(**stage) for name, stage in fields.pop("stages").items()}
            return cls(**fields, stages=stages)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableFile(f"{path}: expected the plan of a training, could not read it ({error})") from error
