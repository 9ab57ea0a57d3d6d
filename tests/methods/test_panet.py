import json
from dataclasses import replace

import pytest
import torch

from contract.studies import BASE, NAMES, TASKS, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.episodes import Episode
from lowshot.imaging.scan import Scan
from lowshot.losses.alignment import alignment_loss
from lowshot.losses.binary import binary_cross_entropy
from lowshot.methods.panet import PANet, PANetNetwork, panet_loss
from lowshot.methods.prototype_presets import PANET
from lowshot.nn.prototypes import prototype_logit
from lowshot.nn.vgg import VGG16
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TINY = {"size": (32, 32), "width": 1 / 16, "norm": True}


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network():
    torch.manual_seed(0)
    return PANetNetwork(1, width=1 / 16, norm=True).eval()


def episode(n=2, k=1):
    generator = torch.Generator().manual_seed(n + k)
    masks = torch.zeros(n, k, 32, 40)
    masks[..., 8:24, 8:32] = 1
    return Episode(
        support=masks[:, :, None] + 0.1 * torch.randn(n, k, 1, 32, 40, generator=generator),
        masks=masks,
        query=masks[:, 0, None] + 0.1 * torch.randn(n, 1, 32, 40, generator=generator),
        truth=masks[:, 0],
        known=torch.ones(n, 32, 40, dtype=torch.bool),
        structure=torch.arange(n),
        slices=torch.arange(n),
        pair=torch.arange(n),
    )


@pytest.mark.parametrize(("n", "m", "k"), [(2, 2, 1), (2, 2, 3), (1, 3, 2)])
def test_a_logit_for_every_pixel_from_prototypes_of_dense_features(n, m, k):
    made, given, queries = network(), episode(n, k), episode(m)
    support, query = made.encode(given.support, queries.query)
    assert support.shape == (n, k, 32, 4, 5)
    logit = made(given.support, given.masks, queries.query)
    assert logit.shape == (m, 32, 40)
    torch.testing.assert_close(logit, prototype_logit(support, given.masks, query))


def test_features_of_single_images_are_those_that_are_compared():
    made, given = network(), episode(2, 2)
    support, query = made.encode(given.support, given.query)
    torch.testing.assert_close(made.features(given.query), query)
    torch.testing.assert_close(made.features(given.support[:, 1]), support[:, 1])


def test_features_have_either_sign():
    _, query = network().encode(episode().support, episode().query)
    assert (query < 0).any()
    assert (query > 0).any()


def test_its_loss_is_the_querys_and_the_supports_in_turn():
    made, given = network(), episode(2, 2)
    support, query = made.encode(given.support, given.query)
    logit = prototype_logit(support, given.masks, query)
    found = panet_loss(made, 0.5, given, 0.0)
    torch.testing.assert_close(found["cross_entropy"], binary_cross_entropy(logit, given.truth, given.known))
    turned = alignment_loss(prototype_logit, support, given.masks, query, logit)
    torch.testing.assert_close(found["alignment"], 0.5 * turned)
    assert panet_loss(made, 0.0, given, 0.0).keys() == {"cross_entropy"}


def test_learning_by_it_lowers_it():
    made, given = network().train(), episode()
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = sum(panet_loss(made, 1.0, given, 0.0).values())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_it_is_restored_from_its_state():
    method = PANet(**TINY)
    learner = method.fit(TASKS["base alone"], run())
    state = learner.state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_weights_are_taken_from_a_file(tmp_path, monkeypatch):
    stored = VGG16(width=1 / 16).state_dict()
    path = tmp_path / "vgg16.pth"
    torch.save(stored, path)
    narrow = lambda channels, width, **more: VGG16(channels, width=1 / 16, **more)  # noqa: E731
    monkeypatch.setattr("lowshot.methods.panet.VGG16", narrow)
    method = PANet(size=(32, 32), learning_rate=1e-9, weights=str(path))
    kept = method.fit(TASKS["base alone"], run(1)).state().tensors
    torch.testing.assert_close(kept["network.backbone.features.28.weight"], stored["features.28.weight"])


def test_problems():
    assert "--base" in PANet(**TINY).problems(TASKS["one shot"])[0]
    assert PANet(**TINY).problems(TASKS["base alone"]) == []
    scan = subject(0).scan
    two = Scan("two", scan.voxels.repeat(2, 1, 1, 1), scan.affine, ("T1", "T2"))
    task = LowShotTask(NAMES, base=[replace(BASE[0], scan=two)])
    assert PANet(**TINY).problems(task) == []
    missing, channels = PANet(weights="gone.pth").problems(task)[::-1]
    assert "no file of weights" in missing
    assert "there are 2" in channels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (100, 128)}, "multiples of 8"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"alignment": -1.0}, "alignment: expected a number from 0 on"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        PANet(**wrong)


def test_presets_are_settings():
    assert PANet(**PANET["paper"]) == PANet()
    assert PANet(**PANET["compact"]).width < 1
