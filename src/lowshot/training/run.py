"""Where, how and for how long a method works: device, precision, memory format, seed, folder and budget."""

import atexit
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from lowshot.errors import SettingsError
from lowshot.progress import Progress, Silent
from lowshot.training.archive import read_archive, write_archive
from lowshot.training.layout import arrange, arrange_weights
from lowshot.training.measure import fastest, is_emulated
from lowshot.training.plan import MemoryFormat, Plan, Precision, StagePlan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """How long training may take; with neither, as many steps as the method's settings say."""

    steps: int | None = None
    minutes: float | None = None
    """Of the whole fit, counted from the making of the ``Run``. Becomes steps once, in the plan."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise SettingsError("give steps or minutes, not both")
        for name, value in (("steps", self.steps), ("minutes", self.minutes)):
            if value is not None and not 0 < value < math.inf:
                raise SettingsError(f"{name}: expected more than 0, got {value}")


METHODS_OWN_STEPS = Budget()


def _why_not(device: str) -> str:
    kind, has_cuda = device.partition(":")[0], torch.version.cuda is not None
    if kind not in ("cpu", "cuda", "mps"):
        return "is none: expected auto, cpu, cuda, cuda:1 and so on, or mps"
    if kind == "cuda" and has_cuda and torch.cuda.is_available():
        return f"is not there: this machine has {torch.cuda.device_count()} GPUs, counted from cuda:0"
    built = "" if kind != "cuda" or has_cuda else "; this PyTorch was made for the CPU alone"
    return f"cannot be used here{built}; take --device cpu"


class Run:
    """Given to ``fit``, ``adapt`` and ``regions``. Cheap to make: it measures and starts things when first asked.

    Under ``torchrun`` every process makes the same ``Run``, and ``train`` keeps them in step.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        precision: Precision | Literal["auto"] = "auto",
        memory_format: MemoryFormat | Literal["auto"] = "auto",
        seed: int = 0,
        folder: Path | None = None,
        budget: Budget = METHODS_OWN_STEPS,
        threads: int | None = None,
        plan: Plan | None = None,
        key: str = "",
        progress: Progress | None = None,
    ) -> None:
        """Settle where to work.

        Args:
            device: "auto" (CUDA, else Apple's MPS, else the CPU) or a name that PyTorch knows, such as "cuda:1".
            precision: "bfloat16" computes in bfloat16 under autocast, with weights in float32; "auto" takes it where a
                short measurement on the device finds it clearly faster.
            memory_format: how the tensors of convolutions lie in memory; "auto" takes the faster.
            seed: everything random follows from it.
            folder: plan, checkpoints, stages and log go there, and a training found there is resumed.
            budget: overrides the method's own number of steps.
            threads: of PyTorch on the CPU; None leaves them as they are.
            plan: reuse another run's plan, so that several seeds are trained alike.
            key: names what is trained (method, settings, data). A folder begun under another key is refused.
            progress: where to tell how far the work is; None: nowhere.
        """
        self.seed, self.folder, self.budget, self.key, self.threads = seed, folder, budget, key, threads
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.progress: Progress = Silent() if progress is None or self.rank else progress
        self._device, self._precision, self._memory_format = device, precision, memory_format
        self._given_plan = plan
        self._settled_plan: Plan | None = None
        self._begun: set[str] = set()
        self._started = time.monotonic()

    @cached_property
    def device(self) -> torch.device:
        """Where tensors live; under ``torchrun`` each process has its own CUDA device."""
        name = self._device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if name == "cuda":
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(f"device {name!r} {_why_not(name)}") from error
        return device

    @cached_property
    def fabric(self) -> "Fabric":
        """Lightning Fabric, which connects the processes; the first call starts it."""
        import logging

        from lightning_fabric import Fabric

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", self.world_size))
        fabric = Fabric(
            accelerator=self.device.type,
            devices=[self.device.index] if self.world_size == 1 and self.device.index is not None else per_node,
            num_nodes=self.world_size // per_node,
            strategy="ddp" if self.world_size > 1 else "auto",
        )
        fabric.launch()
        if self.world_size > 1:
            atexit.register(_leave_processes)
        return fabric

    # How: the plan, and bringing things to the device as it says.

    @property
    def plan(self) -> Plan:
        """Precision, memory format, threads and steps; measured or read from the folder when first asked for."""
        if self._settled_plan is None:
            self._settled_plan = self._settle()
            torch.set_num_threads(self._settled_plan.threads)
        return self._settled_plan

    def begin_stage(self, name: str) -> None:
        """Refuse a second training of the same name: it would find the first one's checkpoint and do nothing."""
        if self.folder is not None and name in self._begun:
            raise ValueError(f"two trainings named {name!r} in one folder; give each its own `stage`")
        self._begun.add(name)

    def plan_stage(self, name: str, stage: StagePlan) -> None:
        """Fix the length of a stage, before its step 0."""
        self._settled_plan = self.plan.with_stage(name, stage)
        self._write_plan(self._settled_plan)

    def place(self, module: M) -> M:
        """Bring a module to the device and into the plan's memory format. Its parameters stay the same objects."""
        module.to(self.device)
        arrange_weights(module, self.plan.memory_format)
        return module

    def tensor(self, values: Tensor) -> Tensor:
        """Bring a tensor to the device; a batch of images (4-D or 5-D, floating point) into the memory format too."""
        return arrange(values.to(self.device, non_blocking=True), self.plan.memory_format)

    @property
    def dtype(self) -> torch.dtype:
        """That networks compute in."""
        return torch.bfloat16 if self.plan.precision == "bfloat16" else torch.float32

    def autocast(self) -> AbstractContextManager[Any]:
        """Where forward passes and losses are computed: in bfloat16 when the plan says so."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    # Randomness: a function of seed, stage and step, so that resuming needs no replay.

    def generator(self, stage: str, step: int = 0) -> torch.Generator:
        """A CPU generator for one step; each process draws its own batches."""
        return torch.Generator().manual_seed(self._number(stage, step, self.rank))

    @contextmanager
    def seeded(self, stage: str, step: int = 0) -> Iterator[None]:
        """Seed PyTorch's global generators, as initial weights and dropout use them; put back afterwards.

        ``with run.seeded("weights"): network = Network()`` gives the same weights in every process.
        """
        with torch.random.fork_rng([self.device.index] if self.device.type == "cuda" else []):
            torch.manual_seed(self._number(stage, step))
            yield

    def _number(self, *parts: object) -> int:
        text = "/".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def warn_of_no_training(self) -> None:
        """Told by what trains nothing to whoever says how long it should train."""
        if self.budget != METHODS_OWN_STEPS:
            self.progress.warn("nothing is trained here: steps and minutes make no difference")

    # What is kept: stages that are not repeated, time that is left.

    def stage(self, name: str, key: Any, compute: Callable[[], T]) -> T:
        """The result of ``compute``: tensors and plain values, in dictionaries and lists.

        With a folder it is written whole to ``stages/``, and read instead of computed again while ``key`` (any JSON
        value), seed and the run's key are the same. Under ``torchrun`` every process computes, so ``compute`` may
        train.
        """
        if self.folder is None:
            return compute()
        identity = json.dumps([self.key, self.seed, key], sort_keys=True)
        path = self.folder / "stages" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.pt"
        if self.broadcast(path.exists()):
            return cast(T, read_archive(path, f"the result of the stage {name!r}"))
        result = compute()
        if self.rank == 0:
            write_archive(path, result)
        return result

    def seconds_left(self, share: float = 1.0) -> float:
        """Part of ``budget.minutes`` for a stage of this share, when those before took what the plan says."""
        if self.budget.minutes is None:
            return float("inf")
        stages = self.plan.stages.values()
        elapsed = max(time.monotonic() - self._started, sum(stage.seconds or 0.0 for stage in stages))
        share_left = max(share, 1.0 - sum(stage.share for stage in stages))
        return max(0.0, 60.0 * self.budget.minutes - elapsed) * share / share_left

    def broadcast(self, value: T) -> T:
        """The value of process 0, in every process."""
        return value if self.world_size == 1 else self.fabric.broadcast(value)

    def _settle(self) -> Plan:
        return cast(Plan, self.broadcast(self._found_or_measured() if self.rank == 0 else None))

    def _found_or_measured(self) -> Plan:
        path = None if self.folder is None else self.folder / "plan.json"
        if path is not None and path.exists():
            plan = Plan.read(path)
            self._check(plan, f"{path} was made")
            if (plan.torch, plan.device) != (torch.__version__, self._device_name()):
                was = f"PyTorch {plan.torch} on {plan.device}"
                self.progress.warn(f"{path} was made with {was}; the weights will not be the same bit for bit")
        elif self._given_plan is not None:
            given = self._given_plan
            here = self._device_name()
            measured = given.measured_ms if given.device == here else {}
            plan = replace(given, key=self.key, device=here, torch=torch.__version__, measured_ms=measured)
            self._check(plan, "the given plan was made")
        else:
            plan = self._measure()
        if plan.precision == "bfloat16" and is_emulated(self.device):
            self.progress.warn(
                "this processor only emulates bfloat16, which takes many times as long as float32; if that was not "
                "meant, start anew with --precision float32"
            )
        self._write_plan(plan)
        return plan

    def _measure(self) -> Plan:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        choice = fastest(self.device, self._precision, self._memory_format)
        return Plan(
            precision=choice.precision,
            memory_format=choice.memory_format,
            threads=torch.get_num_threads(),
            device=self._device_name(),
            torch=torch.__version__,
            key=self.key,
            measured_ms=choice.measured_ms,
        )

    def _device_name(self) -> str:
        return self.device.type if self.device.type != "cuda" else torch.cuda.get_device_name(self.device)

    def _check(self, plan: Plan, origin: str) -> None:
        wanted = {"precision": self._precision, "memory_format": self._memory_format, "threads": self.threads}
        for name, value in {**wanted, "key": self.key}.items():
            planned = getattr(plan, name)
            if value not in ("auto", None, planned):
                raise SettingsError(
                    f"{origin} for {name} {planned!r}, not {value!r}; choose another folder, or remove that one"
                )

    def _write_plan(self, plan: Plan) -> None:
        if self.folder is not None and self.rank == 0:
            plan.write(self.folder / "plan.json")


def _leave_processes() -> None:
    """Let go of the other processes while Python still runs.

    Gloo's threads may hold tensors until then, and a thread that frees one during Python's own end aborts the process
    (pytorch#179291): a finished training would exit with an error, now and then.
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
