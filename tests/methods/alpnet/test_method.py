from dataclasses import replace

import pytest
import torch

from contract.studies import BASE, BASE_NAMES, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.imaging.names import Names
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel
from lowshot.methods.alpnet.method import SSLALPNet
from lowshot.methods.alpnet.presets import ALPNET
from lowshot.nn.resnet import ResNet
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TINY = {"size": (32, 32), "depth": 18, "width": 1 / 16, "features": 8, "tasks": 2, "window": 2, "test_window": 1}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def test_without_support_it_is_a_learner_and_with_one_a_model():
    method = SSLALPNet(**TINY)
    learner = method.fit(ALONE, run())
    assert isinstance(learner, FewShotLearner)
    assert learner.knowledge.structures == BASE_NAMES.foreground
    assert isinstance(method.fit(LowShotTask(NAMES, [subject(0)], base=BASE), run()), FewShotModel)


def test_labels_of_the_base_are_not_looked_at():
    def weights(labels, **settings):
        base = [replace(each, truth=replace(each.truth, labels=labels(each.truth.labels))) for each in BASE]
        return SSLALPNet(**TINY, **settings).fit(replace(ALONE, base=base), run()).state().tensors

    def other(labels):
        return torch.where(labels == 2, 1, labels)

    same, changed = weights(lambda labels: labels), weights(other)
    assert all(same[name].equal(changed[name]) for name in same)
    same, changed = (weights(labels, supervised_share=1.0) for labels in (lambda labels: labels, other))
    assert not all(same[name].equal(changed[name]) for name in same)


def test_weights_are_taken_from_a_file(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "resnet.pth"
    torch.save({f"backbone.{name}": value for name, value in ResNet(18).state_dict().items()}, path)
    settings = TINY | {"width": 1.0, "learning_rate": 1e-9, "weights": str(path)}
    assert SSLALPNet(**settings).problems(ALONE) == []
    network = SSLALPNet(**settings).fit(ALONE, run(1)).network
    torch.testing.assert_close(network.encoder.backbone.conv1.weight, torch.load(path)["backbone.conv1.weight"])
    assert "no file of weights" in SSLALPNet(**settings | {"weights": "gone.pth"}).problems(ALONE)[0]


def test_problems():
    assert "--base" in SSLALPNet(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert SSLALPNet(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (36, 32)}, "multiples of 8"),
        ({"size": (8192, 8192)}, "at most"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"threshold": 1.5}, "threshold: expected a share"),
        ({"supervised_share": -0.1}, "supervised_share"),
        ({"window": 0}, "window: expected more than 0"),
        ({"alignment": -1.0}, "alignment"),
        ({"steps": 0}, "steps"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        SSLALPNet(**(TINY | wrong))


def test_presets_are_settings():
    assert SSLALPNet(**ALPNET["paper"]) == SSLALPNet()
    assert all(SSLALPNet(**settings) for settings in ALPNET.values())
