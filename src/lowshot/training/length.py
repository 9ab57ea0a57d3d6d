"""How many steps a stage takes: from the plan, or from the budget, turned into steps once."""

import copy
import statistics
import time
from collections.abc import Callable, Mapping

from torch import Tensor

from lowshot.training.plan import StagePlan
from lowshot.training.resume import Stateful
from lowshot.training.run import Run

WARM_UP, FEWEST, MOST = 2, 5, 50
"""Steps of a probe: those that are not timed, and the bounds of those that are."""
PART_OF_BUDGET = 0.02
"""What a probe may take of the stage's time, where that is more than the fewest steps need."""


def planned_steps(
    run: Run, stage: str, steps: int, share: float, probe: Callable[[float], float], afterwards: float = 0.0
) -> int:
    """Steps of a stage, written into the plan before step 0.

    Args:
        run: its plan, where the stage may stand already, and its budget.
        stage: name of the stage.
        steps: the method's own number.
        share: part of the budget that belongs to this stage.
        probe: seconds per step, found in about so many seconds. Called where the budget is in minutes.
        afterwards: what the stage's time has to suffice for once its steps are done, in steps.
    """
    planned = run.plan.stages.get(stage)
    if planned is not None:
        wanted = None if run.budget.steps is None else max(1, round(run.budget.steps * share))
        if wanted not in (None, planned.steps):
            run.progress.warn(f"{stage}: {planned.steps} steps, as planned when it was begun, not {wanted}")
        return planned.steps
    if run.budget.minutes is not None:
        seconds_per_step = probe(PART_OF_BUDGET * run.seconds_left(share))
        seconds = run.seconds_left(share)
        planned = StagePlan(max(1, int(seconds / seconds_per_step - afterwards)), share, seconds)
        if seconds < seconds_per_step * (1 + afterwards):
            run.progress.warn(
                f"{stage}: {run.budget.minutes:g} minutes are too few: a step takes {seconds_per_step:.2g} s here, so "
                "this takes longer and still learns next to nothing"
            )
    elif run.budget.steps is not None:
        planned = StagePlan(max(1, round(run.budget.steps * share)), share)
    else:
        planned = StagePlan(steps, share)
    planned = run.broadcast(planned)
    run.plan_stage(stage, planned)
    return planned.steps


def seconds_per_step(
    take_step: Callable[[int], Mapping[str, Tensor]], parts: Mapping[str, Stateful], run: Run, limit_seconds: float
) -> float:
    """Median time of a few real steps, whose effects are then undone.

    Args:
        take_step: takes the step of that number.
        parts: everything that a step changes.
        run: processes take equally many steps, as process 0 decides.
        limit_seconds: how long this may take, if that is enough for the fewest steps.
    """
    before = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
    times: list[float] = []
    count = WARM_UP + FEWEST
    while len(times) < count:
        start = time.perf_counter()
        terms = take_step(len(times))
        float(sum(terms.values()))  # waits for the device
        times.append(time.perf_counter() - start)
        if len(times) == WARM_UP:
            affordable = int(limit_seconds / times[-1])
            count = WARM_UP + run.broadcast(min(MOST, max(FEWEST, affordable)))
    for name, part in parts.items():
        part.load_state_dict(before[name])
    return statistics.median(times[WARM_UP:])
