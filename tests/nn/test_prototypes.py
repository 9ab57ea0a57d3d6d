import pytest
import torch
import torch.nn.functional as F

from lowshot.nn.prototypes import (
    average_of_shots,
    cosines,
    enlarged,
    fit_masks,
    masked_average,
    prototype_logit,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cells_get_the_share_of_them_that_is_inside():
    mask = torch.zeros(1, 4, 8)
    mask[0, 0, 0] = 1
    mask[0, 2:, 4:] = 1
    assert fit_masks(mask, (2, 2)).tolist() == [[[1 / 8, 0.0], [0.0, 1.0]]]


def test_at_full_size_it_is_the_mean_inside_of_the_mask():
    features, masks = torch.randn(3, 5, 6, 7), torch.rand(3, 6, 7, generator=generator()) > 0.5
    found = masked_average(features, masks.float())
    for n in range(3):
        torch.testing.assert_close(found[n], features[n][:, masks[n]].mean(1))


def test_of_coarser_features_it_is_the_mean_over_the_masks_pixels():
    """As if every pixel had the features of its cell."""
    features, masks = torch.randn(2, 5, 3, 4), (torch.rand(2, 24, 32, generator=generator()) > 0.8).float()
    fine = features.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    torch.testing.assert_close(masked_average(features, masks), masked_average(fine, masks))


def test_a_structure_of_one_pixel_is_not_missed_and_an_empty_mask_gives_zeros():
    features, masks = torch.randn(2, 5, 4, 4), torch.zeros(2, 128, 128)
    masks[0, 100, 3] = 1
    found = masked_average(features, masks)
    torch.testing.assert_close(found[0], features[0, :, 3, 0])
    assert not found[1].any()


def test_shots_are_averaged_without_those_whose_mask_is_empty():
    features, masks = torch.randn(2, 3, 5, 4, 4), (torch.rand(2, 3, 8, 8, generator=generator()) > 0.5).float()
    masks[0, 1] = 0
    each = masked_average(features.flatten(0, 1), masks.flatten(0, 1)).reshape(2, 3, 5)
    found = average_of_shots(features, masks)
    torch.testing.assert_close(found[0], (each[0, 0] + each[0, 2]) / 2)
    torch.testing.assert_close(found[1], each[1].mean(0))
    assert not average_of_shots(features, torch.zeros_like(masks)).any()


def test_cosines_are_pytorchs():
    features, prototypes = torch.randn(3, 5, 4, 6), torch.randn(3, 2, 5)
    found = cosines(features, prototypes)
    for p in range(2):
        expected = F.cosine_similarity(features, prototypes[:, p, :, None, None].expand_as(features), dim=1)
        torch.testing.assert_close(found[:, p], expected)
    torch.testing.assert_close(cosines(features, prototypes[:1]), cosines(features, prototypes[:1].expand(3, -1, -1)))


def test_zeros_are_like_nothing_and_their_gradient_is_finite():
    features, prototypes = torch.randn(1, 5, 2, 2), torch.zeros(1, 1, 5, requires_grad=True)
    found = cosines(features, prototypes)
    assert not found.any()
    assert torch.isfinite(torch.autograd.grad(found.sum(), prototypes)[0]).all()


def test_without_background_in_the_support_gradients_stay_finite():
    support = torch.randn(1, 1, 5, 4, 4, requires_grad=True)
    query = torch.randn(1, 5, 4, 4, requires_grad=True)
    prototype_logit(support, torch.ones(1, 1, 8, 8), query).sum().backward()
    assert torch.isfinite(support.grad).all()
    assert torch.isfinite(query.grad).all()


def test_a_pixel_belongs_to_what_it_is_more_like():
    """Two directions of features, one for the structure; the query shows it elsewhere."""
    masks, there = torch.zeros(1, 1, 16, 16), torch.zeros(1, 4, 4)
    masks[..., 4:8, 4:12] = 1
    there[0, 2:, 3] = 1
    support, query = (torch.stack([m, 1 - m], dim=1) for m in (fit_masks(masks[:, 0], (4, 4)), there))
    logit = prototype_logit(support[:, None], masks, query)
    cells = F.avg_pool2d(logit[:, None], 2)[:, 0, ::2, ::2]  # away from where neighbours are mixed
    assert logit.shape == (1, 16, 16)
    assert torch.equal(cells > 0, there > 0)
    assert float(logit.max()) == pytest.approx(20, rel=1e-4)
    assert float(logit.min()) == pytest.approx(-20, rel=1e-4)


def test_one_example_serves_all_queries_and_each_its_own():
    support, masks = torch.randn(3, 2, 5, 4, 4), (torch.rand(3, 2, 8, 8, generator=generator()) > 0.5).float()
    query = torch.randn(3, 5, 4, 4)
    shared = prototype_logit(support[:1], masks[:1], query)
    repeated = prototype_logit(support[:1].expand(3, -1, -1, -1, -1), masks[:1].expand(3, -1, -1, -1), query)
    torch.testing.assert_close(shared, repeated)
    own = prototype_logit(support, masks, query)
    for n in range(3):
        torch.testing.assert_close(
            own[n : n + 1], prototype_logit(*(each[n : n + 1] for each in (support, masks, query)))
        )


def test_maps_are_enlarged_linearly_between_the_centres_of_cells():
    line = torch.tensor([[[[0.0, 4.0]]]])
    assert enlarged(line, (1, 8))[0, 0, 0].tolist() == [0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]


def test_under_autocast_it_is_float32():
    support, masks = torch.randn(2, 1, 8, 4, 4), (torch.rand(2, 1, 8, 8, generator=generator()) > 0.5).float()
    query = torch.randn(2, 8, 4, 4)
    expected = prototype_logit(support, masks, query)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prototype_logit(support, masks, query), expected)
