import pytest
import torch
from torch import nn

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.names import Names
from lowshot.methods.rp_net import (
    QuarterUNet,
    Refined,
    RefiningNetwork,
    RPNet,
    compare,
    correlation,
    laid_by_moments,
    moments,
)
from lowshot.methods.self_supervised_presets import RP_NET
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error, settled

TINY = {"size": (32, 32), "widths": (2, 4, 4), "relation": 4, "radius": 1, "tasks": 2, "test_passes": 2}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(**settings):
    torch.manual_seed(0)
    return RefiningNetwork(1, (2, 4, 6, 8), 5, 2, **settings).eval()


def ellipse(centre, radii, size=64):
    i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((((i - centre[0]) / radii[0]) ** 2 + ((j - centre[1]) / radii[1]) ** 2) < 1).float()


def test_correlation_as_a_naive_loop():
    x, y, radius = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), 2
    found = correlation(x, y, radius)
    assert found.shape == (2, 25, 4, 5)
    for n, (a, b) in enumerate((a, b) for a in range(-radius, radius + 1) for b in range(-radius, radius + 1)):
        for i in range(4):
            for j in range(5):
                inside = 0 <= i + a < 4 and 0 <= j + b < 5
                expected = (x[:, :, i, j] * y[:, :, i + a, j + b]).mean(1) if inside else torch.zeros(2)
                torch.testing.assert_close(found[:, n, i, j], expected)


def test_moments_by_hand():
    """A body of 2 by 4 of 8 pixels: along i at 3 and 4, so that the centre is in the middle."""
    image = torch.zeros(1, 1, 8, 8)
    image[..., 3:5, 0:4] = 1
    centre, extent = moments(image)
    torch.testing.assert_close(centre, torch.tensor([[-0.5, 0.0]]))
    torch.testing.assert_close(extent, torch.tensor([[(0.375**2 + 0.125**2) ** 0.5 / 2**0.5, 0.125]]))


def test_a_mask_is_laid_to_where_the_body_is():
    body, other = ellipse((24, 28), (12, 16)), ellipse((38, 34), (18, 12))
    organ, moved = ellipse((24 - 4, 28 + 6), (3, 4)), ellipse((38 - 6, 34 + 4.5), (4.5, 3))
    laid = laid_by_moments(body[None, None, None], organ[None, None], other[None, None]) > 0.5
    overlap = 2 * (laid[0] & (moved > 0)).sum() / (laid.sum() + moved.sum())
    assert overlap > 0.85
    same = laid_by_moments(body[None, None, None], organ[None, None], body[None, None])
    torch.testing.assert_close(same[0], organ, atol=1e-3, rtol=0)


def test_every_query_gets_the_mean_of_its_own_shots_laid_upon_it():
    support, masks, query = torch.rand(3, 2, 1, 32, 32), torch.rand(3, 2, 32, 32), torch.rand(3, 1, 32, 32)
    every = laid_by_moments(support, masks, query)
    for n in range(3):
        each = [laid_by_moments(support[n, k][None, None], masks[n, k][None, None], query[n][None]) for k in (0, 1)]
        torch.testing.assert_close(every[n], torch.cat(each).mean(dim=0), atol=1e-4, rtol=0)
    shared = laid_by_moments(support[:1], masks[:1], query)
    torch.testing.assert_close(shared[2:], laid_by_moments(support[:1], masks[:1], query[2:]), atol=1e-4, rtol=0)


def test_a_slice_without_contrast_gives_numbers():
    flat = torch.zeros(1, 1, 32, 32)
    assert laid_by_moments(flat[:, None], torch.ones(1, 1, 32, 32), flat).isfinite().all()


def test_features_are_a_quarter_of_the_size():
    assert QuarterUNet(1, (2, 4, 6, 8, 10))(torch.rand(2, 1, 32, 48)).shape == (2, 6, 8, 12)
    assert QuarterUNet(1, (2, 4, 6))(torch.rand(2, 1, 32, 48)).shape == (2, 6, 8, 12)


def test_compare_by_hand():
    """Features of the structure and of the background at a right angle: 20 − 0 inside, 0 − 20 outside."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    features = torch.cat([mask, 1 - mask], dim=1)
    found = compare(features[:, None], mask, features)
    torch.testing.assert_close(found, 40 * mask[:, 0] - 20)


def test_as_many_passes_as_asked_for_and_the_last_is_the_answer():
    rp_net = network(passes=(3, 5))
    given = torch.rand(2, 1, 1, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float(), torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        found = rp_net.refine(*given)
        assert len(found.logits) == 5
        torch.testing.assert_close(rp_net(*given), found.logits[-1])
        assert len(rp_net.train().refine(*given).logits) == 3


def test_the_first_mask_is_the_supports_and_the_next_what_was_found():
    rp_net, seen = network(passes=(2, 2), start="identity"), []
    support, query = torch.rand(1, 1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    masks = (torch.rand(1, 1, 32, 32) > 0.5).float()
    rp_net.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[1].clone()))
    found = rp_net.refine(support, masks, query)
    assert seen[0].equal(masks[:, 0])  # of the support
    assert seen[1].equal(masks[:, 0])
    assert seen[2].equal((found.logits[0] > 0).float())


def test_one_support_set_serves_all_queries():
    rp_net, support, query = settled(network()), torch.rand(1, 2, 1, 32, 48), torch.rand(3, 1, 32, 48)
    masks = (torch.rand(1, 2, 32, 48) > 0.5).float()
    with torch.inference_mode():
        one = rp_net.refine(support, masks, query).logits[0]
        every = rp_net.refine(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query).logits[0]
        rolled = rp_net.refine(support, masks, query.roll(1, 0)).logits[0]
    torch.testing.assert_close(one, every, atol=1e-5, rtol=1e-5)
    assert one.std() > 0.05
    assert (one - rolled).abs().max() > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_is_empty_or_full_gives_numbers_and_gradients(value):
    rp_net = network().train()
    logit = rp_net(torch.rand(2, 1, 1, 32, 32), torch.full((2, 1, 32, 32), value), torch.rand(2, 1, 32, 32))
    logit.mean().backward()
    assert logit.isfinite().all()
    assert all(p.grad.isfinite().all() for p in rp_net.parameters() if p.grad is not None)


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = RefiningNetwork(1, (2, 4, 6, 8), 5, 2).eval()
        found = empty(torch.empty(1, 1, 1, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(4, 1, 64, 64))
    assert found.shape == (4, 64, 64)
    assert relative_error(*in_both_precisions(settled(network(passes=(1, 1))))) < 0.1
    low, _ = in_both_precisions(network())  # through hard masks, which turn a difference of rounding into another mask
    assert low.isfinite().all()


class Fixed(nn.Module):
    """In place of the network: every pass finds the same."""

    def __init__(self, logit):
        super().__init__()
        self.logit = logit

    def refine(self, support, masks, query):
        return Refined([-self.logit, self.logit], support, query)


@torch.no_grad()
def test_loss_is_the_mean_over_passes():
    """One pass is wholly wrong (cross-entropy 30, Dice nearly 1), the other wholly right."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 1
    features = torch.cat([mask, 1 - mask], dim=1)
    known, number = torch.ones(1, 16, 16, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    episode = Episode(features[:, None], mask, features, mask[:, 0], known, number, number, number)
    terms = RPNet(**TINY)._loss(Fixed(30 * (2 * mask[:, 0] - 1)), episode, 0.0)
    assert float(terms["query"]) == pytest.approx((30 + 1) / 2, rel=0.01)
    assert float(terms["alignment"]) < 1e-4
    assert set(RPNet(**TINY, alignment=0.0)._loss(Fixed(mask[:, 0]), episode, 0.0)) == {"query"}


def test_problems():
    assert "--base" in RPNet(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert RPNet(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (34, 32)}, "multiples of 4"),
        ({"widths": (2, 4)}, "widths: expected 3 to 8"),
        ({"size": (8192, 8192)}, "at most"),
        ({"test_passes": 101}, "at most 100 passes"),
        ({"radius": 17}, "16 cells"),
        ({"passes": 0}, "passes: expected more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        RPNet(**(TINY | wrong))


def test_presets_are_settings():
    assert RPNet(**RP_NET["paper"]) == RPNet()
    assert all(RPNet(**settings) for settings in RP_NET.values())
