import pytest
import torch
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as reference

from lowshot.losses.gaussian import Gaussian, kl_divergence


def gaussian(seed, n=5, factors=7):
    generator = torch.Generator().manual_seed(seed)
    return Gaussian(*(torch.randn(2, n, factors, generator=generator)))


def as_distribution(g):
    return Independent(Normal(g.mean, (0.5 * g.log_variance).exp()), 1)


def test_it_is_the_divergence_of_the_distributions():
    p, q = gaussian(0), gaussian(1)
    torch.testing.assert_close(kl_divergence(p, q), reference(as_distribution(p), as_distribution(q)))
    assert not torch.allclose(kl_divergence(p, q), kl_divergence(q, p))


def test_a_case_by_hand():
    """Means 1 apart, variances 1 and e: ½ [1 − 0 + (1 + 1) / e − 1] in one way, ½ [−1 + e + 1 − 1] in the other."""
    p = Gaussian(torch.zeros(1, 1), torch.zeros(1, 1))
    q = Gaussian(torch.ones(1, 1), torch.ones(1, 1))
    e = torch.e
    assert float(kl_divergence(p, q)) == pytest.approx(0.5 * (1 + 2 / e - 1))
    assert float(kl_divergence(q, p)) == pytest.approx(0.5 * (-1 + e + 1 - 1))


def test_it_is_zero_of_the_same_and_positive_otherwise():
    p = gaussian(0)
    assert torch.equal(kl_divergence(p, p), torch.zeros(5))
    assert (kl_divergence(p, gaussian(2)) > 0).all()


def test_samples_have_mean_and_variance_and_let_gradients_through():
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -2.0]])
    drawn = Gaussian(mean.expand(40_000, 2), log_variance.expand(40_000, 2)).sample()
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), log_variance[0].exp(), atol=0.03, rtol=0)
    leaf = Gaussian(mean.clone().requires_grad_(), log_variance.clone().requires_grad_())
    leaf.sample().sum().backward()
    assert torch.equal(leaf.mean.grad, torch.ones(1, 2))
    assert (leaf.log_variance.grad != 0).all()


def test_of_bfloat16_it_is_float32():
    p, q = gaussian(0), gaussian(1)
    short = [Gaussian(*(part.bfloat16() for part in each)) for each in (p, q)]
    assert kl_divergence(*short).dtype == torch.float32
    torch.testing.assert_close(kl_divergence(*short), kl_divergence(p, q), rtol=0.05, atol=0.05)
