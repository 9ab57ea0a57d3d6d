import io
import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from contract.fakes import FAKES
from contract.studies import BASE, NAMES, subject
from lowshot import catalogue
from lowshot.adapting import adapt
from lowshot.contract import Adapted, Learner, Model
from lowshot.errors import ChannelMismatch, EmptySupport, InputError, ModelFileError, UnknownLabel
from lowshot.fitting import fit
from lowshot.imaging.names import Names
from lowshot.model_file import load
from lowshot.progress import Lines
from lowshot.segmenting import segment
from lowshot.task import LowShotTask

PLAIN = {"device": "cpu", "precision": "float32"}
NOTHING = Names(("background",), (0,))
OTHERS = Names(("background", "torso", "left organ", "right organ"), (0, 500, -7, 63))


@pytest.fixture(autouse=True)
def _listed(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", catalogue.CATALOGUE | FAKES)


def fitted(task=None, method="fake adaptable", **more):
    return fit(task or LowShotTask(NOTHING, base=BASE), method, steps=2, **PLAIN, **more)


def adapted(learner, seed=0, names=OTHERS, **more):
    return adapt(learner, [subject(seed, names=names)], names, **PLAIN, **more)


@pytest.fixture
def learner():
    return fitted(seed=4)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_example_makes_a_learner_a_model_that_keeps_it(learner):
    made = adapted(learner)
    assert isinstance(learner.model, Learner)
    assert not isinstance(learner.model, Model)
    assert isinstance(made.model, Adapted)
    assert same(made.model.learner.state().tensors, learner.model.state().tensors)
    assert (made.name, made.method, made.settings) == (learner.name, learner.method, learner.settings)
    result = segment(made, subject(7).scan, **PLAIN)
    assert result.segmentation.names == OTHERS


def test_a_file_of_a_learner_and_one_of_a_model_are_adapted_alike(learner, tmp_path):
    learner.save(tmp_path / "base.safetensors")
    adapted(load(tmp_path / "base.safetensors")).save(tmp_path / "one.safetensors")
    again = adapted(load(tmp_path / "one.safetensors"), seed=1)
    assert same(again.model.state().tensors, adapted(learner, seed=1).model.state().tensors)


def test_what_is_said_of_the_learner_is_kept(learner, tmp_path):
    made = adapted(learner, files={"/home/ann_smith/scan.nii.gz": "abc"})
    made.save(tmp_path / "one.safetensors")
    told = load(tmp_path / "one.safetensors").provenance
    assert (told["support"], told["training_files"]) == (["subject 0"], ["abc"])
    assert (told["preset"], told["seed"], told["base_structures"]) == ("compact", 4, ["body", "bone"])
    assert {"date", "versions", "machine"} <= told.keys()
    assert told["plan"]["stages"] == {}
    assert told["base"] == json.loads(json.dumps(dict(learner.provenance)))
    assert told["base"]["plan"]["stages"]["training"]["steps"] == 2
    assert adapted(made, seed=1).provenance["base"] == learner.provenance  # and does not grow
    assert len(adapted(learner).provenance["training_files"]) == 1  # of the voxels


def test_a_model_that_was_fitted_to_base_and_example_at_once_can_be_given_another():
    first = fitted(LowShotTask(OTHERS, [subject(0, names=OTHERS)], base=BASE))
    second = adapted(first, seed=1)
    assert second.provenance["support"] == ["subject 1"]
    assert second.provenance["base"]["support"] == ["subject 0"]
    assert same(second.model.learner.state().tensors, first.model.learner.state().tensors)


def test_a_method_that_learns_every_structure_anew_is_refused():
    patches = fitted(LowShotTask(NAMES, [subject(0)]), "fake patches")
    with pytest.raises(ModelFileError, match=r"fake patches does not learn from an example .*lowshot fit IMAGE LABELS"):
        adapted(patches)


def test_a_learner_that_is_to_segment_asks_for_an_example(learner):
    with pytest.raises(ModelFileError, match="give it an example: lowshot adapt LEARNER IMAGE LABELS"):
        segment(learner, subject(7).scan, **PLAIN)


def test_examples_that_cannot_be_used_are_refused(learner):
    example = subject(0, names=OTHERS)
    with pytest.raises(ChannelMismatch, match="subject 0"):
        adapt(learner, [replace(example, scan=replace(example.scan, channels=("FLAIR",)))], OTHERS, **PLAIN)
    with pytest.raises(EmptySupport, match="no annotated scan"):
        adapt(learner, [], OTHERS, **PLAIN)
    with pytest.raises(UnknownLabel, match="read all label maps with one table"):
        adapt(learner, [example], NAMES, **PLAIN)
    blank = replace(example, truth=replace(example.truth, labels=torch.zeros_like(example.truth.labels)))
    with pytest.raises(InputError, match="no structure is annotated"):
        adapt(learner, [blank], OTHERS, **PLAIN)


def test_findings_and_structures_that_are_not_new_are_told(learner):
    said = io.StringIO()
    adapted(learner, names=NAMES, progress=Lines(said))
    assert "the base is annotated for body too, so body is not new to it" in said.getvalue()
    adapted(learner, progress=Lines(said := io.StringIO()))
    assert "not new" not in said.getvalue()


@pytest.mark.parametrize("structures", [3, "body", {"body": 1}, ["body", 3]])
def test_a_file_that_lies_about_its_base_is_refused(learner, tmp_path, structures):
    path = tmp_path / "base.safetensors"
    learner.save(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["lowshot"])
    header["provenance"]["base_structures"] = structures
    save_file(load_file(path), path, metadata={"lowshot": json.dumps(header)})
    with pytest.raises(ModelFileError, match="holds no list of the structures of its base"):
        load(path)
