import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import lowshot
from ball_files import write_ball_files
from benchmarking.balls import BALLS, bench
from contract.studies import NAMES, TASKS, partly_known, subject
from lowshot.errors import EmptySupport, MissingExtra, ModelFileError, SettingsError, TaskProblem
from lowshot.inference.predict import predict
from lowshot.methods.ants.method import Ants
from lowshot.protocols.protocol import System
from lowshot.task import LowShotTask
from lowshot.training.run import Budget
from methods.ants.bodies import affine, body, dice, one_thread, placed

SHAPE = (30, 30, 30)
SHEARED = affine((2, 2, 2), SHAPE) @ np.array([[0, 1, 0.1, 0], [-1, 0, 0.05, 29], [0, 0, 1, 0], [0, 0, 0, 1]])
QUERY = body(SHEARED, SHAPE, name="query", place=placed(turn=(3, 5, 0)))
ATLASES = [
    body(affine((2, 2, 2), SHAPE), SHAPE, name=f"atlas {n}", place=placed(turn=turn, stretch=stretch))
    for n, (turn, stretch) in enumerate([((0, 0, 0), (1, 1, 1)), ((0, 0, 8), (1.1, 1, 1)), ((5, 0, 0), (1, 0.9, 1))])
]
SHOTS = [LowShotTask(NAMES, ATLASES[:count]) for count in (1, 2, 3)]
FUSED = Ants(fusion="joint", search_radius=1)


def result(method, task, scan=QUERY.scan):
    return predict(method.fit(task, one_thread()), scan, one_thread(), method.Options())


@pytest.mark.parametrize(("method", "shots"), [(Ants(iterations=(5,)), 1), (Ants(), 2), (Ants(), 3), (FUSED, 3)])
def test_a_scan_with_other_and_sheared_axes_gets_the_labels_of_its_atlases(method, shots):
    segmentation = result(method, SHOTS[shots - 1]).segmentation
    assert segmentation.grid.same_as(QUERY.scan.grid, tolerance=1e-3)
    assert dice(segmentation.labels, QUERY.truth.labels) > 0.93


def test_one_atlas_gives_labels_and_several_give_shares():
    assert set(result(Ants(), SHOTS[0]).quality.values()) == {None}
    for method in (Ants(), FUSED):
        qualities = result(method, SHOTS[1]).quality.values()
        assert all(0.5 < quality.expected_dice <= 1 for quality in qualities)


def test_the_chosen_channel_is_registered():
    support, scan = ATLASES[0], QUERY.scan
    noise = torch.rand(support.scan.voxels.shape), torch.rand(scan.voxels.shape)
    both = replace(
        support, scan=replace(support.scan, voxels=torch.cat([noise[0], support.scan.voxels]), channels=("PD", "T1"))
    )
    query = replace(scan, voxels=torch.cat([noise[1], scan.voxels]), channels=("PD", "T1"))
    task = LowShotTask(NAMES, [both])
    expected = result(Ants(transform="affine"), SHOTS[0]).segmentation.labels
    assert torch.equal(result(Ants(transform="affine", channel="T1"), task, query).segmentation.labels, expected)
    assert not torch.equal(result(Ants(transform="affine"), task, query).segmentation.labels, expected)
    assert Ants(channel="T2").problems(task) == ["channel: the scans have PD, T1, not T2"]


def test_what_it_cannot_work_on():
    (none,) = Ants().problems(TASKS["base alone"])
    assert "annotated scan" in none
    (single,) = FUSED.problems(SHOTS[0])
    assert "give at least two annotated scans" in single
    assert not FUSED.problems(SHOTS[1])


@pytest.mark.parametrize(
    "partly", [partly_known(subject(0), 0), replace(subject(0), annotated=frozenset({"body"}))], ids=["slices", "names"]
)
def test_what_nobody_looked_at_is_not_copied(partly):
    (problem,) = Ants().problems(LowShotTask(NAMES, [partly, subject(1)]))
    assert problem.startswith("subject 0 is annotated only in part")


def test_an_ignore_value_that_occurs_nowhere_does_no_harm():
    known = torch.ones(subject(0).truth.labels.shape, dtype=torch.bool)
    assert not Ants().problems(LowShotTask(NAMES, [replace(subject(0), known=known)]))


def test_without_the_extra_nothing_is_begun(monkeypatch):
    model = Ants().fit(SHOTS[0], one_thread())
    for name in [name for name in sys.modules if name.partition(".")[0] == "ants"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ants", None)
    with pytest.raises(TaskProblem, match=r"^ants-syn cannot learn .* installed: pip install 'lowshot\[ants\]'$"):
        lowshot.fit(SHOTS[0], "ants-syn")
    with pytest.raises(MissingExtra, match=r"ANTs needs ants: pip install 'lowshot\[ants\]'"):
        predict(model, QUERY.scan, one_thread(), Ants.Options())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"transform": "affine", "iterations": (3,)}, "iterations: they are of the deformable part"),
        ({"iterations": ()}, "iterations: expected one number for each"),
        ({"iterations": (1,) * 10}, "iterations: expected one number for each"),
        ({"iterations": (-1,)}, "iterations: expected one number for each"),
        ({"alpha": 0.0}, "alpha: expected more than 0"),
        ({"beta": float("nan")}, "beta: expected more than 0"),
        ({"search_radius": 21}, "search_radius: expected 0 to 20 voxels"),
        ({"intensity": "loud"}, "intensity: expected"),
    ],
)
def test_settings_that_make_no_sense(settings, told):
    with pytest.raises(SettingsError, match=told):
        Ants(**settings)


def test_a_label_map_without_structures():
    blank = subject(0)
    blank.truth.labels.zero_()
    with pytest.raises(EmptySupport, match="subject 0: no structure is annotated"):
        Ants().fit(LowShotTask(NAMES, [blank]), one_thread())


def test_steps_that_make_no_difference_are_told(monkeypatch):
    warned, run = [], one_thread(budget=Budget(steps=3))
    monkeypatch.setattr(run.progress, "warn", warned.append)
    Ants().fit(SHOTS[0], run)
    assert warned == ["nothing is trained here: steps and minutes make no difference"]


def test_a_model_that_somebody_changed_is_refused():
    state = Ants().fit(SHOTS[0], one_thread()).state()
    with pytest.raises(ModelFileError, match="atlas 0: "):
        Ants().restore(state._replace(tensors={**state.tensors, "atlas 0 labels": torch.zeros(3, 3, 3)}))
    with pytest.raises(SettingsError, match="seed"):
        Ants().restore(state._replace(header={**state.header, "seed": "now"}))


def test_memory_follows_from_what_is_done():
    methods = [
        Ants(transform="affine"),
        Ants(),
        Ants(transform="syncc"),
        Ants(iterations=(5, 0)),
        Ants(iterations=(5, 5)),
    ]
    models = [method.fit(SHOTS[0], one_thread()) for method in methods]
    affine, syn, syncc, coarse, fine = (m.working_memory((100,) * 3, one_thread(), Ants.Options()) for m in models)
    assert affine < syn == coarse < syncc == fine
    two, three = (FUSED.fit(shots, one_thread()) for shots in SHOTS[1:])
    fused = [model.working_memory((100,) * 3, one_thread(), Ants.Options()) for model in (two, three)]
    assert fused == sorted(fused)


def test_fit_and_segment_without_a_training(tmp_path):
    fitted = lowshot.fit(SHOTS[0], "ants-affine", folder=tmp_path / "training", threads=1, seed=5)
    assert (tmp_path / "training" / "plan.json").exists()
    assert fitted.provenance["plan"]["stages"] == {}
    fitted.save(tmp_path / "model.safetensors")
    loaded = lowshot.load(tmp_path / "model.safetensors")
    assert loaded.model.header.seed == 5
    first, second = (lowshot.segment(each, QUERY.scan, threads=1).segmentation for each in (fitted, loaded))
    assert torch.equal(first.labels, second.labels)
    assert np.allclose(first.affine, QUERY.scan.affine)


def test_a_benchmark_without_a_training(tmp_path):
    rows = replace(BALLS, systems={"ants-affine": System(method="ants-affine")}, reference="ants-affine")
    records, failed = bench(write_ball_files(tmp_path / "data"), tmp_path / "cells", rows)
    assert not failed
    (record,) = records
    assert record["training"]["seconds"] == 0
    assert [case["case"] for case in record["cases"]] == ["s1", "s2"]
    assert all(len(case["scores"]) == 3 and case["seconds"] > 0 for case in record["cases"])
