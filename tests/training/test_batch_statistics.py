import pytest
import torch
from torch import nn

from lowshot.training.batch_statistics import settle_batch_statistics
from lowshot.training.run import Run

BATCHES = 5


def settled(seed=0, batches=BATCHES):
    """A network of one BatchNorm, what it had before, and the batches that it looked at."""
    network = nn.Sequential(nn.BatchNorm1d(2, momentum=0.3))
    network[0].running_mean += 100
    seen = []

    def look(step, generator):
        seen.append(torch.randn(8, 2, generator=generator) * 3 + 1)
        network(seen[-1])

    settle_batch_statistics(network, look, batches, Run(device="cpu", precision="float32", seed=seed))
    return network, seen


def test_the_statistics_are_the_mean_over_all_batches():
    network, seen = settled()
    assert len(seen) == BATCHES
    torch.testing.assert_close(network[0].running_mean, torch.stack([batch.mean(0) for batch in seen]).mean(0))
    torch.testing.assert_close(network[0].running_var, torch.stack([batch.var(0) for batch in seen]).mean(0))


def test_nothing_else_changes():
    network, _ = settled()
    assert network[0].momentum == pytest.approx(0.3)
    assert not network.training
    torch.testing.assert_close(network[0].weight, torch.ones(2))


def test_they_follow_from_the_seed():
    one, again, another = (settled(seed)[0][0].running_mean for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, another)


def test_without_batches_the_running_statistics_stay():
    network, seen = settled(batches=0)
    assert not seen
    torch.testing.assert_close(network[0].running_mean, torch.full((2,), 100.0))


def test_without_batch_norm_nothing_is_looked_at():
    def look(step, generator):
        raise AssertionError

    settle_batch_statistics(nn.Linear(1, 1), look, BATCHES, Run(device="cpu", precision="float32"))
