import pytest
import torch
from torch import nn

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.names import Names
from lowshot.methods.adnet import ADNet, AnomalyNetwork
from lowshot.methods.self_supervised_presets import ADNET
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 8, "tasks": 2}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(**settings):
    torch.manual_seed(0)
    return AnomalyNetwork(1, 8, depth=18, width=1 / 16, **settings).eval()


def squares(n=1, k=1):
    masks = torch.zeros(n, k, 16, 16)
    masks[..., 4:12, 4:12] = 1
    return masks


def test_the_threshold_decides_at_which_cosine_a_structure_ends():
    """T = −10: inside beyond a cosine of ½. Features at cosine 1, 0 and ½ from the prototype give ½ (T + 20 cos)."""
    support = torch.cat([squares()[:, 0:1], 1 - squares()[:, 0:1]], dim=1)[:, None]
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.75**0.5]])[..., None, None].expand(-1, -1, 16, 16)
    found = network().segment(support, squares(), query)
    torch.testing.assert_close(found[:, 8, 8], torch.tensor([5.0, -5.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(network(threshold=-16.0).segment(support, squares(), query), found - 3)


def test_shots_are_averaged():
    support = torch.zeros(1, 2, 2, 16, 16)
    support[0, 0, 0], support[0, 1, 1] = 1, 3
    query = torch.ones(1, 2, 16, 16)
    cosine = (1 + 3) / (2 * 10) ** 0.5
    found = network().segment(support, squares(1, 2), query)
    torch.testing.assert_close(found, torch.full((1, 16, 16), 0.5 * (20 * cosine - 10)), atol=1e-4, rtol=0)


def test_one_support_set_serves_all_queries():
    adnet, support, query = network(), torch.rand(1, 2, 1, 32, 48), torch.rand(3, 1, 32, 48)
    masks = (torch.rand(1, 2, 32, 48) > 0.5).float()
    together = adnet(support, masks, query)
    assert together.shape == (3, 32, 48)
    torch.testing.assert_close(together, adnet(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query))


def test_features_of_single_images_are_those_that_are_compared():
    adnet, support, query = network(), torch.rand(2, 1, 1, 32, 48), torch.rand(2, 1, 32, 48)
    masks = (torch.rand(2, 1, 32, 48) > 0.5).float()
    cells = adnet.features(support[:, 0])[:, None], adnet.features(query)
    torch.testing.assert_close(adnet.segment(cells[0], masks, cells[1]), adnet(support, masks, query))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_is_empty_or_full_gives_numbers_and_gradients(value):
    adnet = network().train()
    logit = adnet(torch.rand(2, 1, 1, 32, 32), torch.full((2, 1, 32, 32), value), torch.rand(2, 1, 32, 32))
    logit.mean().backward()
    assert logit.isfinite().all()
    assert all(p.grad.isfinite().all() for p in adnet.parameters() if p.grad is not None)


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = AnomalyNetwork(1, 8, depth=18, width=1 / 16).eval()
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
    """Features are right, so that every pixel's logit is 5 the right way; T / 20 is −½."""
    adnet = network()
    adnet.encoder = Identity()
    image = torch.cat([squares()[:, 0:1], 1 - squares()[:, 0:1]], dim=1)
    known, number = torch.ones(1, 16, 16, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    episode = Episode(image[:, None], squares(), image, squares()[:, 0], known, number, number, number)
    terms = ADNet(**TINY)._loss(adnet, episode, 0.0)
    expected = float(torch.nn.functional.softplus(torch.tensor(-5.0)))
    assert float(terms["query"]) == pytest.approx(expected, rel=1e-3)
    assert float(terms["alignment"]) == pytest.approx(expected, rel=1e-3)
    assert float(terms["threshold"]) == pytest.approx(-0.5)
    assert set(ADNet(**TINY, alignment=0.0)._loss(adnet, episode, 0.0)) == {"query", "threshold"}


def test_the_threshold_is_learned():
    settings = TINY | {"learning_rate": 0.1}
    model = ADNet(**settings).fit(ALONE, run())
    assert float(model.network.threshold.detach()) != -10.0
    restored = ADNet(**settings).restore(model.state())
    assert restored.network.threshold.equal(model.network.threshold)


def test_problems():
    assert "--base" in ADNet(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert "no file of weights" in ADNet(weights="gone.pth").problems(ALONE)[0]
    assert ADNet(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (36, 32)}, "multiples of 8"),
        ({"threshold": -21.0}, "threshold: expected a score"),
        ({"threshold": float("nan")}, "threshold"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"least_voxels": 0}, "least_voxels"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        ADNet(**(TINY | wrong))


def test_presets_are_settings():
    assert ADNet(**ADNET["paper"]) == ADNet()
    assert all(ADNet(**settings) for settings in ADNET.values())
