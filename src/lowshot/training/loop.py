"""The only training loop: a function that a method calls, never a framework that calls the method.

It knows nothing of segmentation. A method brings goals (usually one; two for a generator and its critic) and a
batch as a function of the step; the loop brings precision, several processes, clipping, checkpoints and the log.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from lowshot.training.allocator import freed_memory_kept
from lowshot.training.interruption import Interruption, Stopped
from lowshot.training.journal import Journal
from lowshot.training.length import planned_steps, seconds_per_step
from lowshot.training.processes import any_process, average_buffers, average_gradients, share_initial_values
from lowshot.training.resume import Checkpoint, Stateful, refuse_other_steps
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, constant

Batch = TypeVar("Batch")
NOTHING: Mapping[str, Stateful] = MappingProxyType({})


@dataclass(frozen=True)
class Goal(Generic[Batch]):
    """One loss, and the module that is trained to lower it."""

    loss: Callable[[Batch, float], Mapping[str, Tensor]]
    """(batch, fraction of the training done, in [0, 1)) to named terms, whose sum is minimised.

    Called in training mode, under autocast."""
    module: nn.Module
    """What this goal trains. The modules of all other goals are frozen meanwhile."""
    optimiser: Optimizer
    schedule: Schedule = constant
    """Fraction of the training done, in [0, 1), to a factor on each parameter group's own learning rate."""
    clip_norm: float | None = None
    """Largest norm of the gradient of ``module``."""
    name: str = "loss"


def train(
    goals: Sequence[Goal[Batch]],
    batch: Callable[[int, Any], Batch],
    *,
    steps: int,
    run: Run,
    stage: str = "training",
    share: float = 1.0,
    state: Mapping[str, Stateful] = NOTHING,
    after_step: Callable[[int], None] | None = None,
    afterwards: float = 0.0,
    checkpoint_every_seconds: float = 60.0,
) -> None:
    """Train the goals' modules in place; they come back in evaluation mode.

    In a folder that holds a checkpoint of this stage it goes on from there, and ends with the same weights, bit for
    bit, as if it had never stopped (same device, same plan; on a GPU as far as PyTorch's operations repeat themselves).

    Args:
        goals: each takes a step, in this order, on every batch.
        batch: (step, CPU generator seeded for it) to a batch, shared by all goals. A function of nothing else, so
            that resuming needs no replay. Bring it to the device with ``run.tensor``.
        steps: the method's own number; the run's budget overrides it.
        run: device, precision, seed, folder, budget.
        stage: names checkpoint, plan entry and log rows; unique within one ``fit``.
        share: part of the budget that belongs to this stage.
        state: what else changes while training and must survive a kill (a teacher, a queue). The same in every process.
        after_step: called with the step just done (a teacher's update); it may change modules and ``state`` alone,
            since the probe that turns minutes into steps calls it too and then puts those back.
        afterwards: what is still to be done when the steps are, in steps: a budget in minutes has to suffice for it.
        checkpoint_every_seconds: time between checkpoints.

    Raises:
        Diverged: a loss or a weight is no longer finite; the last checkpoint stays.
        Stopped: Ctrl-C or SIGTERM; a checkpoint was written.
    """
    run.begin_stage(stage)
    modules = [run.place(goal.module).train() for goal in goals]
    networks = [*modules, *(part for part in state.values() if isinstance(part, nn.Module))]
    share_initial_values(networks, run)
    parts = _parts(goals, state)

    def take_step(step: int, steps: int) -> dict[str, Tensor]:
        with run.seeded(f"{stage}, process {run.rank}", step):
            terms = _take_step(goals, batch(step, run.generator(stage, step)), step / steps, run)
            average_buffers(networks, run)
            if after_step is not None:
                after_step(step)
        return terms

    probe = partial(seconds_per_step, partial(take_step, steps=steps), parts, run)
    with freed_memory_kept():  # as in the training, or a step would seem to take a quarter longer than it does
        steps = planned_steps(run, stage, steps, share, probe, afterwards)
    checkpoint = Checkpoint(stage, parts, _fingerprint(goals, run, steps), run, checkpoint_every_seconds)
    first = checkpoint.restore()
    refuse_other_steps(first, run)
    with Journal(run, stage, first, steps) as journal, Interruption() as interruption, freed_memory_kept():
        for step in range(first, steps):
            journal.add(take_step(step, steps))
            stop, due = any_process([interruption.wanted, checkpoint.due()], run)
            if stop or due or step + 1 == steps:
                journal.flush()
                checkpoint.save(step + 1)
            if stop:
                raise Stopped.at(stage, step + 1, steps, run.folder, interruption.signal_number)
    for module in modules:
        module.eval()


def _take_step(goals: Sequence[Goal[Batch]], batch: Batch, fraction: float, run: Run) -> dict[str, Tensor]:
    figures: dict[str, Tensor] = {}
    for goal in goals:
        with _others_frozen(goal, goals):
            goal.optimiser.zero_grad(set_to_none=True)
            with run.autocast():
                terms = goal.loss(batch, fraction)
            run.fabric.backward(reduce(torch.add, terms.values()))
        average_gradients(goal.module.parameters(), run)
        if goal.clip_norm is not None:
            clip_grad_norm_(goal.module.parameters(), goal.clip_norm)
        for group in goal.optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * goal.schedule(fraction)
        goal.optimiser.step()
        figures |= {f"{goal.name}/{name}": term.detach() for name, term in terms.items()}
    return figures


@contextmanager
def _others_frozen(goal: Goal[Batch], goals: Sequence[Goal[Batch]]) -> Iterator[None]:
    own = {id(p) for p in goal.module.parameters()}
    others = [p for g in goals for p in g.module.parameters() if id(p) not in own and p.requires_grad]
    for p in others:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in others:
            p.requires_grad_(True)


def _parts(goals: Sequence[Goal[Batch]], state: Mapping[str, Stateful]) -> dict[str, Stateful]:
    parts: dict[str, Stateful] = {f"module of {goal.name}": goal.module for goal in goals}
    parts |= {f"optimiser of {goal.name}": goal.optimiser for goal in goals}
    parts |= {f"state {name}": part for name, part in state.items()}
    if len(parts) != 2 * len(goals) + len(state):
        raise ValueError(f"goals need different names, got {[goal.name for goal in goals]}")
    return parts


def _fingerprint(goals: Sequence[Goal[Batch]], run: Run, steps: int) -> dict[str, Any]:
    plan = run.plan
    how: dict[str, Any] = {"seed": run.seed, "processes": run.world_size, "precision": plan.precision, "steps": steps}
    for goal in goals:
        how[f"weights of {goal.name}"] = [[name, *p.shape] for name, p in goal.module.named_parameters()]
        how[f"optimiser of {goal.name}"] = repr(goal.optimiser)
    return how
