"""Model files that a stranger made: refused in one sentence, without running anything or filling the memory."""

import copy
import json
import random
import struct
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from ball_files import TINY_WORDS, write_ball_files
from lowshot.cli.errors import ending
from lowshot.errors import ModelFileError
from lowshot.model_file import load

MUTANTS = 500


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The bytes of a model that ``lowshot fit`` wrote."""
    from typer.testing import CliRunner

    from lowshot.cli.app import app

    folder = write_ball_files(tmp_path_factory.mktemp("study"), count=1)
    files = [folder / "images" / "s0.nii.gz", folder / "labels" / "s0.nii.gz", "--names", folder / "names.txt"]
    plain = ["--device", "cpu", "--precision", "float32", "--steps", "1", *TINY_WORDS]
    done = CliRunner().invoke(app, [str(word) for word in ["fit", *files, *plain, "-o", folder / "m.safetensors"]])
    assert done.exit_code == 0, done.output
    return (folder / "m.safetensors").read_bytes()


def taken_apart(content):
    """The tables of a file (tensors and metadata), lowshot's own header in it, and the weights' bytes."""
    size = struct.unpack("<Q", content[:8])[0]
    outer = json.loads(content[8 : 8 + size])
    return outer, json.loads(outer["__metadata__"]["lowshot"]), content[8 + size :]


def put_together(outer, header, weights, size=None):
    text = header if isinstance(header, str) else json.dumps(header)
    outer = outer | {"__metadata__": {"lowshot": text}}
    table = json.dumps(outer).encode()
    return struct.pack("<Q", len(table) if size is None else size) + table + weights


def refused(path, content):
    """The one sentence with which a file is refused, having taken little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError) as caught:
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 50 * len(content) + 5_000_000
    finally:
        tracemalloc.stop()
    message, code = ending(caught.value)
    assert code == 2
    assert message.startswith(f"{path}: ")
    assert len(message) < len(str(path)) + 500
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize("size", [0, 1, 2**24, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_that_claims_any_size(original, path, size):
    outer, header, weights = taken_apart(original)
    refused(path, put_together(outer, header, weights, size))


def first_tensor(outer):
    return next(name for name in outer if name.endswith("weight"))


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [10**12, 10**12]},
        {"shape": [2**63]},
        {"shape": [2**62, 0], "data_offsets": [0, 0]},
        {"shape": [-1]},
        {"shape": [1.5]},
        {"shape": "all"},
        {"shape": []},
        {"dtype": "PICKLE"},
        {"dtype": "I8"},
        {"dtype": ["F32"]},
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [10**12, 10**12 + 4]},
        {"data_offsets": [-4, 0]},
        {"data_offsets": [4, 0]},
        {"data_offsets": [0, 4]},
        {"data_offsets": []},
    ],
)
def test_a_tensor_that_is_not_what_it_claims(original, path, entry):
    outer, header, weights = taken_apart(original)
    name = first_tensor(outer)
    refused(path, put_together(outer | {name: outer[name] | entry}, header, weights))


def test_tensors_that_share_their_bytes(original, path):
    outer, header, weights = taken_apart(original)
    refused(path, put_together(outer | {"another": outer[first_tensor(outer)]}, header, weights))


@pytest.mark.parametrize("dtype", ["I32", "U32"])
def test_weights_of_another_type(original, path, dtype):
    outer, header, weights = taken_apart(original)
    name = first_tensor(outer)
    told = refused(path, put_together(outer | {name: outer[name] | {"dtype": dtype}}, header, weights))
    assert f"{name}: expected torch.float32" in told


@pytest.mark.parametrize(
    "header",
    [
        "[" * 900 + "]" * 900,
        "[" * 1_000_000,
        '{"format":' * 5000,
        "[" + "[]," * 2_000_000 + "[]]",
        json.dumps({"format": [[[[1]]]]}),
        json.dumps({"format": "lowshot model 1" + "\x1b[2J" * 1000}),
        '{"format": 1' + "0" * 5000 + "}",
        "null",
        '"lowshot model 1"',
    ],
    ids=lambda header: header[:12],
)
def test_a_header_that_is_none(original, path, header):
    outer, _, weights = taken_apart(original)
    refused(path, put_together(outer, header, weights))


NESTED = json.loads("[" * 800 + "]" * 800)


def deep(keys, value):
    """A change of one value, found by its keys from the outermost table on."""

    def change(header):
        *way, last = keys
        table = header
        for key in way:
            table = table[key]
        table[last] = value

    return change


HUGE = 10**12
CHANGES = [
    *(deep(["method"], name) for name in ("os:system", "lowshot.cli.app:main", "../mre-net", "m" * 10**6, "", None, 1)),
    *(deep(["settings", "widths"], widths) for widths in ([10**9, 10**9], [HUGE] * 2, [4] * 10_000, 8, "48", None)),
    *(deep(["settings", "convolutions"], counts) for counts in ([10**9, 1], [1, 10**30], [-1, 1], [[1], 1])),
    *(deep(["settings", "embedding_size"], size) for size in (HUGE, 10**400, 1e30, float("nan"), NESTED)),
    *(deep(["settings", "modes"], modes) for modes in (10**9, 2**63, 0)),
    deep(["settings", "pyramid_rates"], [10**9] * 3),
    deep(["settings", "steps"], "\x1b]0;owned\x07"),
    deep(["settings", "__class__"], "os.system"),
    *(deep(["state", "names"], names) for names in (["a"], ["a", "b", "c", 4], ["a", "b", "c", "c"], "abcd", NESTED)),
    *(deep(["state", "names"], ["a", "b", "c", name]) for name in ("\x1b[2J", "liver\n", "a\0b", "\x9b31m")),
    *(deep(["state", "values"], [0, 1, 2, value]) for value in (2**63, 10**400, 1.5, "three", None, 2)),
    *(deep(["state", "channels"], channels) for channels in ([], ["T1", "T2"], "image", [1], {"image": 1}, None)),
    *(deep(["state", "preparation", "crop"], crop) for crop in ("everything", [0, 1, 1], ["a", 1, 1], [1.5, 2, 2])),
    *(deep(["state", "preparation", "spacing"], spacing) for spacing in ([0, 1, 1], [1], ["1 mm"] * 3, [1e999] * 3)),
    *(deep(["state", "preparation", "intensity"], kind) for kind in ("os:system", 3, None, ["zscore"])),
    deep(["state", "preparation"], []),
    deep(["state", "geometry"], {}),
    *(
        deep(["state", "geometry", "patch"], patch)
        for patch in ([2**20] * 3, [10**30] * 3, [0] * 3, [8, 8], "888", [8.5] * 3)
    ),
    *(deep(["state", "geometry", "strides"], s) for s in ([[0, 2, 2]], [[-2, 2, 2]], [[2, 2]], [], [[2, 2, 2]] * 9999)),
    *(deep(["state", "geometry", "dimensions"], dimensions) for dimensions in (0, 1, 4, "three", 10**30)),
    *(deep(["state", "geometry", "margin"], margin) for margin in ([10**9] * 3, [-1] * 3, None)),
    *(deep([key], value) for key in ("settings", "state", "provenance") for value in (None, [], "x", 3)),
    deep(["provenance", "seed"], float("nan")),
    deep(["provenance", "support"], 1e999),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_that_no_model_has(original, path, change):
    outer, header, weights = taken_apart(original)
    header = copy.deepcopy(header)
    change(header)
    refused(path, put_together(outer, header, weights))


def test_the_original_is_read(original, path):
    outer, header, weights = taken_apart(original)
    path.write_bytes(put_together(outer, header, weights))
    assert load(path).name == "mre-net"


@pytest.mark.parametrize("kind", ["zip", "script"])
def test_another_kind_of_file(path, kind):
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    else:
        path.write_text("#!/bin/sh\ntrue\n")
    refused(path, path.read_bytes())


def mutant(original, rng):
    """The file with some bytes of its header replaced, doubled or taken out."""
    size = struct.unpack("<Q", original[:8])[0]
    content = bytearray(original)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 5])):
        at = rng.randrange(8 + size)
        kind = rng.randrange(4)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1:
            content[at] = rng.choice(b'0123456789"[]{},:-.eE\\')
        elif kind == 2:
            del content[at]
        else:
            content.insert(at, rng.choice(b'0123456789"[]{},:-'))
    if rng.random() < 0.9:  # most mutants should come past the first check
        content[:8] = struct.pack("<Q", max(0, size + len(content) - len(original)))
    return bytes(content)


@pytest.mark.slow
def test_any_other_bytes_in_the_header_are_refused_or_make_no_difference(original, path, tmp_path):
    (tmp_path / "original.safetensors").write_bytes(original)
    expected = load_file(tmp_path / "original.safetensors")
    rng, told, read = random.Random(0), [], 0
    for _ in range(MUTANTS):
        content = mutant(original, rng)
        path.write_bytes(content)
        tracemalloc.start()
        try:
            model = load(path).model
        except ModelFileError as error:
            told.append(str(error))
        else:
            read += 1
            state = model.state().tensors
            assert all(torch.equal(state[name], value) for name, value in expected.items())
        finally:
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
            tracemalloc.stop()
    assert all(message.startswith(f"{path}: ") for message in told)
    assert len(told) > MUTANTS / 2
    assert read > MUTANTS / 100
