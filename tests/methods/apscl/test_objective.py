import math

import pytest
import torch

from lowshot.fewshot.episodes import Episode
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.gaussian import Gaussian
from lowshot.methods.apscl.method import APSCL
from lowshot.methods.apscl.objective import Weights, apscl_loss, drawn, relevance_contrast

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 6, "factors": 3, "pooled": 2, "hidden": (8, 8)}
TINY |= {"enhancement_width": 8, "interaction_width": 4, "guidance_width": 5}


def teaching(**changes):
    torch.manual_seed(0)
    return APSCL(**TINY, **changes)._teaching(1).eval()


def episode(n=2, k=1):
    generator = torch.Generator().manual_seed(0)
    return Episode(
        support=torch.randn(n, k, 1, 32, 32, generator=generator),
        masks=(torch.rand(n, k, 32, 32, generator=generator) > 0.6).float(),
        query=torch.randn(n, 1, 32, 32, generator=generator),
        truth=(torch.rand(n, 32, 32, generator=generator) > 0.6).float(),
        known=torch.rand(n, 32, 32, generator=generator) > 0.1,
        structure=torch.arange(1, n + 1),
        slices=torch.arange(n),
        pair=torch.arange(n),
    )


def test_with_a_single_pair_the_contrast_is_identically_zero():
    relevance = torch.tensor([[9.0, 0.3], [0.3, -9.0]], requires_grad=True)
    loss = relevance_contrast(relevance, torch.tensor([4, 4]), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not relevance.grad.any()
    found = apscl_loss(teaching(), Weights(), episode(1), 0.0)
    assert float(found["contrast"].detach()) == 0


def test_two_pairs_by_hand():
    """Images 0 and 1 show one structure, 2 and 3 another; r is 1 within a pair, 0 and ½ between them; τ is ½."""
    between = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    relevance = torch.ones(4, 4)
    relevance[:2, 2:], relevance[2:, :2] = between, between.T
    e = math.exp
    alone, with_half = e(2) / (e(2) + 1 + 1), e(2) / (e(2) + 1 + e(1))
    expected = -(math.log(with_half) + math.log(alone) + math.log(alone) + math.log(with_half)) / 4
    found = relevance_contrast(relevance, torch.tensor([1, 1, 2, 2]), 0.5)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def as_described(relevance, classes, temperature):
    terms = []
    for i in range(len(classes)):
        others = [k for k in range(len(classes)) if k != i]
        positives = [k for k in others if classes[k] == classes[i]]
        total = sum((relevance[i, k] / temperature).exp() for k in others)
        if positives:
            terms.append(
                sum(-((relevance[i, j] / temperature).exp() / total).log() for j in positives) / len(positives)
            )
    return torch.stack(terms).mean()


@pytest.mark.parametrize("classes", [[1, 1, 2, 2, 3, 3], [1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 3]])
def test_the_contrast_is_the_formula(classes):
    torch.manual_seed(0)
    relevance = torch.randn(6, 6, requires_grad=True)
    found = relevance_contrast(relevance, torch.tensor(classes), 0.1)
    expected = as_described(relevance, classes, 0.1)
    torch.testing.assert_close(found, expected)
    own, other = (torch.autograd.grad(each, relevance)[0] for each in (found, expected))
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_the_diagonal_does_not_matter_and_without_positives_it_is_zero():
    relevance, classes = torch.randn(4, 4), torch.tensor([1, 1, 2, 2])
    other = relevance.clone().fill_diagonal_(50.0)
    assert torch.equal(relevance_contrast(relevance, classes, 0.1), relevance_contrast(other, classes, 0.1))
    assert float(relevance_contrast(relevance, torch.arange(4), 0.1)) == 0


def test_terms_by_switch():
    everything = {"cross_entropy", "divergence", "posterior_variance", "contrast"}
    rows = {
        "full": ({}, everything),
        "no FEM": ({"enhancement": False}, {"cross_entropy", "contrast"}),
        "no SCL": ({"contrast": 0.0}, everything - {"contrast"}),
        "no MGD": ({"guidance": False}, everything),
        "base": ({"enhancement": False, "contrast": 0.0, "guidance": False}, {"cross_entropy"}),
    }
    for changes, terms in rows.values():
        method = APSCL(**TINY, **changes)
        found = apscl_loss(method._teaching(1), method._loss_weights, episode(), 0.0)
        assert found.keys() == terms
        assert all(term.ndim == 0 and torch.isfinite(term) for term in found.values())


def test_weights_multiply_their_terms():
    plain, heavy = (
        apscl_loss(teaching(), Weights(divergence=d, contrast=c), episode(), 0.0) for d, c in ((0.1, 0.07), (0.3, 0.7))
    )
    torch.testing.assert_close(heavy["divergence"], 3 * plain["divergence"])
    torch.testing.assert_close(heavy["contrast"], 10 * plain["contrast"])


def test_the_cross_entropy_is_of_what_the_network_finds():
    """With a prior that is sure of itself nothing is random, and training and use give the same logit."""
    made = teaching()
    made.network.prior.layers[-1].bias.data[3:] = -60.0
    given = episode(2, 3)
    logit = made.network(given.support, given.masks, given.query)
    expected = binary_cross_entropy(logit, given.truth, given.known)
    torch.testing.assert_close(apscl_loss(made, Weights(), given, 0.0)["cross_entropy"], expected)


def test_the_posteriors_variance_is_told_and_not_learned_from():
    """0 where the label encoder ignores the label, which is what the divergence alone may lead to."""
    made = teaching()
    given = episode()
    found = apscl_loss(made, Weights(), given, 0.0)
    means = made.of_labels(torch.cat([given.masks[:, 0], given.truth])).mean
    torch.testing.assert_close(found["posterior_variance"], means.var(dim=0, correction=0).mean().detach())
    assert not found["posterior_variance"].requires_grad
    for layer in made.posterior.layers[::2]:
        torch.nn.init.zeros_(layer.weight)
    assert float(apscl_loss(made, Weights(), given, 0.0)["posterior_variance"]) == 0


def test_only_the_divergence_teaches_the_label_encoder_unless_its_factors_are_fed():
    for share, learned in ((0.0, False), (1.0, True)):
        made = teaching()
        torch.nn.init.normal_(made.network.enhancement.scale[-1].weight)
        apscl_loss(made, Weights(posterior_share=share), episode(), 0.0)["cross_entropy"].backward()
        grads = [p.grad for p in made.label_encoder.parameters()]
        assert any(grad is not None and bool(grad.any()) for grad in grads) == learned


def test_a_share_of_the_images_gets_the_posteriors_factors():
    torch.manual_seed(0)
    prior, posterior = (Gaussian(torch.full((4000, 2), mean), torch.full((4000, 2), -60.0)) for mean in (0.0, 1.0))
    assert not drawn(prior, posterior, 0.0).round().any()
    z = drawn(prior, posterior, 0.3).round()
    assert torch.equal(z[:, 0], z[:, 1])
    assert float(z.mean()) == pytest.approx(0.3, abs=0.03)


def test_relevance_within_the_structure_alone():
    everywhere, inside = (
        apscl_loss(teaching(), Weights(foreground=each), episode(), 0.0)["contrast"] for each in (False, True)
    )
    assert not torch.allclose(everywhere, inside)


def test_learning_by_it_lowers_it():
    """Structures are bright blocks of four by four cells, so there is something to learn."""
    method = APSCL(**TINY)
    torch.manual_seed(0)
    blocks = (torch.rand(4, 1, 2, 2) > 0.5).float().repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    masks, truth = blocks.split(2)
    given = episode()._replace(support=masks[:, None], masks=masks, query=truth, truth=truth[:, 0])
    made = method._teaching(1).train()
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    found = []
    for _ in range(20):
        optimiser.zero_grad()
        terms = apscl_loss(made, method._loss_weights, given, 0.0)
        sum(terms.values()).backward()
        optimiser.step()
        found.append(float(terms["cross_entropy"].detach()))
    assert found[-1] < 0.5 * found[0]
