"""Every kind of bad input: one line that names the file and says what came, exit code 2, and nothing is written."""

import gzip
from dataclasses import dataclass

import nibabel
import numpy as np
import pytest
from PIL import Image

from ball_files import AFFINE, SHAPE, TINY_WORDS, write_ball_files
from cli.conftest import Typed

IMAGE, LABELS = "images/s0.nii.gz", "labels/s0.nii.gz"
FIT = f"fit {IMAGE} {LABELS} --names names.txt --steps 2 -o m.safetensors"
FIT_UNNAMED = f"fit {IMAGE} {LABELS} --steps 2 -o m.safetensors"
ELNET, MLDS = (f"{FIT} --method {name}" for name in ("elnet", "mlds"))
SEGMENT = f"segment MODEL {IMAGE} -o out"
DOCTOR = f"doctor {IMAGE} --labels {LABELS} --names names.txt"
EVERY = (FIT, DOCTOR)
EVERY_JSON = tuple(each.replace("names.txt", "names.json") for each in EVERY)
IMAGE_READERS = (FIT, SEGMENT, DOCTOR)


def image_bytes(change):
    """Damage to the bytes of the image."""

    def damage(folder):
        (folder / IMAGE).write_bytes(change((folder / IMAGE).read_bytes()))

    return damage


def header_bytes(place, value):
    """Damage to the header inside of the gzip."""

    def change(content):
        plain = bytearray(gzip.decompress(content))
        plain[place : place + len(value)] = value
        return gzip.compress(bytes(plain))

    return image_bytes(change)


def saved(name, array, affine=AFFINE):
    """Another NIfTI in the place of one of the files."""
    return lambda folder: nibabel.save(nibabel.Nifti1Image(array, affine, dtype=array.dtype), folder / name)


def picture(name, array):
    return lambda folder: Image.fromarray(array).save(folder / name)


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def voxels(value=0, dtype=np.float32, shape=SHAPE):
    array = np.random.default_rng(0).random(shape).astype(dtype)
    array.flat[0] = value
    return array


def balls(dtype=np.int16, **changed):
    """A label map with some of its values changed: ``_3=1.5`` puts 1.5 where 3 belongs."""
    array = np.zeros(SHAPE, dtype)
    for k, value in enumerate((3, 7, 9)):
        array[4 * k + 4 : 4 * k + 7, 8:16, 8:16] = changed.get(f"_{value}", value)
    return array


def few_grey_values(folder):
    """An image that could be a label map."""
    saved(IMAGE, np.arange(24**3).reshape(SHAPE).astype(np.uint8))(folder)


def ignored_at_a_border():
    """Every slice has some."""
    array = balls()
    array[0] = 255
    return array


def squares():
    array = np.zeros((24, 24, 3), np.uint8)
    array[4:8, 4:8] = (255, 0, 0)
    return array


def dicom_folder(folder):
    (folder / "series").mkdir()
    (folder / "series" / "notes.txt").write_text("no DICOM here")


def huge(folder):
    """10^12 voxels, in a kilobyte."""
    header_bytes(42, np.array([10_000] * 3, "<i2").tobytes())(folder)


def nothing(folder):
    """The files are sound; the words are not."""


FAR, TURNED = AFFINE.copy(), AFFINE.copy()
FAR[:3, 3] = 40
TURNED[:3, 0] *= -1
GREY = np.arange(576).reshape(24, 24).astype(np.uint8)
DETACHED = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nendian: little\ndata file: b.raw\n\n"
LONG = f"{'a' * 300}.nii.gz"
PICTURES = ("fit image.png labels.png --steps 2 -o m.safetensors", "doctor image.png --labels labels.png")
CSV = "fit --support support.csv --steps 2 -o m.safetensors"


@dataclass(frozen=True)
class Bad:
    """One kind of bad input: what is done to sound files, the commands that meet it, and what they say."""

    kind: str
    damage: object
    commands: tuple[str, ...]
    names: str
    """The file that the message names."""
    says: str


# fmt: off
KINDS = [
    # A file that cannot be read.
    Bad("missing", lambda folder: (folder / IMAGE).unlink(), IMAGE_READERS, IMAGE,
        "no such file or folder. Did you mean"),
    Bad("empty", image_bytes(lambda _: b""), IMAGE_READERS, IMAGE, "is empty (0 bytes); copy or export it again"),
    Bad("no image", image_bytes(lambda _: b"hello"), IMAGE_READERS, IMAGE, "the name says gzip, the content is not"),
    Bad("truncated gzip", image_bytes(lambda content: content[:-2000]), IMAGE_READERS, IMAGE,
        "cannot be read as NIfTI"),
    Bad("checksum", image_bytes(lambda content: content[:-8] + bytes(8)), IMAGE_READERS, IMAGE, "CRC check failed"),
    Bad("10^12 voxels", huge, IMAGE_READERS, IMAGE, "claims 4,000,000,000,000 bytes of voxels, the file has"),
    Bad("negative size", header_bytes(42, b"\xff\xff"), IMAGE_READERS, IMAGE,
        "expected positive sizes in its header, got (-1,"),
    Bad("a folder", lambda folder: ((folder / IMAGE).unlink(), (folder / IMAGE).mkdir()), (FIT,), IMAGE,
        "Is a directory"),
    Bad("unknown format", text("a.jpg", "x"), ("segment MODEL a.jpg -o out",), "a.jpg",
        "expected .nii.gz, .nii, .mgz"),
    Bad("no DICOM", dicom_folder, ("segment MODEL series -o out",), "series",
        "expected DICOM images in this folder, found none"),
    Bad("its voxels elsewhere", text("a.nhdr", DETACHED), ("segment MODEL a.nhdr -o out",), "a.nhdr",
        "its voxels lie in another file, 'b.raw', which is missing"),
    Bad("a name too long", nothing, (f"doctor {LONG}", f"segment MODEL {LONG} -o out"), LONG, "File name too long"),
    # Voxels that are none.
    Bad("NaN", saved(IMAGE, voxels(np.nan)), IMAGE_READERS, IMAGE,
        "expected finite numbers, got 1 NaN or infinite voxels of 13,824"),
    Bad("infinite", saved(IMAGE, voxels(-np.inf)), IMAGE_READERS, IMAGE,
        "expected finite numbers, got 1 NaN or infinite"),
    Bad("beyond float32", saved(IMAGE, voxels(1e300, np.float64)), IMAGE_READERS, IMAGE,
        "expected finite numbers, got 1 NaN or infinite"),
    Bad("complex", saved(IMAGE, voxels(dtype=np.complex64)), IMAGE_READERS, IMAGE,
        "expected real numbers, got complex ones"),
    Bad("nothing to see", saved(IMAGE, np.ones(SHAPE, np.float32)), IMAGE_READERS, "s0",
        "every voxel is 1; there is nothing to see"),
    # Axes and channels.
    Bad("four axes", saved(IMAGE, voxels(shape=(*SHAPE, 2))), IMAGE_READERS, IMAGE,
        "expected three axes, got shape (24, 24, 24, 2); if the fourth"),
    Bad("other channels", saved(IMAGE, voxels(shape=(*SHAPE, 2))), (f"{FIT} --channels a,b,c",), IMAGE,
        "expected 3 channels (a, b, c), got 2"),
    Bad("channels apart", saved(IMAGE, voxels(), FAR),
        (f"segment TWO T1={IMAGE},T2=images/s1.nii.gz -o out",), "images/s1.nii.gz",
        "channel T2 lies on another grid"),
    Bad("channels swapped", nothing, ("segment TWO T2=images/s0.nii.gz,T1=images/s1.nii.gz -o out",), "s0",
        "the channels T1, T2, in this order, the scan has T2, T1"),
    Bad("channel missing", nothing, (f"segment TWO T1={IMAGE} -o out",), "s0",
        "made for the channels T1, T2, in this order, the scan has T1"),
    Bad("channel unnamed", nothing, (f"segment TWO {IMAGE} -o out",), "s0",
        "made for the channels T1, T2, in this order, the scan has image"),
    Bad("colour", picture("a.png", squares()), ("segment MODEL a.png -o out", "doctor a.png"), "a.png",
        "expected grey values, got colour in 2.78% of its pixels"),
    Bad("transparent", picture("a.png", np.dstack([squares(), GREY])),
        ("segment MODEL a.png -o out",), "a.png",
        "save it without an alpha channel"),
    # Grids.
    Bad("no volume", header_bytes(296, bytes(16)), IMAGE_READERS, IMAGE, "its header gives voxels no size or place"),
    Bad("NaN grid", header_bytes(280, np.full(4, np.nan, "<f4").tobytes()), IMAGE_READERS, IMAGE,
        "its header gives voxels no size or place"),
    Bad("other place", saved(LABELS, balls(), FAR), EVERY, LABELS,
        "mm apart at the corners); if it was drawn on this image, its header was lost on the way"),
    Bad("other direction", saved(LABELS, balls(), TURNED), EVERY, LABELS, "save it with the image's affine; if not"),
    Bad("other size", saved(LABELS, np.pad(balls(), ((0, 0), (0, 0), (0, 4)))), EVERY, LABELS,
        "(24, 24, 28) and its image s0 (24, 24, 24) lie on different grids (shapes differ); resample the"),
    # Label maps.
    Bad("no label map", lambda folder: (folder / LABELS).unlink(), (FIT,), LABELS,
        "no such file or folder. Did you mean"),
    Bad("no name", saved(LABELS, balls(_7=8)), EVERY, LABELS,
        "label value 8 has no name; the table knows 0, 3, 7, 9. Add it to the names file"),
    Bad("negative", saved(LABELS, balls(_7=-7)), EVERY, LABELS,
        "label value -7 has no name; the table knows 0, 3, 7, 9"),
    Bad("fractions", saved(LABELS, balls(np.float32, _7=6.5)), EVERY, LABELS,
        "expected integer label values, got 6.5 and 191 others like it"),
    Bad("NaN labels", saved(LABELS, balls(np.float32, _7=np.nan)), EVERY, LABELS,
        "expected integer label values, got NaN in 192 voxels; replace NaN by the background value"),
    Bad("beyond integers", saved(LABELS, balls(np.float64, _7=1e30)), EVERY, LABELS,
        "expected integer label values, got 1e+30"),
    Bad("the image instead", saved(LABELS, np.arange(24**3, dtype=np.int16).reshape(SHAPE)), (FIT_UNNAMED,), LABELS,
        "got 13,824 different values; is it the image?"),
    Bad("label channels", saved(LABELS, np.zeros((*SHAPE, 2), np.uint8)), EVERY, LABELS,
        "expected a label map with three axes, got shape (24, 24, 24, 2)"),
    Bad("label colours", picture("labels.png", squares()),
        PICTURES, "labels.png",
        "expected grey values, got colour in 2.78%"),
    Bad("swapped", nothing, (f"fit {LABELS} {IMAGE} -o m.safetensors",), IMAGE, "is it the image, or probabilities"),
    Bad("swapped, of few values", few_grey_values, (f"fit {LABELS} {IMAGE} --steps 2 -o m.safetensors",), "s0",
        "4 different values in its image, 256 in its label map; swapped?"),
    # An empty support.
    Bad("nothing annotated", saved(LABELS, balls(_3=0, _7=0, _9=0)), EVERY, "s0",
        "its label map is empty: no structure is annotated"),
    Bad("all ignored", saved(LABELS, np.full(SHAPE, 255, np.uint8)), (f"{FIT} --ignore-value 255",), "s0",
        "no voxel of its label map is known"),
    Bad("no such slice", nothing, (f"{FIT} --annotated-slice 24",), LABELS,
        "no slice 24 along axis 2 in a label map of shape (24, 24, 24); both count from 0"),
    Bad("empty slice", nothing, (f"{FIT} --annotated-slice 0",), "s0",
        "its label map is empty: no structure is annotated"),
    Bad("no rows", text("support.csv", "image,labels\n"), (CSV,), "support.csv",
        "expected one row for each scan below the headings, it has none"),
    Bad("row without labels", text("support.csv", f"image,labels\n{IMAGE},\n"), (CSV,), "s0",
        "expected a label map beside the image (in a CSV: column 'labels')"),
    Bad("a table that is none", text("support.csv", f"image,labels\n{'x' * 200_000},b\n"), (CSV,), "support.csv",
        "expected a CSV, could not read it (field larger than field limit"),
    Bad("a table in another encoding", lambda folder: (folder / "support.csv").write_bytes(b"image,labels\n\xfc,b\n"),
        (CSV,), "support.csv", "expected a CSV in UTF-8; save it as such (in Excel: CSV UTF-8)"),
    Bad("a folder for a table", lambda folder: (folder / "support.csv").mkdir(), (CSV,), "support.csv",
        "expected a CSV, could not read it (Is a directory)"),
    Bad("a scan named ..", text("support.csv", f"image,labels,name\n{IMAGE},{LABELS},..\n"),
        (CSV, "segment MODEL support.csv -o out --probabilities"), IMAGE, "'..' cannot name a scan"),
    Bad("an image too long", text("support.csv", f"image,labels\n{LONG},{LABELS}\n"),
        (CSV, "segment MODEL support.csv -o out"), LONG, "File name too long"),
    Bad("labels too long", text("support.csv", f"image,labels\n{IMAGE},{LONG}\n"), (CSV,), LONG,
        "File name too long"),
    Bad("no support at all", nothing, ("fit -o m.safetensors",), "IMAGE and LABELS", "no annotated scan"),
    # What slices are learned from.
    Bad("a structure missing", saved(LABELS, balls(_7=0)), (f"{ELNET} --unlabelled images",), "elnet",
        "nothing annotated shows right ball, so that could never be found; annotate a slice that does"),
    Bad("no background", saved(LABELS, np.maximum(balls(), 3)), (f"{ELNET} --unlabelled images",), "elnet",
        "nothing annotated is background, so there is nothing to tell structures from"),
    Bad("one structure alone", saved(LABELS, np.full(SHAPE, 3, np.int16)), (FIT, f"{MLDS} --unlabelled images"), "s0",
        "every voxel is left ball and none background"),
    Bad("no pool", nothing, (ELNET, MLDS), "cannot learn from this",
        "learns from slices without labels, too: give scans with --unlabelled"),
    Bad("a pool without slices", saved(LABELS, ignored_at_a_border()), (f"{ELNET} --ignore-value 255",), "elnet",
        "learns from slices without labels, too: give scans with --unlabelled"),
    Bad("a slice along another axis", nothing,
        (f"{ELNET} --annotated-slice 0:12", f"{MLDS} --annotated-slice 1:12 --unlabelled images"), "s0",
        "slices along axis 2, which are what is looked at, show a line of it each; annotate one along axis 2"),
    # Names.
    Bad("names missing", lambda folder: (folder / "names.txt").unlink(), EVERY, "names.txt",
        "no such file or folder"),
    Bad("names empty", text("names.txt", "# nothing\n"), EVERY, "names.txt", "in every line, or columns with"),
    Bad("name twice", text("names.txt", "3 ball\n7 ball\n9 other\n"), EVERY, "names.txt", "name ball occurs twice"),
    Bad("value twice", text("names.txt", "3 ball\n3 cube\n"), EVERY, "names.txt", "label value 3 has two names"),
    Bad("value beyond 64 bits", text("names.txt", f"{2**70} ball\n"), EVERY, "names.txt", "is beyond 64 bits"),
    Bad("control characters", text("names.txt", "3 ball\x1b[2J\n"), EVERY, "names.txt", "holds control characters"),
    Bad("half a letter", text("names.json", r'{"a\ud800": 3}'), EVERY_JSON, "names.json", "half a letter"),
    Bad("names without end", text("names.json", "[" * 100_000),
        EVERY_JSON, "names.json", "expected JSON such as"),
    Bad("a name without end", text("names.txt", f'3 "{"x" * 200_000}\n'), EVERY, "names.txt",
        "got a field larger than field limit"),
    Bad("a value without end", text("names.txt", f'{"9" * 5000} 255 0 0 1 1 1 "ball"\n'), EVERY, "names.txt",
        "expected an integer label value"),
]
# fmt: on


@pytest.fixture(scope="session")
def two_channel_model(tmp_path_factory):
    folder = write_ball_files(tmp_path_factory.mktemp("two"))
    images = folder / "images"
    words = [f"T1={images}/s0.nii.gz,T2={images}/s0.nii.gz", folder / "labels" / "s0.nii.gz", "--steps", "1"]
    done = Typed(["fit", *words, *TINY_WORDS, "-o", folder / "m.safetensors"])
    assert done.code == 0, done.err
    return folder / "m.safetensors"


def everything_in(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("bad", "command"),
    [pytest.param(bad, each, id=f"{bad.kind}-{each.split()[0]}") for bad in KINDS for each in bad.commands],
)
def test_bad_input_is_told_in_one_line(typed, folder, monkeypatch, model, two_channel_model, bad, command):
    monkeypatch.chdir(folder)
    picture("image.png", GREY)(folder)
    bad.damage(folder)
    before = everything_in(folder)
    models = {"MODEL": str(model), "TWO": str(two_channel_model)}
    done = typed(*[models.get(word, word) for word in command.split()])
    assert done.code == 2
    told = [line for line in (done.out + done.err).splitlines() if bad.says in line]
    assert any(bad.names in line for line in told), done.out + done.err
    assert done.err.splitlines()[-1].startswith("lowshot: error: ")
    assert "Traceback" not in done.out + done.err
    assert everything_in(folder) == before


WHOLE_BATCH = [bad for bad in KINDS if bad.kind in ("truncated gzip", "10^12 voxels", "NaN", "four axes", "no volume")]


@pytest.mark.parametrize("bad", WHOLE_BATCH, ids=lambda bad: bad.kind)
def test_one_bad_scan_does_not_stop_the_others_and_is_listed_at_the_end(typed, folder, monkeypatch, model, bad):
    monkeypatch.chdir(folder)
    bad.damage(folder)
    done = typed("segment", model, "images", "-o", "out")
    assert done.code == 3
    assert sorted(path.name for path in (folder / "out").glob("*.nii.gz")) == ["s1.nii.gz", "s2.nii.gz"]
    assert done.err.splitlines()[-1] == "lowshot: error: 1 of 3 scans were not segmented: s0"
    assert sum(bad.says in line for line in done.err.splitlines()) == 1
    assert "failed: " in done.out


UNUSUAL = {
    "smaller than the patch": saved(IMAGE, voxels(shape=(5, 4, 3))),
    "one slice": saved(IMAGE, voxels(shape=(24, 24, 24))[:, :, :1]),
    "a rod": saved(IMAGE, voxels(shape=(4, 4, 90))),
    "sheared": saved(IMAGE, voxels(), AFFINE @ np.array([[1, 0.1, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
    "turned": saved(IMAGE, voxels(), AFFINE[[2, 0, 1, 3]] * [[-1], [1], [-1], [1]]),
    "micrometres": saved(IMAGE, voxels(), AFFINE * 1e-3),
}


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_unusual_is_segmented_on_its_own_grid(typed, folder, monkeypatch, model, change):
    monkeypatch.chdir(folder)
    change(folder)
    done = typed("segment", model, IMAGE, "-o", "out")
    assert done.code == 0, done.err
    image, made = nibabel.load(IMAGE), nibabel.load("out/s0.nii.gz")
    assert made.shape == image.shape
    np.testing.assert_array_equal(made.affine, image.affine)


def test_a_picture_without_spacing_is_segmented_and_said_to_have_none(typed, folder, model):
    Image.fromarray(GREY).save(folder / "image.png")
    assert typed("segment", model, folder / "image.png", "-o", folder / "out").code == 0
    assert np.asarray(Image.open(folder / "out" / "image.png")).shape == GREY.shape
    done = typed("doctor", folder / "image.png")
    assert (done.code, "says nothing about millimetres" in done.out) == (0, True)


def test_an_annotated_scan_smaller_than_the_patch_is_learned_from(typed, folder, monkeypatch):
    monkeypatch.chdir(folder)
    saved(IMAGE, voxels()[:12, :12, :12])(folder)
    saved(LABELS, balls()[:12, :12, :12])(folder)
    done = typed(*FIT.split(), *TINY_WORDS)
    assert done.code == 0, done.err
