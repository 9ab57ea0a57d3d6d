import json
from dataclasses import replace

import pytest
import torch

from contract.studies import BASE, NAMES, TASKS, subject
from listening import Listening
from lowshot.errors import SettingsError
from lowshot.imaging.scan import Scan
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel
from lowshot.methods.apscl.method import APSCL
from lowshot.methods.apscl.presets import APSCL as PRESETS
from lowshot.nn.dilated_encoder import DilatedEncoder
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TINY = {"size": (16, 16), "depth": 18, "width": 1 / 16, "features": 6, "factors": 3, "pooled": 2, "hidden": (8, 8)}
TINY |= {"enhancement_width": 8, "interaction_width": 4, "guidance_width": 5}


def run(steps=2, **more):
    return Run(
        device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps), **more
    )


def test_a_base_alone_makes_a_learner_and_an_annotated_scan_a_model():
    method = APSCL(**TINY)
    assert isinstance(method.fit(TASKS["base alone"], run()), FewShotLearner)
    assert isinstance(method.fit(TASKS["one shot and a base"], run()), FewShotModel)


def test_what_only_training_needs_is_not_kept():
    method = APSCL(**TINY)
    state = method.fit(TASKS["base alone"], run()).state()
    parts = {name.split(".")[1] for name in state.tensors}
    assert parts == {"encoder", "prior", "enhancement", "guidance"}
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())
    assert restored.knowledge.structures == ("body", "bone")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"enhancement": False}, {"encoder", "guidance"}),
        ({"guidance": False}, {"encoder", "prior", "enhancement"}),
        ({"enhancement": False, "guidance": False, "contrast": 0.0}, {"encoder"}),
    ],
)
def test_switches_leave_modules_out(changes, parts):
    tensors = APSCL(**TINY, **changes).fit(TASKS["base alone"], run()).state().tensors
    assert {name.split(".")[1] for name in tensors} == parts


def test_the_posteriors_variance_is_in_the_log(tmp_path):
    APSCL(**TINY).fit(TASKS["base alone"], run(folder=tmp_path))
    assert "loss/posterior_variance" in (tmp_path / "log.csv").read_text()


def test_what_leaves_the_contrast_without_a_meaning_is_told():
    told = Listening()
    APSCL(**TINY, pairs=1).fit(TASKS["base alone"], run(progress=told))
    assert any("pairs=1" in warning for warning in told.warnings)
    body = replace(NAMES, names=NAMES.names[:2], values=NAMES.values[:2])
    alone = LowShotTask(NAMES, base=[subject(seed, names=body) for seed in (10, 11)])
    told = Listening()
    APSCL(**TINY).fit(alone, run(progress=told))
    assert any("body alone can be asked for" in warning for warning in told.warnings)
    told = Listening()
    APSCL(**TINY, contrast=0.0).fit(alone, run(progress=told))
    assert told.warnings == []


def test_both_encoders_begin_with_the_weights_of_a_file(tmp_path, monkeypatch):
    narrow = DilatedEncoder(1, 6, depth=18, width=1 / 16)
    path = tmp_path / "resnet.pth"
    torch.save({f"backbone.{name}": value for name, value in narrow.backbone.state_dict().items()}, path)

    def encoder(channels, features, depth, width):
        return DilatedEncoder(channels, features, depth=depth, width=1 / 16)

    monkeypatch.setattr("lowshot.methods.apscl.method.DilatedEncoder", encoder)
    told = Listening()
    method = APSCL(**TINY | {"width": 1.0}, learning_rate=1e-9, weights=str(path))
    kept = method.fit(TASKS["base alone"], run(1, progress=told)).state().tensors
    expected = narrow.backbone.state_dict()["layer2.0.conv1.weight"]
    torch.testing.assert_close(kept["network.encoder.backbone.layer2.0.conv1.weight"], expected)
    assert sum("layer1: " in note for note in told.notes) == 2


def test_problems():
    assert "--base" in APSCL(**TINY).problems(TASKS["one shot"])[0]
    assert APSCL(**TINY).problems(TASKS["base alone"]) == []
    found = APSCL(weights="gone.pth").problems(LowShotTask(NAMES, base=[two_channels(each) for each in BASE]))
    assert any("there are 2" in problem for problem in found)
    assert any("no file of weights" in problem for problem in found)


def two_channels(labelled):
    scan = labelled.scan
    doubled = Scan(scan.name, scan.voxels.repeat(2, 1, 1, 1), scan.affine, ("T1", "T2"))
    return replace(labelled, scan=doubled)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (30, 32)}, "size: expected multiples of 8"),
        ({"size": (8192, 8192)}, "at most 16,777,216 pixels"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"factors": 0}, "factors: expected more than 0"),
        ({"hidden": (0, 8)}, "hidden: expected more than 0"),
        ({"divergence": -1.0}, "divergence: expected a number from 0 on"),
        ({"posterior_share": 1.5}, "posterior_share: expected a share"),
        ({"intensity": "odd"}, "intensity"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        APSCL(**wrong)


def test_the_learning_rate_falls_by_a_twentieth_every_thousand_steps():
    decay = APSCL()._decay
    assert decay(0.0) == 1
    assert decay(0.0999) == pytest.approx(0.95**9)
    assert decay(0.1) == pytest.approx(0.95**10)


def test_presets_are_settings():
    assert APSCL(**PRESETS["paper"]) == APSCL()
    assert APSCL(**PRESETS["compact"]).width < 1


@pytest.mark.parametrize(("settings", "there"), [({}, True), ({"divergence": 0.0}, False)])
def test_labels_are_only_encoded_where_something_looks_at_that(settings, there):
    method = APSCL(**TINY, **settings)
    assert (method._teaching(1).label_encoder is not None) == there
    method.fit(TASKS["base alone"], run())  # and FEM goes on by its prior
