import csv

import pytest
import torch
from torch import nn

from lowshot.errors import Diverged
from lowshot.training.loop import Goal, train
from lowshot.training.schedules import step_decay
from training.toy import Toy, toy_run


def line(learning_rate=0.1, **settings):
    """y = w x, from 1, with x = 1 and target 0: the gradient of w²/2 is w."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    goal = Goal(
        lambda x, done: {"half square": module(x).square().sum() / 2},
        module,
        torch.optim.SGD(module.parameters(), learning_rate),
        **settings,
    )
    return module, goal


def one(step, generator):
    return torch.ones(1, 1)


def test_gradient_descent_by_hand():
    module, goal = line()
    train([goal], one, steps=3, run=toy_run(None))
    assert module.weight.item() == pytest.approx(0.9**3)
    assert not module.training


def test_the_schedule_multiplies_the_groups_own_rate():
    module, goal = line(schedule=step_decay(at=(0.5,), factor=0.5))
    train([goal], one, steps=4, run=toy_run(None))
    assert module.weight.item() == pytest.approx(0.9**2 * 0.95**2)
    train([goal], one, steps=1, run=toy_run(None), stage="more")  # begins with the whole rate again
    assert module.weight.item() == pytest.approx(0.9**3 * 0.95**2)


def test_the_gradient_is_clipped():
    module, goal = line(clip_norm=0.5)
    train([goal], one, steps=1, run=toy_run(None))
    assert module.weight.item() == pytest.approx(1 - 0.1 * 0.5, abs=1e-6)


def test_the_batch_is_a_function_of_step_and_generator():
    seen = []

    def batch(step, generator):
        seen.append((step, float(torch.rand(1, generator=generator))))
        return torch.ones(1, 1)

    for _ in range(2):
        train([line()[1]], batch, steps=3, run=toy_run(None))
    assert seen[:3] == seen[3:]
    assert [step for step, _ in seen[:3]] == [0, 1, 2]
    assert len({number for _, number in seen}) == 3


def test_other_goals_modules_are_frozen_and_thawed():
    toy = Toy(toy_run(None))
    toy.generator[4].bias.requires_grad_(False)
    toy.train(2)
    assert toy.frozen_during == {"generate": {False}, "judge": {False}}
    assert all(p.requires_grad for p in toy.critic.parameters())
    assert not toy.generator[4].bias.requires_grad


def test_a_shared_parameter_is_trained_by_both_goals():
    module, goal = line()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    both = [goal, Goal(goal.loss, module, optimiser, name="again")]
    train(both, one, steps=1, run=toy_run(None))
    assert module.weight.item() == pytest.approx(0.81)


def test_the_callers_random_numbers_are_left_alone():
    goal, state = line()[1], torch.get_rng_state()
    train([goal], one, steps=2, run=toy_run(None))
    assert torch.equal(torch.get_rng_state(), state)


def test_goals_with_one_name_and_stages_with_one_name_are_refused(tmp_path):
    goal = line()[1]
    with pytest.raises(ValueError, match="goals need different names"):
        train([goal, goal], one, steps=1, run=toy_run(None))
    run = toy_run(tmp_path)
    train([goal], one, steps=1, run=run)
    with pytest.raises(ValueError, match="two trainings named 'training'"):
        train([goal], one, steps=1, run=run)


@pytest.mark.parametrize("bad_step", [0, 13])
def test_a_loss_that_is_not_finite_is_named_with_its_step(tmp_path, bad_step):
    def batch(step, generator):
        return torch.full((1, 1), float("nan") if step == bad_step else 1.0)

    with pytest.raises(Diverged, match=rf"^training, step {bad_step}: loss/half square is nan"):
        train([line()[1]], batch, steps=20, run=toy_run(tmp_path), checkpoint_every_seconds=0.0)
    if bad_step:
        content = torch.load(tmp_path / "checkpoints" / "training.pt", weights_only=True)
        assert content["step"] == bad_step
        assert torch.isfinite(content["parts"]["module of loss"]["weight"]).all()


def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    module, goal = line()

    def spoil(step):
        if step == 4:
            module.weight.data.fill_(float("inf"))

    with pytest.raises(Diverged, match="weight is no longer finite after step 5"):
        train([goal], one, steps=5, run=toy_run(tmp_path), after_step=spoil)


def test_the_log_holds_means_and_is_not_written_twice(tmp_path):
    train([line()[1]], one, steps=15, run=toy_run(tmp_path))
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [(row["stage"], row["step"], row["term"]) for row in rows] == [
        ("training", "10", "loss/half square"),
        ("training", "15", "loss/half square"),
    ]
    expected = sum(0.9 ** (2 * step) / 2 for step in range(10)) / 10
    assert float(rows[0]["value"]) == pytest.approx(expected, rel=1e-4)
    with (tmp_path / "log.csv").open("a") as file:  # as a killed training leaves it
        file.write("training,20,9.0,loss/half square,0.1\ntraini")
    train([line()[1]], one, steps=15, run=toy_run(tmp_path))
    assert list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines())) == rows
