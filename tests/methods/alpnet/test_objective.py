import math

import pytest
import torch
from torch import nn

from lowshot.fewshot.episodes import Episode
from lowshot.methods.alpnet.network import ALPNet
from lowshot.methods.alpnet.objective import alpnet_loss


class Identity(nn.Module):
    """An image's channels are its features."""

    def forward(self, image):
        return image


def episode(right=True):
    """Structure and background at a right angle in feature space, everywhere known."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 1
    image = torch.cat([mask, 1 - mask], dim=1)
    truth = mask[:, 0] if right else 1 - mask[:, 0]
    known = torch.ones(1, 16, 16, dtype=torch.bool)
    number = torch.zeros(1, dtype=torch.int64)
    return Episode(image[:, None], mask, image, truth, known, number, number, number)


@pytest.fixture
def network():
    alpnet = ALPNet(2, 2, depth=18, width=1 / 16)
    alpnet.encoder = Identity()
    return alpnet


@torch.no_grad()
def test_features_that_tell_structure_from_background_cost_nothing(network):
    terms = alpnet_loss(network, 0.05, 1.0, episode(), 0.0)
    assert set(terms) == {"query", "alignment"}
    assert all(float(term) < 1e-4 for term in terms.values())


@torch.no_grad()
def test_alignment_is_weighted_and_can_be_off(network):
    network.encoder = nn.Conv2d(2, 2, 1)
    once, twice = (alpnet_loss(network, 0.05, weight, episode(), 0.0) for weight in (1.0, 2.0))
    assert float(twice["alignment"]) == pytest.approx(2 * float(once["alignment"]))
    assert set(alpnet_loss(network, 0.05, 0.0, episode(), 0.0)) == {"query"}


@torch.no_grad()
def test_background_counts_less(network):
    """Found the wrong way round: all pixels cost 20 alike, whatever their weight."""
    for background in (0.05, 1.0):
        loss = float(alpnet_loss(network, background, 0.0, episode(right=False), 0.0)["query"])
        assert loss == pytest.approx(20, rel=0.01)
    none = episode()._replace(truth=torch.zeros(1, 16, 16))
    light = alpnet_loss(network, 0.05, 0.0, none, 0.0)["query"]
    assert float(light) == pytest.approx(20 * 64 / 256, rel=0.01)
    assert math.isfinite(float(light))
