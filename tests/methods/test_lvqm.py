import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.names import Names
from lowshot.methods import few_shot_presets
from lowshot.methods.lvqm import (
    LVQM,
    Prototypes,
    Quantiser,
    QuantisingNetwork,
    grid_means,
    self_organised,
    similarity,
    squared_distances,
)
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 8, "tasks": 2}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)
QUANTISER = Quantiser(window=2, square_share=0.25, codes=4, residual_codes=2, settling=3)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(quantiser=QUANTISER):
    torch.manual_seed(0)
    return QuantisingNetwork(1, 8, quantiser, depth=18, width=1 / 16).eval()


def groups(*centres, each=10, spread=0.01):
    torch.manual_seed(0)
    return torch.cat([torch.tensor(c) + spread * torch.randn(1, each, len(c)) for c in centres], dim=1)


def square(size=8):
    mask = torch.zeros(1, 1, size, size)
    mask[..., 2:6, 2:6] = 1
    return mask


def painted(mask):
    return torch.eye(2)[mask.long()].movedim(-1, -3)


def test_distances():
    cells, codes = torch.randn(2, 7, 3), torch.randn(2, 4, 3)
    naive = (cells[:, :, None] - codes[:, None]).square().sum(3)
    torch.testing.assert_close(squared_distances(cells, codes), naive, rtol=1e-4, atol=1e-5)


def test_one_code_is_the_weighted_mean():
    cells, weights = torch.randn(2, 9, 3), torch.rand(2, 9)
    codes, assigned = self_organised(cells, weights, 1, 3)
    torch.testing.assert_close(codes[:, 0], (weights[..., None] * cells).sum(1) / weights.sum(1, keepdim=True))
    assert assigned.eq(1).all()


@pytest.mark.parametrize("steps", [1, 3])
def test_codes_move_to_the_groups_of_cells(steps):
    centres = ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    cells = groups(*centres)
    codes, assigned = self_organised(cells, torch.ones(1, 30), 3, steps)
    nearest = squared_distances(torch.tensor([centres]), codes).amin(2)
    assert nearest.sqrt().max() < (0.4 if steps == 1 else 0.05)
    assert (assigned.argmax(2).reshape(3, 10) == assigned.argmax(2).reshape(3, 10)[:, :1]).all()


def test_cells_without_weight_move_no_code():
    cells, weights = torch.randn(1, 12, 3), torch.ones(1, 12)
    weights[:, 8:] = 0
    codes, _ = self_organised(cells, weights, 3, 3)
    alone, _ = self_organised(cells[:, :8], weights[:, :8], 3, 3)
    torch.testing.assert_close(codes, alone)


def test_cells_that_are_all_the_same_have_one_code_many_times():
    codes, assigned = self_organised(torch.ones(1, 5, 3), torch.ones(1, 5), 4, 2)
    torch.testing.assert_close(codes, torch.ones(1, 4, 3))
    assert assigned.isfinite().all()


def test_grid_means_by_hand():
    """Squares of 2×2 in a map of 2×3: the second one is cut by the edge."""
    cells = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[None, None, None]
    weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])[None, None]
    found = grid_means(cells, weights, 2, 0.25)
    assert found.vectors[0, :, 0].tolist() == [2.5, 0.0]
    assert found.usable.tolist() == [[True, False]]
    assert grid_means(cells, weights, 2, 0.5).usable.tolist() == [[False, False]]
    everything = grid_means(cells, torch.ones_like(weights), 2, 0.25)
    assert everything.vectors[0, :, 0].tolist() == [3.0, 4.5]


def test_residual_codes_bring_prototypes_nearer_to_the_cells():
    torch.manual_seed(0)
    cells = F.normalize(torch.randn(1, 1, 6, 8, 8), dim=2)
    found = QUANTISER.structure(cells, torch.ones(1, 1, 8, 8))
    flat, used = cells[0, 0].flatten(1).mT[None], found.usable[0]
    grid, own = 16, found.vectors[:, 16:20]
    both = found.vectors[:, grid:][:, used[grid:]]
    assert found.vectors.shape[1] == grid + 4 + 4 * 2
    assert used[: grid + 4].all()
    assert squared_distances(flat, both).amin(2).mean() < squared_distances(flat, own).amin(2).mean()


def test_sums_of_codes_that_no_cell_needs_do_not_count():
    """Two groups of which the first has cells on two sides and the second has none."""
    cells = torch.tensor([[1.0, 0.2], [1.0, -0.2], [-1.0, 0.0], [-1.0, 0.0]]).mT.reshape(1, 1, 2, 2, 2)
    found = Quantiser(1, 1.0, 2, 3, 5).structure(cells, torch.ones(1, 1, 2, 2))
    sums, needed = found.vectors[0, -6:], found.usable[0, -6:]
    kept = sums[needed]
    assert 3 <= len(kept) < 6
    for cell in ([1.0, 0.2], [1.0, -0.2], [-1.0, 0.0]):
        assert (kept - torch.tensor(cell)).norm(dim=1).min() < 0.05


def test_similarity_is_a_weighted_sum_of_what_is_usable():
    query = torch.tensor([[1.0, 0.0]])[..., None, None]
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    found = similarity(query, Prototypes(vectors, torch.tensor([[False, True, False]])))
    assert float(found) == pytest.approx(0, abs=1e-5)
    scores = torch.tensor([20.0, 0.0])
    found = similarity(query, Prototypes(vectors, torch.tensor([[True, True, False]])))
    assert float(found) == pytest.approx(float((scores.softmax(0) * scores).sum()), rel=1e-5)


def test_a_structure_of_two_kinds_of_tissue_is_found_whole():
    """Its mean points between the two; prototypes point at either."""
    kinds = torch.zeros(1, 8, 8, dtype=torch.int64)
    kinds[:, 2:4, 2:6], kinds[:, 4:6, 2:6] = 1, 2
    features = torch.eye(3)[kinds].movedim(-1, 1)
    mask = (kinds > 0).float()
    found = network().segment(features[:, None], mask[:, None], features)
    assert ((found > 0).float() == mask).all()
    assert found[mask > 0].min() > 15


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


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = QuantisingNetwork(1, 8, QUANTISER, depth=18, width=1 / 16).eval()
        found = empty(torch.empty(1, 1, 1, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(4, 1, 64, 64))
    assert found.shape == (4, 64, 64)
    low, full = in_both_precisions(network())
    assert low.dtype == torch.float32
    assert relative_error(low, full) < 0.1


class Identity(nn.Module):
    def forward(self, image):
        return image


@torch.no_grad()
def test_loss_by_hand():
    """Features are right, so that every pixel's logit is 20 the right way."""
    made, mask = network(Quantiser(2, 0.25, 2, 1, 1)), square()
    made.encoder = Identity()
    known, number = torch.ones(1, 8, 8, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    episode = Episode(painted(mask), mask, painted(mask)[:, 0], mask[:, 0], known, number, number, number)
    terms = LVQM(**TINY)._loss(made, episode, 0.0)
    assert set(terms) == {"query", "alignment"}
    assert all(float(term) < 1e-4 for term in terms.values())
    assert set(LVQM(**TINY, alignment=0.0)._loss(made, episode, 0.0)) == {"query"}


def test_it_learns_and_is_restored_from_its_state():
    method = LVQM(**TINY, region_share=0.5, optimiser="adamw", learning_rate=1e-2)
    state = method.fit(ALONE, run()).state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_problems():
    assert "--base" in LVQM(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert "no file of weights" in LVQM(weights="gone.pth").problems(ALONE)[0]
    assert LVQM(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (36, 32)}, "multiples of 8"),
        ({"codes": 0}, "codes"),
        ({"residual_codes": 1000}, "residual_codes, settling: expected at most"),
        ({"square_share": 1.5}, "square_share: expected a share"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        LVQM(**(TINY | wrong))


def test_presets_are_settings():
    assert LVQM(**few_shot_presets.LVQM["paper"]) == LVQM()
    assert LVQM(**few_shot_presets.LVQM["compact"]).region_share == 0.7
