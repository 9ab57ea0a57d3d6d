from dataclasses import replace

import pytest
import torch

from contract.studies import NAMES, TASKS, subject
from lowshot.errors import ChannelMismatch, ModelFileError, SettingsError
from lowshot.inference.predict import predict
from lowshot.methods.data_aug import method as stages
from lowshot.methods.data_aug.method import DataAug
from lowshot.methods.data_aug.presets import DATA_AUG
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TASK = TASKS["one shot and a pool"]
TINY = {
    "affine": False,  # takes seconds for each scan
    "encoder": (4, 4, 4),
    "decoder": ((4,), (4,), (4,)),
    "appearance_widths": (4, 4),
    "widths": (8, 8),
    "convolutions": (1, 1),
    "patch_voxels": 12**3,
    "settling_batches": 2,
}


def method(**changes):
    return DataAug(**DATA_AUG["compact"] | TINY | changes)


def run(steps=10, **settings):
    return Run(
        device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps), **settings
    )


def equal(one, other):
    return all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())


def test_it_needs_one_annotated_scan_and_a_pool():
    assert method().problems(TASK) == []
    (alone,) = method().problems(TASKS["one shot"])
    assert "--unlabelled" in alone
    assert any("one annotated scan, got 2" in each for each in method().problems(TASKS["two shots"]))
    flat = LowShotTask(NAMES, [subject(0, shape=(20, 24, 1))], unlabelled=[subject(5, shape=(20, 24, 1)).scan])
    assert any("works on volumes" in each for each in method().problems(flat))
    assert any("turn mirror off" in each for each in method(mirror=True).problems(TASK))


@pytest.mark.parametrize(
    "changes",
    [
        {"window": 8},
        {"window": -1},
        {"steps": 0},
        {"transform_rate": float("inf")},
        {"smoothness": -1.0},
        {"balanced": 1.5},
        {"spatial_share": 0.0},
        {"spatial_share": 0.9, "appearance_share": 0.1},
        {"decoder": ()},
        {"decoder": ((8,), ())},
        {"decoder": ((8,),) * 6},
        {"encoder": (8,) * 30},
        {"widths": (10**9, 8)},
        {"widths": ()},
        {"convolutions": (10**9, 2)},
        {"convolutions": (2, 2, 2)},
        {"appearance_widths": (0,)},
        {"strides": ((2, 2, 2), (2, 2, 2))},
        {"grid_shape": (17, 16, 16)},
        {"grid_shape": (1 << 20, 1 << 20, 1 << 20)},
        {"patch": (7, 8, 8), "strides": ((2, 2, 2),)},
        {"patch": (16, 16, 2), "segmenter": "planar"},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        method(**changes)


def test_scans_of_other_channels_are_refused_before_training():
    other = subject(5).scan
    two = replace(other, voxels=torch.cat([other.voxels, other.voxels]), channels=("a", "b"))
    with pytest.raises(ChannelMismatch, match="subject 5: has the channels a, b, the annotated scan image"):
        method().fit(replace(TASK, unlabelled=[two]), run())


@pytest.mark.parametrize(
    ("examples", "trained"),
    [
        ("sas", {"spatial": 3, "segmenter": 7}),
        ("coupled", {"spatial": 3, "appearance": 1, "segmenter": 6}),
        ("independent", {"spatial": 3, "appearance": 1, "segmenter": 6}),
    ],
)
def test_stages_share_the_budget(examples, trained):
    given = run()
    fitted = method(examples=examples).fit(TASK, given)
    assert {name: stage.steps for name, stage in given.plan.stages.items()} == trained
    assert sum(stage.share for stage in given.plan.stages.values()) == pytest.approx(1)
    assert fitted.names == NAMES


def test_the_ways_to_make_examples_differ():
    states = [method(examples=name).fit(TASK, run()).state() for name in ("sas", "coupled", "independent")]
    assert not any(equal(states[a], states[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["appearance", "segmenter"])
def test_a_training_killed_between_stages_goes_on(stage, tmp_path, monkeypatch):
    whole = method().fit(TASK, run()).state()
    begun, train = [], stages.train

    def killed(*goals, **settings):
        if settings["stage"] == stage:
            raise Killed
        train(*goals, **settings)

    def watched(*goals, **settings):
        before = (tmp_path / "checkpoints" / f"{settings['stage']}.pt").exists()
        begun.append((settings["stage"], before))
        train(*goals, **settings)

    monkeypatch.setattr(stages, "train", killed)
    with pytest.raises(Killed):
        method().fit(TASK, run(folder=tmp_path))
    monkeypatch.setattr(stages, "train", watched)
    assert equal(method().fit(TASK, run(folder=tmp_path)).state(), whole)
    order = ["spatial", "appearance", "segmenter"]
    assert begun == [(name, order.index(name) < order.index(stage)) for name in order]


def test_planar_slices():
    chosen = method(segmenter="planar", widths=(4, 8), patch=(16, 16, 1), margin=(2, 2, 0), batch=3)
    fitted = chosen.fit(TASK, run())
    assert fitted.geometry.dimensions == 2
    again = chosen.restore(fitted.state())
    one, other = (predict(each, subject(7).scan, run(), chosen.Options()) for each in (fitted, again))
    assert torch.equal(one.segmentation.labels, other.segmentation.labels)
    assert not any("unet.head" in name for name in fitted.state().tensors)


def test_a_model_of_another_geometry_is_refused():
    state = method().fit(TASK, run(3)).state()
    planar = method(segmenter="planar", patch=(16, 16, 1), margin=(2, 2, 0))
    with pytest.raises(ModelFileError, match="geometry"):
        planar.restore(state)


def test_the_defaults_are_the_published_settings():
    published = DataAug(**DATA_AUG["paper"])
    assert published.widths == (32, 32, 64, 64, 128, 128)
    assert (published.segmenter, published.patch, published.batch) == ("planar", (160, 192, 1), 16)
    assert (published.window, published.smoothness, published.appearance_smoothness) == (9, 1 / 3, 0.02)
    assert published.appearance_norm == "absolute"
    assert published.examples == "independent"
    for preset in DATA_AUG.values():
        DataAug(**preset)


@pytest.mark.slow
def test_it_learns_to_segment():
    fitted = method(learning_rate=1e-2, most_voxels=None).fit(TASK, run(200))
    query = subject(7)
    found = predict(fitted, query.scan, run(), method().Options()).segmentation
    assert (found.labels == query.truth.labels).float().mean() > 0.85
