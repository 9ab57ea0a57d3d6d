import math

import pytest

from lowshot.training.schedules import constant, cosine, polynomial, step_decay, stepwise


def test_constant():
    assert constant(0.0) == constant(0.9) == 1.0


def test_step_decay_multiplies_at_each_edge():
    schedule = step_decay(at=(0.5, 0.75), factor=0.1)
    assert [schedule(f) for f in (0.0, 0.49, 0.5, 0.75, 0.99)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_cosine_rises_then_falls():
    schedule = cosine(warmup=0.1)
    assert schedule(0.0) == 0.0
    assert schedule(0.05) == pytest.approx(0.5)
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(0.55) == pytest.approx(0.5)
    assert schedule(1.0) == pytest.approx(0.0)
    assert cosine()(1 / 3) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


def test_polynomial():
    assert polynomial(2.0)(0.5) == 0.25
    assert polynomial(0.9)(0.0) == 1.0


def test_stepwise_falls_after_every_so_many_steps():
    schedule = stepwise(0.5, every=10, steps=100)
    assert [schedule(step / 100) for step in (0, 9, 10, 19, 20, 29, 30, 99)] == [
        *(1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.5**9),
    ]
