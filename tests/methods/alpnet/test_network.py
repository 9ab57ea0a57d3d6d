import pytest
import torch
import torch.nn.functional as F

from lowshot.methods.alpnet.network import ALPNet, pooled, similarity
from methods.untrained import relative_error

TINY = {"features": 6, "depth": 18, "width": 1 / 16}


def network(**settings):
    torch.manual_seed(0)
    return ALPNet(1, **(TINY | settings)).eval()


def blob(n=1, k=1, size=64, radius=20):
    i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    mask = (((i - size / 2) ** 2 + (j - size / 2) ** 2) < radius**2).float()
    return mask.expand(n, k, -1, -1)


def reference(support, masks, query, window, threshold=0.95, training_window=4):
    """As in the paper, prototype by prototype, for one shot, one query and masks as fine as the features."""
    scores = []
    for inside, always in ((masks, True), (1 - masks, False)):
        mean = (support * inside).sum((1, 2)) / inside.sum()
        local = []
        for a in range(0, support.shape[1] - window + 1, window):
            for b in range(0, support.shape[2] - window + 1, window):
                square = (slice(a, a + window), slice(b, b + window))
                if inside[square].mean() > threshold:
                    local.append(support[(slice(None), *square)].mean((1, 2)))
        if always:
            large = F.avg_pool2d(inside[None], training_window).max() >= threshold
            local = [*local, mean] if large else [mean]
        cosines = 20 * torch.stack([F.cosine_similarity(query, p[:, None, None], dim=0) for p in local])
        scores.append((cosines.softmax(0) * cosines).sum(0))
    return scores[0] - scores[1]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("radius", [3, 6, 9])
def test_segments_as_the_paper_says(training, radius):
    support, query = torch.randn(1, 1, 5, 24, 24), torch.randn(1, 5, 24, 24)
    masks = blob(size=24, radius=radius)
    found = network().train(training).segment(support, masks, query)
    expected = reference(support[0, 0], masks[0, 0], query[0], 4 if training else 2)
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)


def test_features_of_single_images_are_those_that_are_compared():
    alpnet, support, query = network(), torch.randn(2, 1, 1, 64, 64), torch.randn(2, 1, 64, 64)
    masks = blob(2)
    cells = alpnet.features(support[:, 0])[:, None], alpnet.features(query)
    torch.testing.assert_close(
        alpnet.segment(cells[0], masks, cells[1]), alpnet(support, masks, query), atol=1e-4, rtol=1e-4
    )


def test_a_small_structure_is_its_mean_alone():
    """No square of 4 cells lies inside, so that those of 2 cells, which would, do not count."""
    support, query = torch.randn(1, 1, 5, 16, 16), torch.randn(1, 5, 16, 16)
    masks = torch.zeros(1, 1, 16, 16)
    masks[:, :, 2:6, 2:6] = 1
    mean = support[0, 0][:, 2:6, 2:6].mean((1, 2))
    alpnet = network()
    inside = 20 * F.cosine_similarity(query, mean[None, :, None, None], dim=1)
    outside = similarity(query, pooled(support, 2), pooled(1 - masks[:, :, None], 2)[..., 0] > 0.95)
    torch.testing.assert_close(alpnet.segment(support, masks, query), inside - outside, atol=1e-4, rtol=1e-4)


def test_similarity_by_hand():
    """Two prototypes at cosines 1 and 0 of the only cell, and one that is not usable."""
    query = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    prototypes = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]])
    found = similarity(query, prototypes, torch.tensor([[True, True, False]]))
    weight = torch.tensor([20.0, 0.0]).softmax(0)[0]
    torch.testing.assert_close(found, (20 * weight).view(1, 1, 1))


def test_pooled_means_are_in_the_same_order_for_every_channel():
    maps = torch.arange(2 * 3 * 2 * 4 * 6.0).view(2, 3, 2, 4, 6)
    found = pooled(maps, 2)
    assert found.shape == (2, 3 * 6, 2)
    torch.testing.assert_close(found[1, 6 + 4], maps[1, 1, :, 2:4, 2:4].mean((1, 2)))
    assert pooled(maps, 9).shape == (2, 3, 2)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_is_empty_or_full_gives_numbers(value):
    support, query = torch.rand(1, 2, 1, 32, 32), torch.rand(3, 1, 32, 32)
    assert network()(support, torch.full((1, 2, 32, 32), value), query).isfinite().all()


def test_one_support_set_serves_all_queries():
    alpnet, support, masks, query = (
        network(),
        torch.rand(1, 2, 1, 64, 48),
        blob(1, 2)[..., :48],
        torch.rand(3, 1, 64, 48),
    )
    together = alpnet(support, masks, query)
    assert together.shape == (3, 64, 48)
    repeated = alpnet(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query)
    torch.testing.assert_close(together, repeated)
    torch.testing.assert_close(together[1:2], alpnet(support, masks, query[1:2]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together, alpnet(support.flip(1), masks.flip(1), query), atol=1e-4, rtol=1e-4)


def test_its_memory_can_be_foreseen():
    with torch.device("meta"):
        empty = ALPNet(1, **TINY).eval()
        found = empty(torch.empty(1, 1, 1, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(4, 1, 64, 64))
    assert found.shape == (4, 64, 64)


def test_bfloat16_and_channels_last():
    support, query = torch.rand(1, 1, 1, 64, 64), torch.rand(2, 1, 64, 64).to(memory_format=torch.channels_last)
    alpnet = network().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        plain = alpnet(support, blob(), query)
        with torch.autocast("cpu", torch.bfloat16):
            low = alpnet(support, blob(), query)
    assert low.dtype == torch.float32
    assert relative_error(low, plain) < 0.1


def test_gradients_reach_the_encoder_whatever_the_mask():
    alpnet = network().train()
    for radius in (0, 20, 100):
        alpnet.zero_grad(set_to_none=True)
        alpnet(torch.rand(2, 1, 1, 64, 64), blob(2, radius=radius), torch.rand(2, 1, 64, 64)).square().mean().backward()
        assert all(p.grad.isfinite().all() for p in alpnet.parameters())
