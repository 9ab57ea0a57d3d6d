import pytest
import torch

from listening import Listening
from lowshot.training import length
from lowshot.training.length import planned_steps, seconds_per_step
from lowshot.training.plan import Plan
from lowshot.training.run import Budget
from training.toy import Toy, same, toy_run


def no_probe(limit_seconds):
    raise AssertionError("nothing to find out")


def test_steps_come_from_the_budget_or_else_from_the_method():
    assert planned_steps(toy_run(None), "a", 100, 1.0, no_probe) == 100
    assert planned_steps(toy_run(None), "a", 100, 0.4, no_probe) == 100
    assert planned_steps(toy_run(None, budget=Budget(steps=50)), "a", 100, 0.4, no_probe) == 20


def test_minutes_become_steps_once(tmp_path):
    run = toy_run(tmp_path, budget=Budget(minutes=1.0))
    steps = planned_steps(run, "a", 100, 0.5, lambda limit_seconds: 0.1)
    assert steps == pytest.approx(300, abs=60)
    stage = Plan.read(tmp_path / "plan.json").stages["a"]
    assert (stage.steps, stage.share) == (steps, 0.5)
    assert stage.seconds == pytest.approx(30, abs=6)
    assert planned_steps(toy_run(tmp_path, budget=Budget(minutes=9.0)), "a", 100, 0.5, no_probe) == steps


def test_what_follows_the_steps_is_part_of_the_minutes(tmp_path):
    run = toy_run(tmp_path, budget=Budget(minutes=1.0))
    assert planned_steps(run, "a", 100, 1.0, lambda limit_seconds: 0.1, afterwards=200.0) == pytest.approx(400, abs=60)


def test_minutes_that_are_too_few_for_a_step_are_told():
    heard = Listening()
    run = toy_run(None, budget=Budget(minutes=0.01), progress=heard)
    assert planned_steps(run, "a", 100, 1.0, lambda limit_seconds: 2.0) == 1
    assert heard.warnings == [
        "a: 0.01 minutes are too few: a step takes 2 s here, so this takes longer and still learns next to nothing"
    ]


def test_a_step_is_timed_by_the_median(monkeypatch):
    lengths = iter([0.5, 0.02, 0.02, 0.02, 0.3, 0.02, 0.02])  # two to warm up, then five, one of them disturbed
    clock = [0.0]
    monkeypatch.setattr(length.time, "perf_counter", lambda: clock[0])

    def take_step(step):
        clock[0] += next(lengths)
        return {"loss": torch.zeros(())}

    assert seconds_per_step(take_step, {}, toy_run(None), 0.0) == pytest.approx(0.02)


def test_probing_leaves_no_trace(tmp_path):
    probed = Toy(toy_run(tmp_path, budget=Budget(minutes=0.005)))
    steps = []
    probed.train(25, on_step=steps.append)
    plan = Plan.read(tmp_path / "plan.json")
    planned = plan.stages["training"].steps
    assert steps == [*range(len(steps) - planned), *range(planned)]
    assert len(steps) - planned >= 7  # what the probe took

    unprobed = Toy(toy_run(None, plan=plan))
    unprobed.train(25)
    assert same(unprobed.weights(), probed.weights())
