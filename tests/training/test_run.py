import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from lowshot.errors import SettingsError, UnreadableFile
from lowshot.training.plan import Plan, StagePlan
from lowshot.training.run import Budget, Run

PLAIN = {"device": "cpu", "precision": "float32", "memory_format": "contiguous"}
PLAN = Plan("bfloat16", "channels_last", torch.get_num_threads(), "cpu", torch.__version__)


class Warnings:
    def __init__(self):
        self.messages = []

    def task(self, name, total, done=0):
        raise NotImplementedError

    def note(self, message):
        raise NotImplementedError

    def warn(self, message):
        self.messages.append(message)


def test_an_unknown_device_is_named():
    with pytest.raises(SettingsError, match="device 'abacus' is none: expected auto, cpu"):
        _ = Run(device="abacus").device
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="cuda"):
            _ = Run(device="cuda").device


@pytest.mark.parametrize("budget", [{"steps": 0}, {"minutes": -1.0}, {"steps": 5, "minutes": 1.0}])
def test_a_budget_makes_sense(budget):
    with pytest.raises(SettingsError, match=r"steps|minutes"):
        Budget(**budget)


def test_place_and_tensor_follow_the_plan():
    run = Run(device="cpu", precision="bfloat16", memory_format="channels_last")
    module = nn.Conv3d(2, 3, 3)
    weight = module.weight
    assert run.place(module) is module
    assert module.weight is weight
    volume = run.tensor(torch.randn(1, 2, 4, 4, 4))
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)
    with run.autocast():
        assert module(volume).dtype == torch.bfloat16
    with Run(**PLAIN).autocast():
        assert module(volume).dtype == torch.float32


def test_generators_depend_on_seed_stage_and_step_alone():
    def draw(seed, stage, step):
        return torch.rand(2, generator=Run(**PLAIN, seed=seed).generator(stage, step)).tolist()

    assert draw(0, "a", 1) == draw(0, "a", 1)
    assert len({tuple(draw(*where)) for where in ((0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2))}) == 4


def test_numbers_drawn_are_the_same_on_every_machine():
    assert torch.randint(1000, (3,), generator=Run(**PLAIN, seed=3).generator("training", 7)).tolist() == [
        442,
        142,
        462,
    ]


def test_seeded_gives_the_same_weights_and_puts_the_state_back():
    run, state = Run(**PLAIN), torch.get_rng_state()
    with run.seeded("weights"):
        first = nn.Linear(3, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    with run.seeded("weights"):
        assert torch.equal(nn.Linear(3, 3).weight, first.weight)
    with run.seeded("weights", step=1):
        assert not torch.equal(nn.Linear(3, 3).weight, first.weight)


def test_the_plan_is_written_and_found_again(tmp_path):
    run = Run(**PLAIN, folder=tmp_path, key="a method")
    run.plan_stage("training", StagePlan(30, 0.5, 12.0))
    assert json.loads((tmp_path / "plan.json").read_text())["stages"]["training"]["steps"] == 30
    assert Run(folder=tmp_path, key="a method").plan == run.plan


def test_a_given_plan_is_used_by_further_seeds(tmp_path):
    plan = PLAN.with_stage("training", StagePlan(30))
    run = Run(device="cpu", seed=1, folder=tmp_path, plan=plan, key="seed 1")
    assert (run.plan.precision, run.plan.stages, run.plan.key) == ("bfloat16", plan.stages, "seed 1")
    assert Plan.read(tmp_path / "plan.json") == run.plan


def test_a_given_plan_tells_where_it_is_followed():
    run = Run(device="cpu", plan=replace(PLAN, device="a GPU", torch="1.0", measured_ms={"float32 contiguous": 1.0}))
    assert (run.plan.device, run.plan.torch, run.plan.measured_ms) == ("cpu", torch.__version__, {})


@pytest.mark.parametrize("other", [{"precision": "float32"}, {"key": "another"}, {"threads": 63}])
def test_a_folder_is_not_resumed_with_something_else(tmp_path, other):
    PLAN.write(tmp_path / "plan.json")
    with pytest.raises(SettingsError, match=r"plan\.json was made for .* choose another folder"):
        _ = Run(**{"device": "cpu", "folder": tmp_path} | other).plan


def test_another_version_of_pytorch_is_said(tmp_path):
    Plan("float32", "contiguous", torch.get_num_threads(), "cpu", "1.0").write(tmp_path / "plan.json")
    warnings = Warnings()
    assert Run(device="cpu", folder=tmp_path, progress=warnings).plan.torch == "1.0"
    assert "not be the same bit for bit" in warnings.messages[0]


@pytest.mark.parametrize("emulated", [True, False])
def test_emulated_bfloat16_is_told(tmp_path, monkeypatch, emulated):
    """A plan may come from another machine, or from the user."""
    monkeypatch.setattr("lowshot.training.run.is_emulated", lambda device: emulated)
    for how in ({"plan": PLAN}, {"precision": "bfloat16"}, {"precision": "float32"}):
        warnings = Warnings()
        _ = Run(device="cpu", progress=warnings, **how).plan
        told = any("only emulates bfloat16" in message for message in warnings.messages)
        assert told == (emulated and how != {"precision": "float32"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": {"a": {}}}'])
def test_a_damaged_plan_is_named(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"plan\.json: expected the plan of a training"):
        _ = Run(device="cpu", folder=tmp_path).plan


def test_a_stage_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"labels": torch.arange(3), "threshold": 0.5, "names": ["a", "b"]}

    def result(**settings):
        return Run(**PLAIN | {"folder": tmp_path} | settings).stage("pseudo-labels", {"k": 3}, compute)

    first, second = result(), result()
    assert len(calls) == 1
    assert torch.equal(first["labels"], second["labels"])
    assert (second["threshold"], second["names"]) == (0.5, ["a", "b"])
    result(seed=1)
    result(key="another method")
    Run(**PLAIN, folder=tmp_path).stage("pseudo-labels", {"k": 4}, compute)
    result(folder=None)
    assert len(calls) == 5


def test_a_stage_that_fails_leaves_nothing_and_a_damaged_one_is_named(tmp_path):
    run = Run(**PLAIN, folder=tmp_path)
    with pytest.raises(ZeroDivisionError):
        run.stage("features", 1, lambda: 1 / 0)
    assert not (tmp_path / "stages").exists()
    run.stage("features", 1, lambda: torch.zeros(5))
    (file,) = (tmp_path / "stages").iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UnreadableFile, match="the result of the stage 'features'"):
        run.stage("features", 1, lambda: torch.zeros(5))


def test_minutes_are_split_by_share_and_time_already_spent_counts():
    run = Run(**PLAIN, budget=Budget(minutes=1.0))
    assert run.seconds_left() == pytest.approx(60.0, abs=5.0)
    assert run.seconds_left(0.25) == pytest.approx(15.0, abs=2.0)
    run.plan_stage("first", StagePlan(10, share=0.25, seconds=15.0))  # as if it had taken its 15 seconds
    assert run.seconds_left(0.5) == pytest.approx(45.0 * 0.5 / 0.75, abs=4.0)
    assert run.seconds_left(0.75) == pytest.approx(45.0, abs=5.0)
    before = run.seconds_left()
    time.sleep(0.02)
    assert Run(**PLAIN).seconds_left() == float("inf")
    assert run.seconds_left() <= before


def test_a_plan_can_be_settled_where_no_gradients_are_taken():
    with torch.no_grad():
        assert Run(device="cpu").plan.precision in ("float32", "bfloat16")
