import time

import pytest
import torch

from lowshot.training import measure
from lowshot.training.measure import fastest

CPU = torch.device("cpu")


def with_times(monkeypatch, seconds, emulated=False):
    monkeypatch.setattr(measure, "is_emulated", lambda device: emulated)
    monkeypatch.setattr(measure, "stepper", lambda device, p, f: lambda: (p, f))
    monkeypatch.setattr(measure, "best_times", lambda steps, clock: [seconds[step()] for step in steps])
    fastest.cache_clear()


def test_the_fastest_way_wins(monkeypatch):
    times = {("float32", "contiguous"): 4.0, ("float32", "channels_last"): 3.0}
    with_times(monkeypatch, times | {("bfloat16", "contiguous"): 2.0, ("bfloat16", "channels_last"): 1.0})
    choice = fastest(CPU, "auto", "auto")
    assert (choice.precision, choice.memory_format) == ("bfloat16", "channels_last")
    assert choice.measured_ms["float32 contiguous"] == 4000.0
    assert fastest(CPU, "float32", "auto").memory_format == "channels_last"


def test_bfloat16_must_be_worth_its_rounding(monkeypatch):
    times = {("float32", "contiguous"): 1.0, ("float32", "channels_last"): 1.1}
    with_times(monkeypatch, times | {("bfloat16", "contiguous"): 0.9, ("bfloat16", "channels_last"): 0.95})
    assert fastest(CPU, "auto", "auto").precision == "float32"


def test_what_is_only_emulated_is_not_tried(monkeypatch):
    with_times(monkeypatch, {("float32", "contiguous"): 1.0, ("float32", "channels_last"): 1.1}, emulated=True)
    assert fastest(CPU, "auto", "auto").precision == "float32"
    with_times(monkeypatch, {("bfloat16", "contiguous"): 9.0, ("bfloat16", "channels_last"): 8.0}, emulated=True)
    assert fastest(CPU, "bfloat16", "auto").precision == "bfloat16"  # whoever says so gets it


@pytest.mark.parametrize(("seconds", "emulated"), [(0.3, False), (3.0, False), (5.0, True)])
def test_a_small_step_shows_whether_bfloat16_is_emulated(monkeypatch, seconds, emulated):
    monkeypatch.setattr(measure, "stepper", lambda device, p, f, size: lambda: (p, size))
    monkeypatch.setattr(
        measure, "best_times", lambda steps, clock: [1.0 if s()[0] == "float32" else seconds for s in steps]
    )
    measure.is_emulated.cache_clear()
    assert measure.is_emulated(CPU) == emulated
    assert not measure.is_emulated(torch.device("meta"))
    measure.is_emulated.cache_clear()


def test_contiguous_memory_must_be_worth_its_copies(monkeypatch):
    times = {("bfloat16", "contiguous"): 1.0, ("bfloat16", "channels_last"): 1.2}
    with_times(monkeypatch, times)
    assert fastest(CPU, "bfloat16", "auto").memory_format == "channels_last"
    with_times(monkeypatch, times | {("bfloat16", "channels_last"): 1.4})
    assert fastest(CPU, "bfloat16", "auto").memory_format == "contiguous"


def test_nothing_is_measured_where_nothing_is_left_to_choose(monkeypatch):
    with_times(monkeypatch, {})
    choice = fastest(CPU, "bfloat16", "contiguous")
    assert (choice.precision, choice.memory_format, choice.measured_ms) == ("bfloat16", "contiguous", {})


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_whoever_is_predicting_may_ask_first(mode):
    measure.is_emulated.cache_clear()
    fastest.cache_clear()
    with mode():
        assert set(fastest(CPU, "auto", "contiguous").measured_ms) <= {"float32 contiguous", "bfloat16 contiguous"}


def test_measuring_takes_time_and_leaves_the_random_numbers_alone():
    fastest.cache_clear()
    state = torch.get_rng_state()
    choice = fastest(CPU, "auto", "auto")
    assert len(choice.measured_ms) == (2 if measure.is_emulated(CPU) else 4)
    assert min(choice.measured_ms.values()) > 0
    assert torch.equal(torch.get_rng_state(), state)


class Clock:
    """Time that passes only when a step says so."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def step(self, name, *seconds):
        left = list(seconds)

        def take():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return take


def test_ways_are_timed_in_turns_and_the_best_round_after_the_first_counts():
    clock = Clock()
    times = measure.best_times([clock.step("a", 0.01, 0.05, 0.03, 0.04), clock.step("b", 0.07, 0.02)], clock)
    assert clock.calls[:4] == ["a", "b", "a", "b"]
    assert times == pytest.approx([0.03, 0.02])


def test_patience_ends():
    clock = Clock()
    times = measure.best_times([clock.step("fast", 0.3), clock.step("slow", 9.0)], clock)
    assert times == pytest.approx([0.3, 9.0])
    assert clock.calls == ["fast", "slow"] * 2


def test_on_a_cpu_one_thread_is_timed_and_the_others_come_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with measure._undisturbed(CPU) as clock:
            assert torch.get_num_threads() == 1
            before = clock()
            time.sleep(0.2)
            assert clock() - before < 0.1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
