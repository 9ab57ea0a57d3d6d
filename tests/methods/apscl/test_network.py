import pytest
import torch
import torch.nn.functional as F

from lowshot.methods.apscl.network import (
    APSCLNetwork,
    FeatureEnhancement,
    LatentFactors,
    MutualGuidance,
    SpatialInteraction,
    Teaching,
)
from lowshot.nn.dilated_encoder import DilatedEncoder
from lowshot.nn.prototypes import prototype_logit
from methods.untrained import relative_error


def encoder(channels=1):
    return DilatedEncoder(channels, 6, depth=18, width=1 / 16)


def network(*, enhancement=True, guidance=True):
    torch.manual_seed(0)
    return APSCLNetwork(
        encoder(),
        LatentFactors(6, 3, pooled=2, hidden=(8, 8)) if enhancement else None,
        FeatureEnhancement(6, 3, 8) if enhancement else None,
        MutualGuidance(6, 5) if guidance else None,
    ).eval()


def episode(n=2, k=1, size=(32, 48)):
    generator = torch.Generator().manual_seed(n + k)
    support, query = torch.randn(n, k, 1, *size, generator=generator), torch.randn(n, 1, *size, generator=generator)
    return support, (torch.rand(n, k, *size, generator=generator) > 0.5).float(), query


def test_factors_are_a_gaussian_for_each_image_at_any_size():
    torch.manual_seed(0)
    block = LatentFactors(6, 3, pooled=4, hidden=(10, 9))
    assert [layer.out_features for layer in block.layers if isinstance(layer, torch.nn.Linear)] == [10, 9, 6]
    for size in ((2, 3), (4, 4), (16, 8)):
        mean, log_variance = block(torch.randn(5, 6, *size))
        assert mean.shape == log_variance.shape == (5, 3)


def test_published_factors_need_eight_million_weights_not_a_hundred_and_thirty_million():
    with torch.device("meta"):
        first = LatentFactors(256, 32).layers[0]
    assert first.weight.shape == (512, 256 * 64)


def test_enhancement_begins_as_the_identity_and_is_a_scale_and_a_shift_for_each_channel():
    torch.manual_seed(0)
    fem = FeatureEnhancement(6, 3, 8)
    features, z = torch.randn(2, 6, 4, 5), torch.randn(2, 3)
    assert torch.equal(fem(features, z), features)
    for part in (fem.scale, fem.shift):
        torch.nn.init.normal_(part[-1].weight)
    expected = torch.empty_like(features)
    for n in range(2):
        for c in range(6):
            expected[n, c] = fem.scale(z)[n, c] * features[n, c] + fem.shift(z)[n, c]
    torch.testing.assert_close(fem(features, z), expected)


def relevance_as_described(sim, features, masks=None):
    """Eq. 5 and 6 for every two images, position by position."""
    q, k, v = (part(features).flatten(2).mT for part in (sim.query, sim.key, sim.value))
    found = torch.zeros(len(features), len(features))
    for i in range(len(features)):
        for j in range(len(features)):
            aligned = ((q[i] @ k[j].T) / q.shape[2] ** 0.5).softmax(dim=1) @ v[j]
            cosine = F.cosine_similarity(v[i], aligned, dim=1)
            weights = torch.ones_like(cosine) if masks is None else masks[i].flatten()
            found[i, j] = (cosine * weights).sum() / weights.sum()
    return found + found.T


@pytest.mark.parametrize("weighted", [False, True])
def test_relevance_is_the_formula(weighted):
    torch.manual_seed(0)
    sim, features = SpatialInteraction(6, 4), torch.randn(4, 6, 3, 5)
    masks = (torch.rand(4, 3, 5) > 0.4).float() if weighted else None
    found = sim(features, masks)
    torch.testing.assert_close(found, relevance_as_described(sim, features, masks))
    torch.testing.assert_close(found, found.T)
    assert found.abs().max() <= 2


def test_relevance_does_not_ask_where_things_are():
    """An image whose positions are shuffled is as relevant as before."""
    torch.manual_seed(0)
    sim, features = SpatialInteraction(6, 4), torch.randn(2, 6, 4, 4)
    shuffled = features.clone()
    shuffled[1] = features[1].flatten(1)[:, torch.randperm(16)].reshape(6, 4, 4)
    torch.testing.assert_close(sim(shuffled), sim(features))


def test_relevance_within_an_empty_mask_is_zero():
    sim = SpatialInteraction(6, 4)
    assert not sim(torch.randn(2, 6, 4, 4), torch.zeros(2, 32, 32)).any()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_guidance_is_the_formula(softmax, unit):
    """Eq. 8 to 10 with Z of M rows and E1 columns, as printed."""
    torch.manual_seed(0)
    mgd = MutualGuidance(6, 5, softmax=softmax, unit=unit)
    support, query = torch.randn(2, 3, 6, 4, 4), torch.randn(2, 6, 4, 4)
    z_s, guided = mgd(support, query)
    for n in range(2):
        rows = mgd.project(query[n : n + 1])[0].flatten(1).T  # (M, E1)
        shots = mgd.project(support[n])
        if unit:
            rows, shots = F.normalize(rows, dim=1), F.normalize(shots, dim=1)
        torch.testing.assert_close(z_s[n], shots)
        a = (rows.T @ rows + shots.mean(0).flatten(1) @ rows) / len(rows)
        a = a.softmax(dim=1) if softmax else a
        torch.testing.assert_close(guided[n].flatten(1).T, rows @ a.T + rows)


def test_with_unit_cells_guidance_does_not_depend_on_the_scale_of_features():
    torch.manual_seed(0)
    support, query = torch.randn(2, 1, 6, 4, 4), torch.randn(2, 6, 4, 4)
    for unit in (False, True):
        mgd = MutualGuidance(6, 5, unit=unit)
        torch.nn.init.zeros_(mgd.project.bias)
        found, larger = (F.normalize(mgd(scale * support, scale * query)[1], dim=1) for scale in (1, 30))
        assert torch.allclose(found, larger, atol=1e-5) == unit


@pytest.mark.parametrize("enhancement", [True, False])
@pytest.mark.parametrize("guidance", [True, False])
@pytest.mark.parametrize(("n", "m", "k"), [(2, 2, 1), (1, 3, 2)])
def test_a_logit_for_every_pixel_of_every_query(enhancement, guidance, n, m, k):
    made = network(enhancement=enhancement, guidance=guidance)
    support, masks, _ = episode(n, k)
    _, _, query = episode(m)
    logit = made(support, masks, query)
    assert logit.shape == (m, 32, 48)
    each = [
        made(support[min(i, n - 1)][None], masks[min(i, n - 1)][None], query[i][None]) for i in range(m)
    ]  # queries know nothing of each other
    torch.testing.assert_close(logit, torch.cat(each), rtol=1e-4, atol=1e-4)


def test_without_modules_it_is_a_cosine_head_on_the_encoder():
    made = network(enhancement=False, guidance=False)
    support, masks, query = episode()
    expected = prototype_logit(made.encoder(support[:, 0])[:, None], masks, made.encoder(query))
    torch.testing.assert_close(made(support, masks, query), expected)


def test_features_are_of_the_priors_mean():
    made = network()
    torch.nn.init.normal_(made.enhancement.scale[-1].weight)
    _, _, query = episode()
    plain = made.encoder(query)
    expected = made.enhancement(plain, made.prior(plain).mean)
    assert torch.equal(made.features(query), expected)
    assert not torch.allclose(expected, plain)
    assert expected.shape == (2, 6, 4, 6)


def test_it_runs_in_bfloat16_and_channels_last():
    made, (support, masks, query) = network(), episode()
    expected = made(support, masks, query)
    made = made.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(support, masks, query.contiguous(memory_format=torch.channels_last))
    assert found.dtype == torch.float32
    assert relative_error(found, expected) < 0.1


def test_on_the_meta_device_it_has_a_shape():
    with torch.device("meta"):
        made = network()
        support, masks, query = (torch.empty(shape) for shape in ((1, 2, 1, 64, 64), (1, 2, 64, 64), (3, 1, 64, 64)))
    assert made(support, masks, query).shape == (3, 64, 64)


def test_the_posterior_is_of_the_mask_and_absent_without_enhancement():
    torch.manual_seed(0)
    teaching = Teaching(network(), encoder(), LatentFactors(6, 3, pooled=2, hidden=(8, 8)), SpatialInteraction(6, 4))
    assert teaching.of_labels(torch.rand(4, 32, 32)).mean.shape == (4, 3)
    assert Teaching(network(enhancement=False), None, None, None).of_labels(torch.rand(4, 32, 32)) is None
