import json
import math

import pytest
import torch
from torch import nn

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.names import Names
from lowshot.methods.few_shot_presets import POISSON_SEG
from lowshot.methods.poisson_seg import (
    Graph,
    PoissonSeg,
    PropagationNetwork,
    mean_zero,
    nearest_cells,
    place_between,
    potential,
)
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 8, "tasks": 2}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(**settings):
    torch.manual_seed(0)
    return PropagationNetwork(1, 8, depth=18, width=1 / 16, **settings).eval()


def path(weights):
    """Nodes in a row, of which each edge is given by its left node; the last gives one of weight 0."""
    nodes = len(weights) + 1
    to = torch.tensor([*range(1, nodes), 0])[None, :, None]
    return Graph(to, 2 * torch.tensor([*weights, 0.0])[None, :, None])


def random_graph(nodes=12, edges=3):
    to = torch.stack([torch.randperm(nodes - 1)[:edges] for _ in range(2 * nodes)]).reshape(2, nodes, edges)
    to = to + (to >= torch.arange(nodes)[:, None])
    return Graph(to, torch.rand(2, nodes, edges) + 0.1)


def dense(graph):
    m, nodes, edges = graph.weights.shape
    found = torch.zeros(m, nodes, nodes)
    for n in range(m):
        for i in range(nodes):
            for e in range(edges):
                j = int(graph.neighbours[n, i, e])
                found[n, i, j] += graph.weights[n, i, e] / 2
                found[n, j, i] += graph.weights[n, i, e] / 2
    return found


def clusters(mask, size=4):
    """Cells of two kinds, far from each other, a little different among their own."""
    torch.manual_seed(1)
    directions = torch.eye(2)[(mask > 0.5).long()].movedim(-1, -3)
    return directions + 0.05 * torch.randn_like(directions)


def test_edges_are_followed_in_both_directions():
    graph, u = random_graph(), torch.randn(2, 12)
    torch.testing.assert_close(graph.sums(u), (dense(graph) @ u[..., None])[..., 0])


def test_potential_of_three_in_a_row_by_hand():
    """One unit flows through edges of weight 1, so that the potential falls by 1 along each."""
    found = potential(path([1.0, 1.0]), torch.tensor([[1.0, 0.0, -1.0]]), 100)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, -1.0]]))


def test_potential_falls_less_along_a_heavier_edge():
    """Falls of 1, ½ and 1 from u₀ on; degrees are 1, 3, 3, 1, and Σ D u = 0 holds by symmetry."""
    found = potential(path([1.0, 2.0, 1.0]), torch.tensor([[1.0, 0.0, 0.0, -1.0]]), 200)
    torch.testing.assert_close(found, torch.tensor([[1.25, 0.25, -0.25, -1.25]]))


def test_two_nodes_do_not_swing():
    found = potential(path([1.0]), torch.tensor([[1.0, -1.0]]), 60)
    torch.testing.assert_close(found, torch.tensor([[0.5, -0.5]]))


def test_potential_solves_the_poisson_equation():
    torch.manual_seed(0)
    graph, sources = random_graph(), torch.randn(2, 12)
    sources = sources - sources.mean(dim=1, keepdim=True)
    W = dense(graph)
    D = W.sum(2)
    u = (torch.linalg.pinv(torch.diag_embed(D) - W) @ sources[..., None])[..., 0]
    u = u - (D * u).sum(1, keepdim=True) / D.sum(1, keepdim=True)
    torch.testing.assert_close(potential(graph, sources, 1000), u, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, 3, 10])
def test_sources_are_higher_than_sinks_after_any_number_of_steps(iterations):
    torch.manual_seed(iterations)
    graph, sources = random_graph(), mean_zero(*(each / each.sum(1, keepdim=True) for each in torch.rand(2, 2, 12)))
    assert ((potential(graph, sources, iterations) * sources).sum(1) > 0).all()


def test_sources_sum_to_zero_and_are_none_where_nothing_can_flow():
    outflow, inflow = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0], [0.3, 0.3, 0.4]])
    torch.testing.assert_close(mean_zero(outflow, inflow), torch.tensor([[0.5, 0.5, -1.0], [0.0, 0.0, 0.0]]))


def test_nearest_cells_by_hand():
    """Cells by their angle: three of the support, three of the query."""
    degrees = torch.tensor([0.0, 20.0, 90.0, 5.0, 70.0, 80.0])
    cells = torch.stack([torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()])[None]
    graph = nearest_cells(cells, 3, 2)
    assert graph.neighbours[0].tolist()[0] == [1, 2, 3, 4]
    assert graph.neighbours[0].tolist()[3] == [0, 1, 4, 5]
    far = [math.exp(-4 * (1 - math.cos(math.radians(a))) / (1 - math.cos(math.radians(b)))) for a, b in ((20, 90),)]
    torch.testing.assert_close(graph.weights[0, 0, :2], torch.tensor([*far, math.exp(-4)]))


def test_few_cells_have_few_neighbours():
    assert nearest_cells(torch.randn(2, 3, 6), 4, 10).weights.shape == (2, 6, 3 + 1)
    assert nearest_cells(torch.randn(2, 3, 2), 1, 10).weights.shape == (2, 2, 0)


def test_place_between_by_hand():
    """Sources lie at 4 among neighbours at 3, sinks at −2 among neighbours at −1; a cell among neighbours at 1: ½."""
    u, around = torch.tensor([[4.0, -2.0, 1.0, 3.0]]), torch.tensor([[3.0, -1.0, 1.0, 3.0]])
    flows = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(place_between(u, around, *flows), torch.tensor([[1.0, 0.0, 0.5, 1.0]]))
    among_others = torch.tensor([[-1.0, 3.0, 1.0, 1.3]])
    torch.testing.assert_close(place_between(u, among_others, *flows)[:, 2:], torch.tensor([[0.5, 1.0]]))


def test_labels_flow_to_the_cells_that_are_alike():
    mask, truth = torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8)
    mask[..., :3, :3], truth[:, 5:, 2:7] = 1, 1
    found = network(neighbours=4).segment(clusters(mask), mask, clusters(truth))
    assert ((found > 0).float() == truth).all()


def test_what_is_inside_and_what_is_outside_are_alike():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :3, :5] = 1
    support, query = clusters(mask), torch.randn(1, 2, 8, 8)
    made = network()
    torch.testing.assert_close(
        made.segment(support, 1 - mask, query), -made.segment(support, mask, query), rtol=1e-3, atol=1e-3
    )


def test_all_shots_are_in_the_graph():
    """What the query shows is in the second shot alone."""
    mask = torch.zeros(1, 2, 8, 8)
    mask[:, 0, :3], mask[:, 1, 5:] = 1, 1
    angles = torch.full((1, 2, 8, 8), 90.0)
    angles[:, 0, :3], angles[:, 1, 5:] = 0, 180
    torch.manual_seed(0)
    angles = torch.deg2rad(angles + torch.randn(angles.shape))
    support, shown = torch.stack([angles.cos(), angles.sin()], dim=2), mask[:, 1] > 0
    both, first = (network(neighbours=4).segment(support[:, :k], mask[:, :k], support[:, 1]) for k in (2, 1))
    assert both[shown].mean() > 0
    assert first[shown].mean() < -3
    assert both[~shown].mean() < -3


@pytest.mark.parametrize(("n", "m", "k"), [(2, 2, 3), (1, 3, 2)])
def test_any_number_of_shots_and_one_example_for_all(n, m, k):
    made, support, query = network(), torch.rand(n, k, 1, 32, 48), torch.rand(m, 1, 32, 48)
    masks = (torch.rand(n, k, 32, 48) > 0.5).float()
    found = made(support, masks, query)
    assert found.shape == (m, 32, 48)
    each = [made(support[min(i, n - 1)][None], masks[min(i, n - 1)][None], query[i][None]) for i in range(m)]
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_is_empty_or_full_gives_numbers_and_gradients(value):
    made = network().train()
    logit = made(torch.rand(2, 1, 1, 32, 32), torch.full((2, 1, 32, 32), value), torch.rand(2, 1, 32, 32))
    logit.mean().backward()
    assert logit.isfinite().all()
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)


def test_the_smallest_structure_is_a_source():
    """One pixel of a cell of 8×8."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 10, 10] = 1
    support = torch.zeros(1, 1, 2, 4, 4)
    support[:, :, 0], support[..., 0, 1, 1], support[..., 1, 1, 1] = 1, 0, 1
    found = network(neighbours=2).segment(support, mask, support[:, 0])
    assert found.flatten().argmax() in (8 * 32 + 8 + torch.arange(8)[:, None] * 32 + torch.arange(8)).flatten()


def test_the_encoder_learns_through_the_graph():
    made = network().train()
    masks = (torch.rand(1, 1, 32, 32) > 0.5).float()
    made(torch.rand(1, 1, 1, 32, 32), masks, torch.rand(1, 1, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    assert made.encoder.reduce.weight.grad.abs().max() > 0


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = PropagationNetwork(1, 8, depth=18, width=1 / 16).eval()
        found = empty(torch.empty(1, 1, 1, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(4, 1, 64, 64))
    assert found.shape == (4, 64, 64)
    low, full = in_both_precisions(network())
    assert low.dtype == torch.float32
    assert relative_error(low, full) < 0.1


class Identity(nn.Module):
    def forward(self, image):
        return image


def test_loss_is_small_where_features_are_right():
    made = network(neighbours=4)
    made.encoder = Identity()
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :3, :5] = 1
    known, number = torch.ones(1, 8, 8, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    episode = Episode(clusters(mask), mask, clusters(mask)[:, 0], mask[:, 0], known, number, number, number)
    terms = PoissonSeg(**TINY)._loss(made, episode, 0.0)
    assert set(terms) == {"query", "prototypes"}
    wrong = PoissonSeg(**TINY)._loss(made, episode._replace(truth=1 - mask[:, 0]), 0.0)
    assert all(float(terms[name].detach()) < 0.2 < float(wrong[name].detach()) for name in terms)
    assert set(PoissonSeg(**TINY, prototypes=0.0)._loss(made, episode, 0.0)) == {"query"}


def test_it_learns_and_is_restored_from_its_state():
    method = PoissonSeg(**TINY, region_share=0.5, optimiser="adamw", learning_rate=1e-2)
    model = method.fit(ALONE, run())
    assert float(model.network.threshold.detach()) != 0.5
    state = model.state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_problems():
    assert "--base" in PoissonSeg(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert "no file of weights" in PoissonSeg(weights="gone.pth").problems(ALONE)[0]
    assert PoissonSeg(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (36, 32)}, "multiples of 8"),
        ({"neighbours": 0}, "neighbours"),
        ({"iterations": 5000}, "iterations: expected at most"),
        ({"region_share": 1.5}, "region_share: expected a share"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        PoissonSeg(**(TINY | wrong))


def test_presets_are_settings():
    assert PoissonSeg(**POISSON_SEG["paper"]) == PoissonSeg()
    assert PoissonSeg(**POISSON_SEG["compact"]).region_share == 0.7
