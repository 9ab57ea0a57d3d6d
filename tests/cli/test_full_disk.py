"""A disk with room for any number of pages: one sentence, exit code 2, nothing half-written, nothing lost."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from safetensors.torch import load_file

from cli.conftest import fit_words, same_weights
from killing import leftovers
from small_disk import filled_up_to, small_disk

pytestmark = pytest.mark.slow

STEPS = "--steps", 12


@pytest.fixture(scope="module")
def model(run, study, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    assert run(*fit_words(study, path, *STEPS)).code == 0
    return path


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", pages=512) as disk:
        yield disk


def refused(run, words, disk, free):
    """The file that a command says it cannot write with so many free pages; None where they are enough."""
    with filled_up_to(disk, free):
        ended = run(*words)
    assert leftovers(disk) == []
    if ended.code == 0:
        return None
    (told,) = (line for line in ended.err.splitlines() if line.startswith("lowshot: "))
    assert ended.code == 2, ended.err
    assert told.startswith(f"lowshot: error: {disk}/")
    assert "cannot be written: No space left on device" in told
    assert "Traceback" not in ended.err
    return told.removeprefix(f"lowshot: error: {disk}/").partition(":")[0]


def test_a_fit_goes_on_when_there_is_room_again(run, study, model, disk):
    expected, told, kept = load_file(model), set(), 0
    words, training = fit_words(study, disk / "m.safetensors", *STEPS), disk / "m.training"
    for free in (0, 1, 2, 3, 20, 50, 60, 70, 80, 511):  # a checkpoint takes about 45
        file = refused(run, words, disk, free)
        if file is None:
            break
        told.add(file)
        kept += (training / "checkpoints" / "training.pt").exists()
        ended = run(*words)
        assert ended.code == 0, ended.err
        assert same_weights(load_file(disk / "m.safetensors"), expected)
        (disk / "m.safetensors").unlink()
        shutil.rmtree(training)
    assert told >= {f"m.training/{name}" for name in ("fit.json", "plan.json", "checkpoints/training.pt")}
    assert kept > 0


def test_a_model_that_does_not_fit_is_saved_when_there_is_room_again(run, study, model, disk):
    """The training is over: the same command only writes the model."""
    expected, words = load_file(model), fit_words(study, disk / "out" / "m.safetensors", *STEPS)
    (disk / "out").mkdir()
    words += ["--folder", disk.parent / "training"]
    assert refused(run, words, disk, free=3) == "out/m.safetensors"
    log = (disk.parent / "training" / "log.csv").read_text()
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert (disk.parent / "training" / "log.csv").read_text() == log
    assert same_weights(load_file(disk / "out" / "m.safetensors"), expected)


def test_what_was_segmented_before_the_disk_was_full_stays(run, study, model, disk):
    words = ["segment", model, study / "images", "-o", disk / "out", "--probabilities", "--device", "cpu"]
    told, finished = set(), set()
    for free in range(0, 512, 9):
        file = refused(run, words, disk, free)
        label_maps = sorted((disk / "out").glob("*.nii.gz"))
        finished.add(len(label_maps))
        for path in label_maps:
            assert np.isin(nibabel.load(path).get_fdata(), [0, 3, 7, 9]).all()
            assert set(json.loads((disk / "out" / f"{path.name[:2]}.json").read_text())) >= {"case", "structures"}
            kept = sorted((disk / "out" / "probabilities" / path.name[:2]).iterdir())
            assert [np.isfinite(nibabel.load(each).get_fdata()).all() for each in kept] == [True] * 4
        if file is None:
            break
        told.add(file)
        ended = run(*words, "--skip-existing")
        assert ended.code == 0, ended.err
        shutil.rmtree(disk / "out")
    assert finished == {0, 1, 2}
    assert len(told) > 3


def test_a_report_that_does_not_fit_leaves_whole_files(run, study, disk):
    words = ["evaluate", study / "labels", study / "labels", "-o", disk / "out"]
    told = []
    for free in (0, 1, 2, 3, 511):
        file = refused(run, words, disk, free)
        for path in (disk / "out").glob("*.json"):
            json.loads(path.read_text())
        for path in (disk / "out").glob("*.html"):
            assert path.read_text().rstrip().endswith("</html>")
        if file is not None:
            told.append(file)
        shutil.rmtree(disk / "out", ignore_errors=True)
    assert {"out/scores.csv", "out/summary.json", "out/report.html"} >= set(told)
    assert len(set(told)) > 1
