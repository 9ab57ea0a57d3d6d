"""Methods of slices and pictures as they are typed: from files to label maps on the grids of the scans."""

import json

import matplotlib.image
import nibabel
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from contract import tiny
from lowshot.phantoms.study import Study
from lowshot.phantoms.study_folder import write_study
from lowshot.reporting.samples import UNKNOWN

HEARTS = Study(anatomy="cardiac-mr", subjects=3, shape=(48, 48, 5))
WHOLE, RIGHT_VENTRICLE_ALONE = 2, 4
"""Slices of the first heart: one that shows all three structures, and the last."""
PLAIN = ("--device", "cpu", "--precision", "float32", "--threads", "1")
TINY_MRE_NET = {
    **{"widths": (4, 4, 4, 4, 4), "convolutions": (1, 1, 1, 1, 1), "batch": 2, "embedding_size": 8},
    **{"pyramid_width": 4, "level_width": 4, "mixer_width": 4, "settling_batches": 1},
}


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    write_study(HEARTS, folder)
    return folder


def fit_words(folder, method, model, *more, k=WHOLE):
    """Two steps from one slice of the first heart."""
    files = [folder / "images" / "subject-01.nii.gz", folder / "labels" / "subject-01.nii.gz"]
    files += ["--names", folder / "names.txt", "--annotated-slice", k]
    return [
        "fit",
        *files,
        "--method",
        method,
        *changed(tiny.SETTINGS[method]),
        "--steps",
        "2",
        *PLAIN,
        *more,
        "-o",
        model,
    ]


def changed(settings):
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]


@pytest.mark.parametrize("method", ["elnet", "mlds", "mt-unet", "unet-slices", "scs", "fcn"])
def test_from_one_annotated_slice_to_label_maps(typed, hearts, tmp_path, method):
    pool = ["--unlabelled", hearts / "images" / "subject-02.nii.gz"]
    done = typed(*fit_words(hearts, method, tmp_path / "m.safetensors", *pool))
    assert done.code == 0, done.err
    assert (f"{method} does not learn from scans without labels" in done.err) == (method not in ("elnet", "mlds"))
    done = typed("segment", tmp_path / "m.safetensors", hearts / "images", *PLAIN, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    values = {int(line.split("\t")[0]) for line in (hearts / "names.txt").read_text().splitlines()}
    for subject in ("subject-01", "subject-02", "subject-03"):
        image, made = (nibabel.load(at / f"{subject}.nii.gz") for at in (hearts / "images", tmp_path / "out"))
        assert made.shape == image.shape
        np.testing.assert_array_equal(made.affine, image.affine)
        assert set(np.unique(np.asarray(made.dataobj)).tolist()) <= values | {0}


def test_what_the_slice_lacks_is_refused_unless_it_may_be_missing(typed, hearts, tmp_path):
    words = fit_words(hearts, "unet-slices", tmp_path / "m.safetensors", k=RIGHT_VENTRICLE_ALONE)
    refused = typed(*words)
    assert refused.code == 2
    assert "nothing annotated shows myocardium, left ventricle, so that could never be found" in refused.err
    assert not (tmp_path / "m.safetensors").exists()
    done = typed(*words, "--allow-missing")
    assert done.code == 0, done.err
    assert "warning: no annotated scan shows myocardium, left ventricle" in done.err


def test_samples_are_drawn_before_it_learns_and_show_what_is_not_known(typed, hearts, tmp_path):
    """Where a varied exemplar is mirrored in from beyond its borders nothing is known; all of a synthetic slice is."""
    for method, tinted in (("unet-slices", True), ("elnet", False)):
        picture = tmp_path / f"{method}.png"
        words = fit_words(hearts, method, tmp_path / f"{method}.safetensors", "--show-samples", picture)
        done = typed(*words)
        assert done.code == 0, done.err
        assert f"samples: {picture}" in done.err
        colours = matplotlib.image.imread(picture)[..., :3]
        assert bool(np.isclose(colours, to_rgb(UNKNOWN), atol=0.01).all(axis=-1).any()) == tinted
    refused = typed(*fit_words(hearts, "mlds", tmp_path / "mlds.safetensors", "--show-samples", tmp_path / "mlds.png"))
    assert refused.code == 2
    assert "mlds makes no samples" in refused.err


def lesion(shape, seed):
    """A dark disc in bright noise, 8 bits, and where it is."""
    i, j = np.indices(shape)
    there = (i - shape[0] / 2) ** 2 + (j - shape[1] / 2) ** 2 < (min(shape) / 4) ** 2
    noise = np.random.default_rng(seed).normal(0, 15, shape)
    return np.clip(np.where(there, 60, 170) + noise, 0, 255).astype(np.uint8), there.astype(np.uint8) * 255


STORED = {
    "grey8": lambda pixels: pixels,
    "grey16": lambda pixels: pixels.astype(np.uint16) * 257,
    "rgb": lambda pixels: np.stack([pixels] * 3, axis=-1),
}


@pytest.fixture
def pictures(tmp_path):
    """Three annotated pictures of other sizes, each stored in another way, and a fourth stored in all of them."""
    rows = ["image,labels"]
    for n, (name, stored) in enumerate(STORED.items()):
        pixels, labels = lesion(((60, 44), (40, 70), (50, 50))[n], n)
        Image.fromarray(stored(pixels)).save(tmp_path / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / f"{name}_labels.png")
        rows.append(f"{name}.png,{name}_labels.png")
        Image.fromarray(stored(lesion((52, 75), 9)[0])).save(tmp_path / f"query_{name}.png")
    (tmp_path / "support.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "names.txt").write_text("255 lesion\n")
    return tmp_path


@pytest.mark.parametrize(
    ("method", "preset", "settings"),
    [
        ("mre-net", "compact-ultrasound", TINY_MRE_NET),
        ("fcn", "compact", tiny.SETTINGS["fcn"]),
        ("scs", "compact", tiny.SETTINGS["scs"]),
    ],
)
def test_pictures_of_mixed_sizes_and_depths_teach_together(typed, pictures, method, preset, settings):
    words = ["--support", pictures / "support.csv", "--names", pictures / "names.txt", "--steps", "2"]
    words += ["--method", method, "--preset", preset, *changed(settings)]
    done = typed("fit", *words, *PLAIN, "-o", pictures / "m.safetensors")
    assert done.code == 0, done.err
    assert "3 annotated" in done.err
    queries = [pictures / f"query_{name}.png" for name in STORED]
    for query in queries:
        done = typed("segment", pictures / "m.safetensors", query, *PLAIN, "-o", pictures / "out")
        assert done.code == 0, done.err
    found = [np.asarray(Image.open(pictures / "out" / query.name)) for query in queries]
    assert all(each.shape == (52, 75) for each in found)  # the network saw 128×128, or 32×32
    assert set(np.unique(found).tolist()) <= {0, 255}
    np.testing.assert_array_equal(found[0], found[2])
    assert (found[0] != found[1]).mean() < 0.01  # rounded otherwise
