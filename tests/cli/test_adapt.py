import json

import nibabel
import numpy as np
import pytest

from ball_files import write_ball_files
from cli.conftest import fit_words
from contract.fakes import FAKES
from lowshot import catalogue
from lowshot.model_file import load

PLAIN = ["--device", "cpu", "--precision", "float32"]


@pytest.fixture(autouse=True)
def _listed(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", catalogue.CATALOGUE | FAKES)


@pytest.fixture
def base(typed, tmp_path):
    """A learner, of scans whose structures go by other names."""
    where = write_ball_files(tmp_path / "others", count=2)
    (where / "names.txt").write_text("3 one\n7 two\n9 three\n")
    words = ["--method", "fake adaptable", "--base", where, "--steps", "2", *PLAIN]
    done = typed("fit", *words, "-o", where / "base.safetensors")
    assert done.code == 0, done.err
    return where / "base.safetensors"


def example(folder, *more):
    files = [folder / "images" / "s0.nii.gz", folder / "labels" / "s0.nii.gz", "--names", folder / "names.txt"]
    return [*files, *PLAIN, "-o", folder / "m.safetensors", *more]


def test_from_a_base_and_an_example_to_label_maps(typed, folder, base):
    done = typed("adapt", base, *example(folder))
    assert done.code == 0, done.err
    assert "m.safetensors: fake adaptable with 1 annotated, 3 structures (left ball, right ball, middle" in done.out
    assert f"Next: lowshot segment {folder / 'm.safetensors'} SCANS -o FOLDER" in done.out
    assert "not new" not in done.err
    segmented = typed("segment", folder / "m.safetensors", folder / "images", *PLAIN, "-o", folder / "out")
    assert segmented.code == 0, segmented.err
    found = np.unique(np.asarray(nibabel.load(folder / "out" / "s2.nii.gz").dataobj))
    assert set(found.tolist()) <= {0, 3, 7, 9}
    model = json.loads((folder / "out" / "s2.json").read_text())["model"]
    assert (model["method"], model["preset"], model["support"]) == ("fake adaptable", "compact", ["s0"])


def test_programs_get_json(typed, folder, base):
    done = typed("adapt", base, *example(folder, "--json"))
    assert done.json["structures"] == ["left ball", "right ball", "middle ball"]
    assert (done.json["support"], done.json["model"]) == (["s0"], str(folder / "m.safetensors"))


def test_a_table_of_partly_annotated_scans(typed, folder, base):
    rows = "image,labels,annotated_slice\nimages/s0.nii.gz,labels/s0.nii.gz,\nimages/s1.nii.gz,labels/s1.nii.gz,12\n"
    (folder / "support.csv").write_text(rows)
    done = typed("adapt", base, "--support", folder / "support.csv", *PLAIN, "-o", folder / "m.safetensors")
    assert done.code == 0, done.err
    told = load(folder / "m.safetensors").provenance
    assert (told["support"], len(told["training_files"])) == (["s0", "s1"], 4)
    assert load(folder / "m.safetensors").segmenter().names.foreground == ("label 3", "label 7", "label 9")


def test_an_adapted_model_is_given_another_example(typed, folder, base):
    assert typed("adapt", base, *example(folder)).code == 0
    labels = folder / "labels" / "s1.nii.gz"
    words = [folder / "images" / "s1.nii.gz", labels, *PLAIN, "-o", folder / "other.safetensors"]
    done = typed("adapt", folder / "m.safetensors", *words)
    assert done.code == 0, done.err
    assert load(folder / "other.safetensors").provenance["base"] == load(base).provenance


def test_a_model_is_replaced_when_that_is_asked_for(typed, folder, base):
    words = example(folder, "--overwrite")
    assert [typed("adapt", base, *words).code for _ in range(2)] == [0, 0]
    assert typed("adapt", folder / "m.safetensors", *words).code == 0  # by one that is made of itself


def test_a_learner_is_no_model_yet(typed, folder, base):
    done = typed("segment", base, folder / "images", "-o", folder / "out")
    assert done.code == 2
    assert "give it an example: lowshot adapt LEARNER IMAGE LABELS" in done.err


def test_a_model_that_cannot_adapt_says_what_to_do(typed, folder, model):
    done = typed("adapt", model, *example(folder))
    assert done.code == 2
    assert "mre-net does not learn from an example in seconds, it learns every structure anew: lowshot fit" in done.err
    assert not (folder / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{s0}"], "expected its label map after it"),
        ([], "no annotated scan: give IMAGE and LABELS"),
        (["{s0}", "{truth}", "--support", "x.csv"], "got both"),
        (["--support", "x.csv", "--annotated-slice", "3"], "belongs to IMAGE LABELS"),
        (["{s0}", "{truth}", "--annotated-slice", "99"], "no slice 99"),
        (["{s0}", "{truth}", "--annotated-slice", "0"], "no structure is annotated"),
        (["T1={s0},T2={s0}", "{truth}"], "has not the channels image"),
        (["{s0}", "{truth}", "--device", "gpu7"], "device 'gpu7' is none"),
        (["{s0}", "{truth}", "-o", "m.pt"], "ending in .safetensors"),
        (["{s0}", "{truth}", "-o", "{base}"], "base.safetensors: a model is there already; add --overwrite"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(typed, folder, base, words, message):
    files = {"s0": folder / "images" / "s0.nii.gz", "truth": folder / "labels" / "s0.nii.gz", "base": base}
    done = typed("adapt", base, "-o", folder / "m.safetensors", *(word.format(**files) for word in words))
    assert done.code == 2
    assert message in done.err
    assert done.err.splitlines()[-1].startswith("lowshot: error: ")
    assert not (folder / "m.safetensors").exists()


def test_structures_of_the_base_are_not_new(typed, folder, tmp_path):
    words = ["--method", "fake adaptable", "--base", folder, "--steps", "1", *PLAIN, "-o", tmp_path / "b.safetensors"]
    together = typed("fit", *fit_words(folder, tmp_path / "m.safetensors")[1:5], *words)
    assert together.code == 0, together.err
    assert "left ball, right ball, middle ball too, so left ball, right ball, middle ball are not new" in together.err
    alone = typed("fit", *words, "--overwrite")
    assert "not new" not in alone.err
    adapted = typed("adapt", tmp_path / "b.safetensors", *example(folder))
    assert "so left ball, right ball, middle ball are not new to it" in adapted.err
