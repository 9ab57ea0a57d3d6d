import torch

from lowshot.training import measure
from lowshot.training.measure import fastest

CPU = torch.device("cpu")


def with_times(monkeypatch, seconds):
    monkeypatch.setattr(measure, "stepper", lambda device, p, f: lambda: (p, f))
    monkeypatch.setattr(measure, "best_times", lambda steps: [seconds[step()] for step in steps])
    fastest.cache_clear()


def test_the_fastest_way_wins(monkeypatch):
    times = {("float32", "contiguous"): 4.0, ("float32", "channels_last"): 3.0}
    with_times(monkeypatch, times | {("bfloat16", "contiguous"): 2.0, ("bfloat16", "channels_last"): 1.0})
    choice = fastest(CPU, "auto", "auto", 1)
    assert (choice.precision, choice.memory_format) == ("bfloat16", "channels_last")
    assert choice.measured_ms["float32 contiguous"] == 4000.0
    assert fastest(CPU, "float32", "auto", 1).memory_format == "channels_last"


def test_bfloat16_must_be_worth_its_rounding(monkeypatch):
    times = {("float32", "contiguous"): 1.0, ("float32", "channels_last"): 1.1}
    with_times(monkeypatch, times | {("bfloat16", "contiguous"): 0.9, ("bfloat16", "channels_last"): 0.95})
    assert fastest(CPU, "auto", "auto", 1).precision == "float32"


def test_contiguous_memory_must_be_worth_its_copies(monkeypatch):
    times = {("bfloat16", "contiguous"): 1.0, ("bfloat16", "channels_last"): 1.2}
    with_times(monkeypatch, times)
    assert fastest(CPU, "bfloat16", "auto", 1).memory_format == "channels_last"
    with_times(monkeypatch, times | {("bfloat16", "channels_last"): 1.4})
    assert fastest(CPU, "bfloat16", "auto", 1).memory_format == "contiguous"


def test_nothing_is_measured_where_nothing_is_left_to_choose(monkeypatch):
    with_times(monkeypatch, {})
    choice = fastest(CPU, "bfloat16", "contiguous", 1)
    assert (choice.precision, choice.memory_format, choice.measured_ms) == ("bfloat16", "contiguous", {})


def test_measuring_takes_time_and_leaves_the_random_numbers_alone():
    fastest.cache_clear()
    state = torch.get_rng_state()
    choice = fastest(CPU, "auto", "auto", torch.get_num_threads())
    assert len(choice.measured_ms) == 4
    assert min(choice.measured_ms.values()) > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_ways_are_timed_in_turns_and_the_best_round_counts():
    calls = []
    ways = [lambda: calls.append("a"), lambda: calls.append("b")]
    times = measure.best_times(ways)
    assert calls[:4] == ["a", "b", "a", "b"]
    assert len(times) == 2
    assert all(0 <= seconds < 0.1 for seconds in times)
