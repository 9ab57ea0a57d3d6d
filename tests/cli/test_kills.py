"""SIGKILL at any moment of ``fit`` and ``segment``: what is on disk is whole, and the same command goes on."""

import json
import random
import shutil
from itertools import count

import nibabel
import numpy as np
import pytest
from safetensors.torch import load_file

from cli.conftest import fit_words, same_weights
from killing import leftovers

KILLS, STEPS = 30, 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(run, study, tmp_path_factory):
    """Two models of two steps, of different seeds."""
    folder = tmp_path_factory.mktemp("models")
    for seed in range(2):
        ended = run(*fit_words(study, folder / f"{seed}.safetensors", "--seed", seed))
        assert ended.code == 0, ended.err
    return folder


def test_a_fit_that_is_killed_thirty_times_ends_with_the_same_weights(run, study, tmp_path):
    undisturbed = run(*fit_words(study, tmp_path / "undisturbed.safetensors", "--steps", STEPS))
    expected = load_file(tmp_path / "undisturbed.safetensors")
    folder, moments = tmp_path / "killed", random.Random(0)
    model = folder / "model.safetensors"
    kills = resumed = 0
    while True:
        resumed += (folder / "model.training" / "checkpoints" / "training.pt").exists()
        moment = moments.uniform(0, undisturbed.seconds / 2) if kills < KILLS else None
        replaced = ["--overwrite"] if model.exists() else []  # killed between the model and the end
        ended = run(*fit_words(study, model, "--steps", STEPS), *replaced, kill_after=moment)
        kills += ended.killed
        if not ended.killed:
            assert ended.code == 0, ended.err
            assert same_weights(load_file(model), expected)
            assert leftovers(folder) == []
            if moment is None:
                break
            model.unlink()  # and the next one begins anew
    assert kills == KILLS
    assert resumed > KILLS / 3


def test_a_fit_that_is_killed_before_any_change_on_disk_goes_on(run, study, models, tmp_path):
    """In a folder where a training of something else has ended."""
    expected, kills = load_file(models / "0.safetensors"), 0
    for change in count(1):
        folder = tmp_path / str(change)
        shutil.copytree(models / "1.training", folder / "model.training")
        words = fit_words(study, folder / "model.safetensors")
        if not run(*words, kill_at=(folder, change)).killed:
            break
        kills += 1
        model = folder / "model.safetensors"
        if model.exists():
            assert same_weights(load_file(model), expected)
        ended = run(*words, *(["--overwrite"] if model.exists() else []))
        assert ended.code == 0, ended.err
        assert same_weights(load_file(folder / "model.safetensors"), expected)
        assert leftovers(folder) == []
    assert kills > 20


def result(folder, case):
    """What stands in the files of one scan's result, whole: reading half a file would fail."""
    made = nibabel.load(folder / f"{case}.nii.gz").get_fdata()
    beside = json.loads((folder / f"{case}.json").read_text())
    kept = sorted((folder / "probabilities" / case).glob("[!.]*"))
    return {"labels": made, "beside": beside, **{path.name: nibabel.load(path).get_fdata() for path in kept}}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def segmented(run, study, models, tmp_path_factory):
    """What an undisturbed command makes with each of the two models."""
    folder = tmp_path_factory.mktemp("segmented")
    for seed in range(2):
        words = ["segment", models / f"{seed}.safetensors", study / "images", "-o", folder / str(seed)]
        assert run(*words, "--probabilities", "--device", "cpu").code == 0
    return folder


def test_a_segmentation_that_is_killed_before_any_change_on_disk_is_whole_or_absent(
    run, study, models, segmented, tmp_path
):
    expected = result(segmented / "0", "s0")
    for change in count(1):
        folder = tmp_path / str(change)
        words = ["segment", models / "0.safetensors", study / "images" / "s0.nii.gz", "-o", folder, "--device", "cpu"]
        if not run(*words, "--probabilities", kill_at=(folder, change)).killed:
            break
        finished = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.nii.gz")}
        if finished:
            assert equal(result(folder, "s0"), expected)
        ended = run(*words, "--probabilities", "--skip-existing")
        assert ended.code == 0, ended.err
        assert {path: path.stat().st_mtime_ns for path in finished} == finished  # not done again
        assert equal(result(folder, "s0"), expected)
        assert leftovers(folder) == []
    assert change > 30


def test_what_was_finished_before_the_kill_is_not_done_again(run, study, models, segmented, tmp_path):
    words = ["segment", models / "0.safetensors", study / "images", "-o", tmp_path, "--device", "cpu"]
    assert run(*words, "--probabilities", kill_at=(tmp_path / "probabilities" / "s1", 2)).killed
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.nii.gz")}
    assert [path.name for path in finished] == ["s0.nii.gz"]
    ended = run(*words, "--probabilities", "--skip-existing")
    assert ended.code == 0, ended.err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert all(equal(result(tmp_path, case), result(segmented / "0", case)) for case in ("s0", "s1"))
    assert leftovers(tmp_path) == []


def test_a_result_that_is_being_replaced_is_the_old_one_the_new_one_or_absent(run, study, models, segmented, tmp_path):
    old, new = (result(segmented / seed, "s0") for seed in "10")
    seen = set()
    for change in count(1):
        folder = tmp_path / str(change)
        shutil.copytree(segmented / "1", folder)
        words = ["segment", models / "0.safetensors", study / "images" / "s0.nii.gz", "-o", folder, "--device", "cpu"]
        words += ["--probabilities"]
        killed = run(*words, "--overwrite", kill_at=(folder, change)).killed
        there = (folder / "s0.nii.gz").exists()
        seen.add(next(n for n, each in enumerate((old, new)) if equal(result(folder, "s0"), each)) if there else None)
        if not killed:
            break
        ended = run(*words, "--skip-existing" if not there else "--overwrite")
        assert ended.code == 0, ended.err
        assert equal(result(folder, "s0"), new)
        assert leftovers(folder) == []
    assert seen == {0, 1, None}
