import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from filelock import FileLock

from ball_files import TINY_WORDS
from cli.conftest import fit_words
from contract.fakes import FAKES
from lowshot import catalogue
from lowshot.methods.mre_net.method import MRENet as Model
from lowshot.model_file import load


def test_one_scan_becomes_a_model_that_says_where_it_comes_from(typed, folder):
    done = typed(*fit_words(folder, folder / "m.safetensors", "--seed", "5"))
    assert done.code == 0
    assert "mre-net, 2 steps" in done.out
    assert "3 structures (left ball, right ball, middle ball)" in done.err
    assert "training 2/2" in done.err
    fitted = load(folder / "m.safetensors")
    assert fitted.provenance["seed"] == 5
    assert len(fitted.provenance["training_files"]) == 2
    assert sorted(path.name for path in (folder / "m.training").glob("[!.]*")) == ["fit.json", "log.csv", "plan.json"]


def test_a_structure_that_no_scan_shows_is_told(typed, folder):
    (folder / "names.txt").write_text((folder / "names.txt").read_text() + "\n40\tfourth ball\n")
    done = typed(*fit_words(folder, folder / "m.safetensors"))
    assert done.code == 0
    assert "warning: no annotated scan shows fourth ball: what never was seen will never be found" in done.err


def test_programs_get_json(typed, folder):
    done = typed(*fit_words(folder, folder / "m.safetensors", "--json"))
    assert {"method": "mre-net", "steps": 2}.items() <= done.json.items()
    assert {"note", "progress"} <= {event["event"] for event in done.events}


def test_a_table_of_two_scans_a_pool_and_another_method(typed, folder):
    (folder / "support.csv").write_text(
        "image,labels,annotated_slice\nimages/s0.nii.gz,labels/s0.nii.gz,\nimages/s1.nii.gz,labels/s1.nii.gz,12\n"
    )
    words = ["fit", "--support", folder / "support.csv", "--unlabelled", folder / "images", "--method", "unet"]
    done = typed(*words, "--steps", "1", *TINY_WORDS[:8], "--device", "cpu", "-o", folder / "m.safetensors")
    assert done.code == 0, done.err
    assert "2 annotated, 3 unlabelled" in done.err
    request = json.loads((folder / "m.training" / "fit.json").read_text())
    everything, one_slice = request["annotation"]
    assert everything == "all voxels of all structures"
    assert one_slice.startswith("576 voxels (")
    assert len(request["files"]) == 5
    assert load(folder / "m.safetensors").provenance["support"] == ["s0", "s1"]


def test_several_channels(typed, folder):
    images = folder / "images"
    scan = f"T1={images}/s0.nii.gz,T2={images}/s0.nii.gz"
    words = [scan, folder / "labels" / "s0.nii.gz", "--steps", "1", *TINY_WORDS, "-o", folder / "m.safetensors"]
    assert typed("fit", *words).code == 0
    assert load(folder / "m.safetensors").segmenter().channels == ("T1", "T2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "compct"], "no preset named 'compct'"),
        (["--method", "mre-nt"], "did you mean mre-net"),
        (["--set", "mode=3"], "did you mean modes"),
        (["--set", "modes"], "expected key=value"),
        (["--set", "batch=many"], "batch"),
        (["--steps", "0"], "more than 0"),
        (["--minutes", "3"], "steps or minutes, not both"),
        (["--device", "gpu7"], "device 'gpu7' is none"),
        (["--annotated-slice", "99"], "no slice 99"),
        (["--annotated-slice", "x"], "INDEX or AXIS:INDEX"),
        (["--ignore-value", "7"], "cannot be both ignored and a structure"),
        (["--support", "x.csv"], "got both"),
        (["--unlabelled", "nowhere*"], "matches nothing"),
        (["--base", "nowhere"], "nowhere: no such file or folder"),
        (["--base", "."], "expected images/ and labels/"),
        (["--weights", __file__], "settings of mre-net: no setting named weights"),
    ],
)
def test_what_cannot_work_is_refused_before_training(typed, folder, words, message):
    done = typed(*fit_words(folder, folder / "m.safetensors", *words))
    assert done.code == 2
    assert message in done.err
    assert not (folder / "m.safetensors").exists()


def test_weights_that_are_not_there_are_refused_before_training(typed, folder):
    files = (folder / "images" / "s0.nii.gz", folder / "labels" / "s0.nii.gz", "--names", folder / "names.txt")
    done = typed(
        "fit",
        *files,
        "--method",
        "fcn",
        "--preset",
        "paper",
        "--weights",
        "nowhere.pth",
        "-o",
        folder / "m.safetensors",
    )
    assert done.code == 2
    assert "there is no file of weights at nowhere.pth" in done.err
    assert not (folder / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/s0.nii.gz"], "expected its label map after it"),
        (["images/s0.nii.gz", "labels/s9.nii.gz"], "labels/s9.nii.gz: no such file or folder. Did you mean"),
        (["image/s0.nii.gz", "labels/s0.nii.gz"], "its folder"),
        (["labels/s0.nii.gz", "images/s0.nii.gz"], "is it the image"),
        ([], "give IMAGE and LABELS"),
    ],
)
def test_wrong_files_are_refused_with_what_to_do(typed, folder, monkeypatch, files, message):
    monkeypatch.chdir(folder)
    done = typed("fit", *files, "-o", "m.safetensors")
    assert done.code == 2
    assert message in done.err


def test_the_output_is_named_like_a_model(typed, folder):
    done = typed(*fit_words(folder, folder / "m.pt"))
    assert (done.code, "ending in .safetensors" in done.err) == (2, True)


def test_a_base_alone_becomes_a_learner(typed, folder, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, "fake adaptable", FAKES["fake adaptable"])
    words = [
        "--method",
        "fake adaptable",
        "--base",
        folder,
        "--steps",
        "1",
        "--device",
        "cpu",
        "--precision",
        "float32",
    ]
    done = typed("fit", *words, "-o", folder / "m.safetensors")
    assert done.code == 0, done.err
    assert "scans: 3 of other structures; no new structure yet; training in" in done.err
    assert f"Next: lowshot adapt {folder / 'm.safetensors'} IMAGE LABELS -o OUT.safetensors" in done.out
    told = load(folder / "m.safetensors").provenance
    assert (told["base_structures"], len(told["training_files"])) == (["left ball", "right ball", "middle ball"], 6)


def test_weights_are_a_setting(typed, folder):
    (folder / "vgg.pth").write_bytes(b"weights")
    images = folder / "images"
    scan = [f"T1={images}/s0.nii.gz,T2={images}/s0.nii.gz", folder / "labels" / "s0.nii.gz"]
    done = typed(
        "fit", *scan, "--method", "fcn", "--preset", "paper", "--weights", folder / "vgg.pth", "-o", "m.safetensors"
    )
    assert done.code == 2
    assert "weights of VGG-16 are for one grey channel or three, and there are 2" in done.err


def test_findings_are_told_and_errors_refuse(typed, folder):
    path = folder / "labels" / "s0.nii.gz"
    labels = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros(labels.shape, np.uint8), labels.affine), path)
    done = typed(*fit_words(folder, folder / "m.safetensors"))
    assert done.code == 2
    assert "no structure is annotated" in done.err


def test_a_stopped_training_goes_on_only_for_the_same_request(typed, folder, monkeypatch):
    words = fit_words(folder, folder / "m.safetensors", "--steps", "4")
    with monkeypatch.context() as patched:
        patched.setattr("lowshot.training.resume.Checkpoint.due", lambda self: True)
        patched.setattr("lowshot.training.journal.Journal.add", _stop_at_the(3))
        assert typed(*words).code == 130
    assert (folder / "m.training" / "checkpoints").is_dir()
    other = typed(*words, "--seed", "1")
    assert other.code == 2
    assert "seed was 0, is now 1" in other.err
    done = typed(*words)
    assert done.code == 0
    assert "training 4/4" in done.err
    assert not (folder / "m.training" / "checkpoints").exists()


def test_a_model_is_replaced_only_when_that_is_asked_for(typed, folder, model, monkeypatch):
    path = folder / "m.safetensors"
    shutil.copy(model, path)
    words, before = fit_words(folder, path, "--seed", "1"), path.read_bytes()
    refused = typed("fit", "nowhere.nii.gz", *words[2:])  # before anything is read
    assert refused.code == 2
    assert f"{path}: a model is there already; add --overwrite to replace it, or give another name" in refused.err
    assert not (folder / "m.training").exists()
    with monkeypatch.context() as patched:
        patched.setattr("lowshot.training.resume.Checkpoint.due", lambda self: True)
        patched.setattr("lowshot.training.journal.Journal.add", _stop_at_the(2))
        assert typed(*words, "--overwrite").code == 130
    assert path.read_bytes() == before
    assert typed(*words).code == 2
    done = typed(*words, "--overwrite")
    assert done.code == 0
    assert "will be replaced" in done.err
    assert "was stopped" not in done.err
    assert load(path).provenance["seed"] == 1


def test_a_training_that_another_command_is_at_is_refused(typed, folder):
    words = fit_words(folder, folder / "m.safetensors")
    (folder / "m.training").mkdir()
    with FileLock(folder / "m.training" / ".lock"):
        done = typed(*words)
    assert done.code == 2
    assert "m.training is in use by another lowshot" in done.err
    assert not (folder / "m.training" / "fit.json").exists()
    assert typed(*words).code == 0


def test_a_model_that_came_during_the_training_stays(typed, folder, model, monkeypatch):
    path, original = folder / "m.safetensors", Model.fit

    def fit(self, task, run):
        shutil.copy(model, path)
        return original(self, task, run)

    with monkeypatch.context() as patched:
        patched.setattr(Model, "fit", fit)
        done = typed(*fit_words(folder, path))
    assert done.code == 2
    assert "a model is there already; add --overwrite" in done.err
    assert path.read_bytes() == model.read_bytes()
    log = (folder / "m.training" / "log.csv").read_bytes()
    assert typed(*fit_words(folder, path, "--overwrite")).code == 0
    assert (folder / "m.training" / "log.csv").read_bytes() == log  # nothing was trained again


def _stop_at_the(step):
    from lowshot.training.journal import Journal

    original, steps = Journal.add, []

    def add(self, terms):
        steps.append(terms)
        if len(steps) == step:
            raise KeyboardInterrupt
        original(self, terms)

    return add


@pytest.mark.slow
def test_of_two_processes_one_speaks_and_writes(folder):
    torchrun = Path(sys.executable).with_name("torchrun")
    words = [str(word) for word in fit_words(folder, folder / "m.safetensors", "--json")]
    launch = [str(torchrun), "--nproc-per-node", "2", "--standalone", "-m", "lowshot"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *words], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert load(folder / "m.safetensors").provenance["plan"]["stages"]["training"]["steps"] == 2
    shutil.rmtree(folder / "m.training")
