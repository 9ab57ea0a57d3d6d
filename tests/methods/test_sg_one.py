import json

import pytest
import torch
import torch.nn.functional as F

from contract.studies import TASKS
from lowshot.errors import SettingsError
from lowshot.methods.prototype_presets import SG_ONE
from lowshot.methods.sg_one import SGOne, SimilarityGuidance
from lowshot.nn.vgg import VGG16
from lowshot.training.run import Budget, Run

TINY = {"size": (32, 32), "width": 1 / 16, "norm": True}


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network(channels=1):
    torch.manual_seed(0)
    return SimilarityGuidance(channels, width=1 / 16, norm=True).eval()


def episode(n=2, m=2, k=1):
    generator = torch.Generator().manual_seed(n + m + k)
    masks = torch.zeros(n, k, 32, 40)
    masks[..., 8:24, 8:32] = 1
    support = masks[:, :, None] + 0.1 * torch.randn(n, k, 1, 32, 40, generator=generator)
    return support, masks, torch.randn(m, 1, 32, 40, generator=generator)


def as_described(made, support, masks, query):
    """One shot of one image, for one query: features interpolated to the mask, as in the public code."""
    maps = [made.backbone(image.expand(-1, 3, -1, -1)) for image in (support, query)]
    compared = made.guide(maps[0][-1])
    cells = F.adaptive_avg_pool2d(masks, compared.shape[2:])
    vector = (compared * cells).sum((2, 3)) / cells.sum()
    similarity = F.cosine_similarity(made.guide(maps[1][-1]), vector[..., None, None])
    *_, third, fourth, fifth = maps[1]
    side = made.sides[0](third).relu()
    side = made.sides[1](torch.cat([side, fourth], 1)).relu()
    side = made.sides[2](torch.cat([side, fifth], 1))
    two = made.score(made.inner(side * similarity[:, None]).relu())
    outside, inside = F.interpolate(two, size=query.shape[2:], mode="bilinear").unbind(1)
    return inside - outside


def test_it_is_as_described():
    made, (support, masks, query) = network(), episode()
    found = made(support, masks, query)
    each = [as_described(made, support[n], masks[n][None], query[n][None]) for n in range(2)]
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "m", "k"), [(2, 2, 3), (1, 3, 2)])
def test_any_number_of_shots_and_one_example_for_all(n, m, k):
    made, (support, masks, query) = network(), episode(n, m, k)
    found = made(support, masks, query)
    assert found.shape == (m, 32, 40)
    each = [made(support[min(i, n - 1)][None], masks[min(i, n - 1)][None], query[i][None]) for i in range(m)]
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-4, atol=1e-5)


def test_vectors_of_shots_are_averaged():
    made, (support, masks, query) = network(), episode(1, 1, 2)
    twice = made(support[:, :1].expand(-1, 2, -1, -1, -1), masks[:, :1].expand(-1, 2, -1, -1), query)
    torch.testing.assert_close(twice, made(support[:, :1], masks[:, :1], query))
    assert not torch.allclose(made(support, masks, query), twice)


def test_published_the_branch_has_128_channels_and_learns_at_four_rates():
    method = SGOne()
    with torch.device("meta"):
        made = method._network(1)
    assert [tuple(side[0].weight.shape[:2]) for side in made.sides] == [(128, 256), (128, 640), (128, 640)]
    assert made.inner[0].weight.shape == (128, 128, 3, 3)
    assert all(len(layer) == 1 for layer in (made.guide, *made.sides, made.inner, made.score))
    groups = {round(group["lr"] / 1e-5): len(group["params"]) for group in method._optimiser(made).param_groups}
    assert groups == {1: 13 + 5, 2: 13 + 5, 10: 1, 20: 1}


def test_it_learns_and_is_restored_from_its_state():
    method = SGOne(**TINY, region_share=0.5, background_weight=0.1, optimiser="adamw", learning_rate=1e-2)
    state = method.fit(TASKS["base alone"], run()).state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_weights_are_taken_from_a_file(tmp_path, monkeypatch):
    stored = VGG16(width=1 / 16).state_dict()
    path = tmp_path / "vgg16.pth"
    torch.save(stored, path)
    narrow = lambda channels, width, **more: VGG16(channels, width=1 / 16, **more)  # noqa: E731
    monkeypatch.setattr("lowshot.methods.sg_one.VGG16", narrow)
    method = SGOne(size=(32, 32), learning_rate=1e-12, weights=str(path))
    kept = method.fit(TASKS["base alone"], run(1)).state().tensors
    torch.testing.assert_close(kept["network.backbone.features.28.weight"], stored["features.28.weight"])


def test_problems():
    assert "--base" in SGOne(**TINY).problems(TASKS["one shot"])[0]
    assert SGOne(**TINY).problems(TASKS["base alone"]) == []
    assert "no file of weights" in SGOne(weights="gone.pth").problems(TASKS["base alone"])[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (100, 128)}, "multiples of 8"),
        ({"momentum": 1.5}, "momentum: expected a share"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        SGOne(**wrong)


def test_presets_are_settings():
    assert SGOne(**SG_ONE["paper"]) == SGOne()
    assert SGOne(**SG_ONE["compact"]).width < 1
