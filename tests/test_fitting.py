import io
import json
from dataclasses import replace

import pytest
import torch

from ball_files import NAMES, TINY, labelled
from contract.fakes import FAKES
from lowshot.catalogue import CATALOGUE
from lowshot.contract import Learner
from lowshot.errors import InputError, ModelFileError, SettingsError, TaskProblem
from lowshot.fitting import digests_of, fit
from lowshot.imaging.names import Names
from lowshot.inference.calibration import UNCHANGED
from lowshot.model_file import load
from lowshot.progress import Lines
from lowshot.task import LowShotTask


def tiny_fit(task=None, **changes):
    return fit(
        task or LowShotTask(NAMES, [labelled(0)]),
        **{"settings": TINY, "steps": 2, "device": "cpu", "precision": "float32"} | changes,
    )


def weights(fitted):
    return fitted.model.state().tensors


def test_a_saved_model_comes_back_with_all_that_is_said_about_it(tmp_path):
    fitted = tiny_fit(seed=3)
    fitted.save(tmp_path / "m.safetensors")
    back = load(tmp_path / "m.safetensors")
    assert back.name == fitted.name == "mre-net"
    assert back.method == fitted.method
    assert {key: value.tolist() for key, value in weights(back).items()} == {
        key: value.tolist() for key, value in weights(fitted).items()
    }
    told = back.provenance
    assert (told["preset"], told["seed"], told["support"], told["budget"]["steps"]) == ("compact", 3, ["s0"], 2)
    assert told["plan"]["stages"]["training"]["steps"] == 2
    assert {"machine", "date", "versions", "training_files"} <= told.keys()


def moved(labelled, affine):
    scan, truth = replace(labelled.scan, affine=affine), replace(labelled.truth, affine=affine)
    return replace(labelled, scan=scan, truth=truth)


def only_slice(labelled, k):
    known = torch.zeros(labelled.truth.labels.shape, dtype=torch.bool)
    known[:, :, k] = True
    return replace(labelled, known=known)


def test_the_digest_of_a_task_in_memory_tells_tasks_apart():
    example = labelled(0)
    unspaced = replace(example, scan=replace(example.scan, spacing_known=False))
    others = [labelled(1), moved(example, 2 * example.scan.affine), unspaced, only_slice(example, 5)]
    found = [digests_of(LowShotTask(NAMES, [each])) for each in (example, labelled(0), *others)]
    assert found[0] == found[1]
    assert len({digest for each in found for digest in each.values()}) == 5


def test_digests_travel_without_the_paths(tmp_path):
    fitted = tiny_fit(files={"/home/ann_smith/scan.nii.gz": "abc"})
    assert fitted.provenance["training_files"] == ["abc"]
    assert "ann_smith" not in json.dumps(dict(fitted.provenance), default=str)


def test_settings_go_on_top_of_the_preset():
    fitted = tiny_fit()
    assert fitted.settings["batch"] == 2
    assert fitted.settings["balanced"] == 0.3  # the preset's


def test_a_task_that_does_not_suit_the_method_is_refused():
    with pytest.raises(TaskProblem, match=r"mre-net cannot learn from this: .*at least one"):
        tiny_fit(LowShotTask(NAMES, base=[labelled(0)]))


@pytest.mark.parametrize("method", ["mre-net", "fcn", "scs", "mlds", "multi-atlas"])
def test_a_lesion_that_fills_the_only_image_is_refused(method):
    full = labelled(0)
    names = Names.of({1: "lesion"})
    full = replace(full, truth=replace(full.truth, labels=torch.ones_like(full.truth.labels), names=names))
    task = LowShotTask(names, [full], unlabelled=[labelled(1).scan])
    with pytest.raises(InputError, match="s0: every voxel is lesion and none background"):
        fit(task, method, steps=2, device="cpu", precision="float32")


def test_scans_that_a_method_does_not_use_are_told_in_one_warning(monkeypatch):
    said = io.StringIO()
    task = LowShotTask(NAMES, [labelled(0)], unlabelled=[labelled(1).scan], base=[labelled(2)])
    tiny_fit(task, steps=1, progress=Lines(said))
    assert "mre-net does not learn from scans without labels or scans annotated for other structures" in said.getvalue()
    using = replace(CATALOGUE["mre-net"], uses=frozenset({"support", "unlabelled"}))
    monkeypatch.setitem(CATALOGUE, "mre-net", using)
    tiny_fit(task, steps=1, progress=Lines(said := io.StringIO()))
    assert "does not learn from scans annotated for other structures;" in said.getvalue()
    tiny_fit(steps=1, progress=Lines(said := io.StringIO()))
    assert "does not learn" not in said.getvalue()


def test_unknown_settings_are_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match="did you mean modes"):
        tiny_fit(settings={"mode": 3})


def test_a_model_file_is_named_like_one(tmp_path):
    with pytest.raises(ModelFileError, match=r"ending in \.safetensors"):
        tiny_fit().save(tmp_path / "model.pt")


def test_a_stopped_training_goes_on_and_ends_with_the_same_weights(tmp_path, monkeypatch):
    undisturbed = tiny_fit(steps=4)
    monkeypatch.setattr("lowshot.training.resume.Checkpoint.due", lambda self: True)
    sample, seen = torch.Tensor.backward, []

    def die(self, *args, **kwargs):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", die)
    monkeypatch.setattr("lowshot.methods.mre_net.method.calibrate", lambda *args: UNCHANGED)  # also learns by gradients
    with pytest.raises(KeyboardInterrupt):
        tiny_fit(steps=4, folder=tmp_path / "t")
    resumed = tiny_fit(steps=4, folder=tmp_path / "t")
    assert len(seen) == 3 + 2  # two steps were done and kept
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_a_folder_with_another_unsaved_training_is_refused(tmp_path):
    fitted = tiny_fit(folder=tmp_path / "t")
    with pytest.raises(SettingsError, match="seed was 0, is now 1"):
        tiny_fit(folder=tmp_path / "t", seed=1)
    with pytest.raises(SettingsError, match="the task has changed"):
        tiny_fit(LowShotTask(NAMES, [labelled(1)]), folder=tmp_path / "t")
    fitted.save(tmp_path / "m.safetensors")
    tiny_fit(folder=tmp_path / "t", seed=1)
    tiny_fit(folder=tmp_path / "t", seed=2, restart=True)


def test_another_annotated_slice_is_another_training(tmp_path):
    files = {"scan.nii.gz": "one file, whatever is annotated in it"}
    tiny_fit(LowShotTask(NAMES, [only_slice(labelled(0), 11)]), folder=tmp_path, files=files)
    with pytest.raises(SettingsError, match="annotation has changed"):
        tiny_fit(LowShotTask(NAMES, [only_slice(labelled(0), 12)]), folder=tmp_path, files=files)


def test_a_scan_that_cannot_be_used_is_refused_before_training():
    example = labelled(0)
    example.scan.voxels[0, 3, 3, 3] = torch.nan
    with pytest.raises(InputError, match="s0: 1 of 13,824 voxels are NaN"):
        tiny_fit(LowShotTask(NAMES, [example]))


@pytest.fixture
def adaptable(monkeypatch):
    monkeypatch.setitem(CATALOGUE, "fake adaptable", FAKES["fake adaptable"])


def fit_base(task, **changes):
    return tiny_fit(task, method="fake adaptable", settings={}, **changes)


def test_a_base_alone_makes_a_learner(adaptable, tmp_path):
    task = LowShotTask(Names(("background",), (0,)), base=[labelled(0), labelled(1)])
    fitted = fit_base(task, folder=tmp_path)
    assert isinstance(fitted.model, Learner)
    assert (fitted.provenance["support"], fitted.provenance["base_structures"]) == ([], list(NAMES.foreground))
    request = json.loads((tmp_path / "fit.json").read_text())
    assert (request["structures"], request["annotation"]) == ({"0": "background"}, [])
    assert request["base"] == list(NAMES.foreground)
    with pytest.raises(SettingsError, match="base was"):
        fit_base(LowShotTask(task.names, base=[renamed(each, "a", "b", "c") for each in task.base]), folder=tmp_path)


def renamed(labelled, *foreground):
    names = Names(("background", *foreground), NAMES.values)
    return replace(labelled, truth=replace(labelled.truth, names=names))


def told(task, **changes):
    said = io.StringIO()
    fit_base(task, steps=1, progress=Lines(said), **changes)
    return said.getvalue()


def test_structures_that_the_base_shows_already_are_told(adaptable):
    def task(base):
        return LowShotTask(NAMES, [labelled(0)], base=[base])

    some = replace(labelled(1), annotated=frozenset({"left ball"}))
    assert "the base is annotated for left ball too, so left ball is not new to it" in told(task(some))
    assert "so left ball is not new" in told(task(renamed(labelled(1), "Left Ball", "b", "c")))
    assert "not new" not in told(task(renamed(labelled(1), "a", "b", "c")))


def test_structures_that_go_by_their_values_need_not_be_the_same(adaptable):
    support, base = (renamed(labelled(seed), "label 3", "label 7", "label -9") for seed in (0, 1))
    assert "not new" not in told(LowShotTask(support.truth.names, [support], base=[base]))
    assert "not new" not in told(LowShotTask(Names(("background",), (0,)), base=[labelled(1)]))


def test_a_base_that_is_not_used_is_not_spoken_of():
    said = io.StringIO()
    fitted = tiny_fit(LowShotTask(NAMES, [labelled(0)], base=[labelled(1)]), steps=1, progress=Lines(said))
    assert "not new" not in said.getvalue()
    assert "base_structures" not in fitted.provenance
