import json
import math

import pytest
import torch
from torch import nn

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.names import Names
from lowshot.methods.few_shot_presets import SR_NET
from lowshot.methods.sr_net import SelfReferringNetwork, SRNet, compared, contrast, own_prototypes
from lowshot.nn.prototypes import prototype_logit
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 8, "tasks": 2}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)
OUTSIDE, INSIDE = (1.0, 0.0), (0.0, 1.0)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(**settings):
    torch.manual_seed(0)
    return SelfReferringNetwork(1, 8, depth=18, width=1 / 16, **settings).eval()


def square(size=8):
    mask = torch.zeros(1, 1, size, size)
    mask[..., 2:6, 2:6] = 1
    return mask


def painted(mask, outside=OUTSIDE, inside=INSIDE):
    vectors = torch.tensor([outside, inside])
    return vectors[mask.long()].movedim(-1, -3)


def test_comparison_by_hand():
    query = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[..., None, None]
    found = compared(query, torch.tensor([[OUTSIDE, INSIDE]]))
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([20.0, -20.0, 0.0]))


def test_without_self_reference_it_is_one_comparison_with_prototypes():
    support, query, masks = torch.randn(2, 3, 4, 8, 8), torch.randn(2, 4, 8, 8), (torch.rand(2, 3, 8, 8) > 0.5).float()
    found = network(self_reference=0.0).segment(support, masks, query)
    torch.testing.assert_close(found, prototype_logit(support, masks, query))


def test_own_prototypes_are_means_of_cells_that_are_certain():
    """Cells with probabilities 0.9, 0.8, 0.5 and 0.1 of being inside; certain is from 0.75 on."""
    query = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0, 7.0, 8.0]]]])
    logit = torch.logit(torch.tensor([[[0.9, 0.8, 0.5, 0.1]]]))
    found = own_prototypes(query, logit, torch.zeros(1, 2, 2), 0.75)
    inside = [(0.9 * a + 0.8 * b) / 1.7 for a, b in ((1, 2), (5, 6))]
    torch.testing.assert_close(found, torch.tensor([[[4.0, 8.0], inside]]))


def test_a_label_without_a_certain_cell_keeps_what_was_given():
    query, given = torch.randn(2, 3, 4, 4), torch.randn(1, 2, 3)
    found = own_prototypes(query, torch.full((2, 4, 4), -10.0), given, 0.7)
    torch.testing.assert_close(found[:, 1], given[:, 1].expand(2, -1))
    torch.testing.assert_close(found[:, 0], query.mean((2, 3)))
    torch.testing.assert_close(own_prototypes(query, torch.zeros(2, 4, 4), given, 0.7), given.expand(2, -1, -1))


def test_a_query_that_looks_different_is_found_by_its_own_cells():
    """Its labels lie 50° apart, between those of the support; both comparisons together are their mean."""
    degrees = torch.deg2rad(torch.tensor([20.0, 70.0]))
    outside, inside = torch.stack([degrees.cos(), degrees.sin()], dim=1).tolist()
    mask = square()
    query = painted(mask[:, 0], outside, inside)
    first = network(self_reference=0.0).segment(painted(mask), mask, query)
    second = network(self_reference=1.0).segment(painted(mask), mask, query)
    torch.testing.assert_close(second[mask[:, 0] > 0].mean(), torch.tensor(20 * (1 - math.cos(math.radians(50)))))
    half = network(self_reference=0.5).segment(painted(mask), mask, query)
    torch.testing.assert_close(half, (first + second) / 2)


def test_contrast_by_hand():
    """Orthogonal labels: −log e^{1/τ} / (e^{1/τ} + 2). All alike: log 3."""
    apart = torch.tensor([[OUTSIDE, INSIDE]])
    valid = torch.ones(1, dtype=torch.bool)
    expected = math.log(math.exp(2) + 2) - 2
    assert float(contrast(apart, 3 * apart, valid, 0.5)) == pytest.approx(expected, rel=1e-5)
    same = torch.ones(1, 2, 2)
    assert float(contrast(same, same, valid, 0.5)) == pytest.approx(math.log(3))


def test_contrast_leaves_out_tasks_that_lack_a_label():
    support, query = torch.randn(2, 2, 4), torch.randn(2, 2, 4)
    valid = torch.tensor([True, False])
    torch.testing.assert_close(contrast(support, query, valid, 0.1), contrast(support[:1], query[:1], valid[:1], 0.1))
    assert float(contrast(support, query, torch.zeros(2, dtype=torch.bool), 0.1)) == 0


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
    made, known, number = network().train(), torch.ones(2, 32, 32, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    masks = torch.full((2, 1, 32, 32), value)
    images = torch.rand(2, 1, 1, 32, 32), torch.rand(2, 1, 32, 32)
    episode = Episode(images[0], masks, images[1], 1 - masks[:, 0], known, number, number, number)
    terms = SRNet(**TINY)._loss(made, episode, 0.0)
    assert float(terms["contrast"].detach()) == 0
    loss = sum(terms.values())
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = SelfReferringNetwork(1, 8, depth=18, width=1 / 16).eval()
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
    """Features are right, so that every pixel's logit is 20 the right way; labels are orthogonal."""
    made, mask = network(), square()
    made.encoder = Identity()
    known, number = torch.ones(1, 8, 8, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    episode = Episode(painted(mask), mask, painted(mask)[:, 0], mask[:, 0], known, number, number, number)
    terms = SRNet(**TINY, contrast=1.0, temperature=0.5)._loss(made, episode, 0.0)
    assert float(terms["query"]) < 1e-8
    assert float(terms["support"]) < 1e-8
    assert float(terms["contrast"]) == pytest.approx(math.log(math.exp(2) + 2) - 2, rel=1e-4)
    assert set(SRNet(**TINY, contrast=0.0, support_reference=0.0)._loss(made, episode, 0.0)) == {"query"}


def test_it_learns_and_is_restored_from_its_state():
    method = SRNet(**TINY, region_share=0.5, optimiser="adamw", learning_rate=1e-2)
    state = method.fit(ALONE, run()).state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_problems():
    assert "--base" in SRNet(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert "no file of weights" in SRNet(weights="gone.pth").problems(ALONE)[0]
    assert SRNet(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (36, 32)}, "multiples of 8"),
        ({"confidence": 1.5}, "confidence: expected a share"),
        ({"temperature": 0.0}, "temperature"),
        ({"contrast": -1.0}, "contrast"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        SRNet(**(TINY | wrong))


def test_presets_are_settings():
    assert SRNet(**SR_NET["paper"]) == SRNet()
    assert SRNet(**SR_NET["compact"]).region_share == 0.7
