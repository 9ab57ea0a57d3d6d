import math

import pytest
import torch
from torch import nn

from lowshot.fewshot.episodes import Episode
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.methods.gcn_de.network import GCNDENetwork
from lowshot.methods.gcn_de.objective import Embedding, comparable, discriminative, distances, gcn_de_loss


def maps(*values):
    """A constant map of 2×2 for each value, so that either distance is the difference of values."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1).expand(-1, 2, 2)


def all_others(n):
    return ~torch.eye(n, dtype=torch.bool)


def episode(structure, pair, size=32):
    torch.manual_seed(0)
    n = len(structure)
    masks = torch.zeros(n, 1, size, size)
    masks[..., 4:12, 4:12] = 1
    truth = masks[:, 0].clone()
    known = torch.ones(n, size, size, dtype=torch.bool)
    support, query = torch.randn(n, 1, 1, size, size), torch.randn(n, 1, size, size)
    return Episode(
        support,
        masks,
        query,
        truth,
        known,
        torch.tensor(structure),
        torch.zeros(n, dtype=torch.int64),
        torch.tensor(pair),
    )


def test_distances_by_hand():
    one, other = torch.tensor([[[0.0, 0.0, 3.0, 1.0]]]), torch.tensor([[[0.0, 0.0, 0.0, 5.0]], [[0.0, 0.0, 3.0, 1.0]]])
    torch.testing.assert_close(distances(one, other, "l1"), torch.tensor([[7 / 4, 0.0]]))
    torch.testing.assert_close(distances(one, other, "rms"), torch.tensor([[5 / 2, 0.0]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("distance", ["rms", "l1"])
def test_the_hinge_by_hand(distance):
    """f_q = 0, 0.5, 5 and f_s = 2, 1, 0: within 2, 0.5, 5; the sums of those between 1, 2, 7."""
    f_q, f_s = maps(0, 0.5, 5), maps(2, 1, 0)
    loss = discriminative(f_s, f_q, all_others(3), distance, "hinge")
    assert float(loss) == pytest.approx((2 - (1 + 0)) + 0 + 0, abs=1e-5)


def test_the_softplus_by_hand():
    f_q, f_s = maps(0, 1), maps(2, 1)
    expected = math.log(1 + math.exp(2 - 1)) + math.log(1 + math.exp(0 - 1))
    assert float(discriminative(f_s, f_q, all_others(2), "l1", "softplus")) == pytest.approx(expected)


@pytest.mark.parametrize("form", ["hinge", "softplus"])
def test_the_mean_over_pairs_of_slices_that_show_several_structures(form):
    f_s, f_q = torch.randn(2, 6, 3, 3)
    first, second, alone = slice(0, 2), slice(2, 5), slice(5, 6)
    others = torch.zeros(6, 6, dtype=torch.bool)
    others[first, first], others[second, second] = all_others(2), all_others(3)
    each = [discriminative(f_s[part], f_q[part], all_others(n), "rms", form) for part, n in ((first, 2), (second, 3))]
    torch.testing.assert_close(discriminative(f_s, f_q, others, "rms", form), (each[0] + each[1]) / 2)
    only = discriminative(f_s[alone], f_q[alone], torch.zeros(1, 1, dtype=torch.bool), "rms", form)
    assert float(only) == 0


def test_a_single_structure_has_no_loss_and_no_gradient():
    f_s, f_q = (torch.randn(2, 3, 3, requires_grad=True) for _ in range(2))
    discriminative(f_s, f_q, torch.zeros(2, 2, dtype=torch.bool)).backward()
    assert not f_q.grad.any()


def test_equal_maps_have_a_gradient_that_is_a_number():
    f_s, f_q = (torch.zeros(2, 3, 3, requires_grad=True) for _ in range(2))
    discriminative(f_s, f_q, all_others(2)).backward()
    assert f_q.grad.isfinite().all()


def test_learning_by_it_parts_structures():
    torch.manual_seed(0)
    f_s, f_q = (nn.Parameter(torch.randn(3, 4, 4)) for _ in range(2))
    optimiser = torch.optim.Adam([f_s, f_q], 0.05)
    for _ in range(100):
        optimiser.zero_grad()
        discriminative(f_s, f_q, all_others(3), "rms", "softplus").backward()
        optimiser.step()
    between = distances(f_q, f_s, "rms").detach()
    assert float(between.diagonal().max()) < 0.5 * float(between[all_others(3)].min())


def test_under_autocast_it_is_float32():
    f_s, f_q = torch.randn(2, 3, 8, 8)
    expected = discriminative(f_s, f_q, all_others(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(discriminative(f_s, f_q, all_others(3)), expected)


def test_structures_of_the_same_two_slices_are_compared_where_both_show_them():
    made = episode([1, 2, 3, 1, 2], [7, 7, 7, 9, 9])
    made.masks[2] = 0  # moved out of the support slice by augmentation
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[3, 4] = expected[4, 3] = True
    assert torch.equal(comparable(made), expected)
    made.truth[0] = 0
    expected[0, 1] = expected[1, 0] = False
    assert torch.equal(comparable(made), expected)


def test_the_same_structure_asked_for_twice_is_not_another():
    assert not comparable(episode([1, 1], [7, 7])).any()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return GCNDENetwork(1, width=0.0625)


def test_terms_are_dice_cross_entropy_and_the_weighted_embedding(network):
    made = episode([1, 2], [7, 7])
    network.eval()
    terms = gcn_de_loss(network, Embedding(0.3, form="softplus"), made, 0.0)
    logit, f_s, f_q = network.segment_and_embed(made.support, made.masks, made.query, 8)
    torch.testing.assert_close(terms["dice"], binary_dice(logit, made.truth, made.known))
    torch.testing.assert_close(terms["cross_entropy"], binary_cross_entropy(logit, made.truth, made.known))
    expected = 0.3 * discriminative(f_s, f_q, all_others(2), "rms", "softplus")
    torch.testing.assert_close(terms["embedding"], expected)
    assert terms.keys() == {"dice", "cross_entropy", "embedding"}


@pytest.mark.parametrize("stage", [4, 8])
def test_the_embedding_is_of_the_stage_that_is_told(network, stage):
    made = episode([1, 2], [7, 7])
    gcn_de_loss(network, Embedding(1.0, stage, form="softplus"), made, 0.0)["embedding"].backward()
    reached = network.query.last[0].weight.grad is not None
    assert reached == (stage == 8)


def test_at_weight_0_it_is_left_out(network):
    assert gcn_de_loss(network, Embedding(0.0), episode([1, 2], [7, 7]), 0.0).keys() == {"dice", "cross_entropy"}
