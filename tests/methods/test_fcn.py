import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from listening import Listening
from lowshot.errors import SettingsError, UnreadableFile
from lowshot.fitting import fit
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.predict import predict
from lowshot.inference.slice_model import SliceOptions
from lowshot.methods.fcn import FCN
from lowshot.methods.presets import FCN as PRESETS
from lowshot.methods.scs import SCS
from lowshot.nn.vgg import VGG16
from lowshot.task import LowShotTask
from lowshot.training.run import Run

NAMES = Names(("background", "lesion"), (0, 255))
TINY = {"size": (32, 32), "width": 1 / 16, "batch": 4, "norm": True, "optimiser": "adam", "dropout": 0.0}
QUICK = FCN(**TINY, steps=30, learning_rate=1e-2)


def image(seed, shape=(60, 44, 1), names=NAMES):
    """A dark disc of about a third of the image in bright noise, as a picture without spacing."""
    random = torch.Generator().manual_seed(seed)
    i, j = torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape[:2]], indexing="ij")
    x, y = 0.4 * (torch.rand(2, generator=random) - 0.5)
    labels = (((i - x) ** 2 + (j - y) ** 2) < 0.3).to(torch.int16)[..., None].expand(shape).contiguous()
    voxels = 150.0 - 100.0 * labels + 20.0 * torch.randn(shape, generator=random)
    scan = Scan(f"image {seed}", voxels[None], np.eye(4), spacing_known=False)
    return LabelledScan(scan, Segmentation(labels, names, np.eye(4)))


def run(**more):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, **more)


def dice(model, query):
    found = predict(model, query.scan, run(), SliceOptions()).segmentation.labels > 0
    truth = query.truth.labels > 0
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_it_learns_from_images_of_mixed_sizes_and_segments_another():
    support = [image(0), image(1, (40, 70, 1)), image(2, (33, 33, 1))]
    model = QUICK.fit(LowShotTask(NAMES, support), run())
    assert dice(model, image(5, (52, 75, 1))) > 0.8


def test_slices_of_a_volume_of_which_only_some_are_annotated():
    volume = image(0, (40, 40, 5))
    known = torch.zeros(40, 40, 5, dtype=torch.bool)
    known[..., 2] = True
    given = LabelledScan(volume.scan, volume.truth, known)
    model = FCN(**TINY, steps=3).fit(LowShotTask(NAMES, [given]), run())
    assert predict(model, volume.scan, run(), SliceOptions()).segmentation.labels.shape == (40, 40, 5)


def test_it_is_restored_from_its_state():
    method = FCN(**TINY, steps=2)
    model = method.fit(LowShotTask(NAMES, [image(0)]), run())
    state = model.state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    both = [predict(each, image(3).scan, run(), SliceOptions()).segmentation.labels for each in (model, restored)]
    assert torch.equal(*both)


@pytest.fixture
def narrow(monkeypatch):
    """VGG-16 of full width would take seconds to start."""
    monkeypatch.setattr("lowshot.nn.fcn.VGG16", lambda channels, width, norm: VGG16(channels, width=1 / 16, norm=norm))
    monkeypatch.setattr("lowshot.nn.fcn.INNER_WIDTH", 8)


def test_weights_are_taken_from_a_file(tmp_path, narrow):
    torch.manual_seed(1)
    stored = dict(VGG16(width=1 / 16).state_dict())
    first = stored.pop("features.0.bias") + 1
    path = tmp_path / "vgg16.pth"
    torch.save(stored | {"classifier.6.bias": torch.zeros(3)}, path)
    method = FCN(size=(32, 32), steps=1, learning_rate=1e-9, weights=str(path))
    told = Listening()
    model = method.fit(LowShotTask(NAMES, [image(0)]), run(progress=told))
    kept = model.state().tensors
    torch.testing.assert_close(kept["backbone.features.28.weight"], stored["features.28.weight"])
    assert not torch.allclose(kept["backbone.features.0.bias"], first)
    assert any("features: 25 of 26 taken\nclassifier: 1 in the file" in note for note in told.notes)
    assert any("no fitting features.0.bias" in warning for warning in told.warnings)
    path.unlink()
    method.restore(model.state())  # the file is needed for learning alone


def test_other_weights_in_the_same_file_are_another_training(tmp_path, narrow):
    path, task = tmp_path / "vgg16.pth", LowShotTask(NAMES, [image(0)])
    how = {"settings": {"size": (32, 32), "weights": str(path)}, "steps": 1, "folder": tmp_path / "t"}

    def fit_from(seed):
        torch.manual_seed(seed)
        torch.save(VGG16(width=1 / 16).state_dict(), path)
        return fit(task, "fcn", "paper", **how, device="cpu", precision="float32")

    fit_from(0)
    fit_from(0)
    with pytest.raises(SettingsError, match=r"vgg16\.pth"):
        fit_from(1)


def test_weights_that_cannot_be_are_refused(tmp_path, narrow):
    task = LowShotTask(NAMES, [image(0)])
    assert "no file of weights" in FCN(weights=str(tmp_path / "gone.pth")).problems(task)[0]
    other, text = tmp_path / "other.pth", tmp_path / "text.pth"
    torch.save({"layer1.0.weight": torch.zeros(2)}, other)
    text.write_text("no weights")
    for path, error, message in ((other, SettingsError, r"features\.0.*layer1"), (text, UnreadableFile, "text")):
        with pytest.raises(error, match=message):
            FCN(size=(32, 32), weights=str(path)).fit(task, run())


def test_problems():
    assert "annotated images" in QUICK.problems(LowShotTask(NAMES, [], base=[image(0)]))[0]
    assert QUICK.problems(LowShotTask(NAMES, [image(0)])) == []
    scan = image(0).scan
    two = Scan("two", scan.voxels.repeat(2, 1, 1, 1), scan.affine, ("T1", "T2"), spacing_known=False)
    task = LowShotTask(NAMES, [LabelledScan(two, image(0).truth)])
    assert QUICK.problems(task) == []
    assert "there are 2" in FCN(weights=__file__).problems(task)[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (100, 128)}, "multiples of 32"),
        ({"size": (8192, 8192)}, "at most"),
        ({"width": 0.0}, "width"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"dropout": 2.0}, "dropout: expected a share"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"optimiser": "adam", "weight_decay": 0.0}, "weight_decay: belongs to SGD"),
        ({"optimiser": "adam", "momentum": 0.5, "weight_decay": 0.1}, "momentum, weight_decay: belongs to SGD"),
        ({"intensity": "odd"}, "intensity"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        FCN(**settings)


def test_settings_of_finished_trainings_hold_what_adam_leaves_alone():
    """Result files have every setting in full."""
    assert FCN(optimiser="adam", momentum=0.9, weight_decay=5e-4) == FCN(optimiser="adam")


def test_a_slice_along_another_axis_is_a_problem():
    volume = image(0, (40, 40, 5))
    known = torch.zeros(40, 40, 5, dtype=torch.bool)
    known[20] = True
    task = LowShotTask(NAMES, [LabelledScan(volume.scan, volume.truth, known)])
    for method in (QUICK, SCS()):
        assert "lies along axis 0" in method.problems(task)[0]


def test_presets_are_settings():
    assert FCN(**PRESETS["paper"]) == FCN()
    assert FCN(**PRESETS["compact"]).width < 1


@pytest.mark.parametrize(("name", "known"), [("left kidney", False), ("lesion", True)])
def test_what_is_mirrored_is_no_second_kidney(monkeypatch, name, known):
    drawn = []
    monkeypatch.setattr("lowshot.methods.fcn.PatchSampling", lambda *words, **more: drawn.append(more))
    monkeypatch.setattr("lowshot.methods.fcn.train", lambda *words, **more: None)
    names = Names(("background", name), (0, 255))
    FCN(**TINY).fit(LowShotTask(names, [image(0, names=names)]), run())
    assert drawn == [{"mirrored_is_known": known}]


def test_a_structure_that_becomes_smaller_than_a_pixel_is_told(monkeypatch):
    heard, names, given = Listening(), Names.of({1: "lesion", 2: "dot"}), image(0, (640, 640, 1))
    given = replace(given, truth=replace(given.truth, names=names))
    given.truth.labels[2, 2] = 2
    FCN(**TINY, steps=1).fit(LowShotTask(names, [given]), run(progress=heard))
    assert any("dot is lost where slices become 32×32 pixels" in told for told in heard.warnings)
