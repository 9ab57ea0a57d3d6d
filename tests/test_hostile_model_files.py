"""Model files that a stranger made: refused in one sentence, without running anything or filling the memory."""

import copy
import json
import os
import random
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ball_files import TINY_WORDS, write_ball_files
from lowshot.cli.app import app
from lowshot.model_file import load

MUTANTS = 500
MEMORY_RAN_OUT = re.compile(r"MemoryError|can(no|')t allocate|bad_alloc", re.IGNORECASE)


PLAIN = ["--device", "cpu", "--precision", "float32"]


def typed(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a scan, and of a model that ``lowshot fit`` made of it."""
    folder = write_ball_files(tmp_path_factory.mktemp("study"), count=1)
    files = [folder / "images" / "s0.nii.gz", folder / "labels" / "s0.nii.gz", "--names", folder / "names.txt"]
    done = typed("fit", *files, *PLAIN, "--steps", 1, *TINY_WORDS, "-o", folder / "m.safetensors")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def original(study):
    """The bytes of the model."""
    return (study / "m.safetensors").read_bytes()


class Reader:
    """A process that reads any number of files, with little memory beyond what the libraries take."""

    def __init__(self, sound):
        self._sound, self._process = sound, None

    def outcome(self, path):
        """What came of a file; a process that dies of it is replaced."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("model_reading_process.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # One heap for all threads: each one's own would reserve 64 MB of the little that is allowed.
                env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
            )
            assert self._answer(self._sound) == "ready\n"
        line = self._answer(path)
        return json.loads(line) if line else {"outcome": "died", "message": f"exit code {self._process.wait()}"}

    def _answer(self, path):
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self):
        if self._process is not None:
            with self._process:  # it ends with its input
                pass


@pytest.fixture(scope="module")
def reader(study):
    reader = Reader(study / "m.safetensors")
    yield reader
    reader.close()


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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


@pytest.fixture
def outcome(reader, path):
    """What came of the bytes of a file: refused in one sentence or read, but never having taken much memory."""

    def outcome(content, zeros=0):
        path.write_bytes(content)
        os.truncate(path, len(content) + zeros)  # which take no place on the disk
        found = reader.outcome(path)
        assert found["outcome"] in ("read", "refused"), found
        assert not found["stderr"]
        if found["outcome"] == "refused":
            message, causes = found["message"], " ".join(found["causes"])
            assert not MEMORY_RAN_OUT.search(causes), causes
            assert message.startswith(f"{path}: ")
            assert len(message) < len(str(path)) + 500
            assert message.isprintable()
        return found

    return outcome


@pytest.fixture
def refused(outcome, path):
    """The one sentence with which the bytes of a file are refused."""

    def refused(content):
        found = outcome(content)
        assert found["outcome"] == "refused"
        return found["message"].removeprefix(f"{path}: ")

    return refused


def test_the_process_that_reads_would_notice_a_file_that_fills_the_memory(original, outcome):
    outer, header, weights = taken_apart(original)
    size = 200 * 2**20
    large = {"dtype": "F32", "shape": [size // 4], "data_offsets": [len(weights), len(weights) + size]}
    with pytest.raises(AssertionError, match=MEMORY_RAN_OUT):
        outcome(put_together(outer | {"large": large}, header, weights), zeros=size)


@pytest.mark.parametrize("size", [0, 1, 2**24, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_that_claims_any_size(original, refused, size):
    outer, header, weights = taken_apart(original)
    refused(put_together(outer, header, weights, size))


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
def test_a_tensor_that_is_not_what_it_claims(original, refused, entry):
    outer, header, weights = taken_apart(original)
    name = first_tensor(outer)
    refused(put_together(outer | {name: outer[name] | entry}, header, weights))


def test_tensors_that_share_their_bytes(original, refused):
    outer, header, weights = taken_apart(original)
    refused(put_together(outer | {"another": outer[first_tensor(outer)]}, header, weights))


@pytest.mark.parametrize("dtype", ["I32", "U32"])
def test_weights_of_another_type(original, refused, dtype):
    outer, header, weights = taken_apart(original)
    name = first_tensor(outer)
    told = refused(put_together(outer | {name: outer[name] | {"dtype": dtype}}, header, weights))
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
def test_a_header_that_is_none(original, refused, header):
    outer, _, weights = taken_apart(original)
    refused(put_together(outer, header, weights))


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
    *(deep(["state", "channels"], [name]) for name in ("im\x1b[2Jage\nX", "\x9b31m", "T1\0", "\ud800")),
    deep(["state", "names"], ["a", "b", "c", "\ud800x"]),
    deep(["provenance", "seed"], float("nan")),
    deep(["provenance", "seed"], NESTED),
    deep(["provenance", "seed"], json.loads("[" * 25 + "]" * 25)),
    deep(["provenance", "support"], 1e999),
    *(deep(["provenance", "plan"], plan) for plan in (None, [], "x", 3)),
    *(deep(["provenance", "plan", "stages"], stages) for stages in (None, [1], "x", {"training": 1}, {"training": {}})),
    *(
        deep(["provenance", "plan", "stages", "training", "steps"], steps)
        for steps in ("x", None, [1], 1.5, True, -1, 10**4000)
    ),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_that_no_model_has(original, refused, change):
    outer, header, weights = taken_apart(original)
    header = copy.deepcopy(header)
    change(header)
    refused(put_together(outer, header, weights))


def test_the_original_is_read(original, outcome, path):
    assert outcome(put_together(*taken_apart(original)))["outcome"] == "read"
    assert load(path).name == "mre-net"


ACCEPTED = [
    *(
        deep(["provenance", key], value)
        for key in ("preset", "seed", "support", "date", "versions")
        for value in (None, {}, "\x1b[2J\ud800", [[1]], 10**4000)
    ),
    deep(["provenance", "support"], json.loads("[" * 19 + "]" * 19)),
    lambda header: header["provenance"].clear(),
    lambda header: header["provenance"]["plan"].clear(),
    deep(["provenance", "plan", "stages"], {}),
    deep(["provenance", "plan", "stages", "training"], {"steps": 2**62, "share": "x"}),
    deep(["state", "channels"], ["a" * 100]),
    deep(["state", "names"], ["a", "b", "c", "[red]\u202ed" * 100]),
]


@pytest.mark.parametrize("change", ACCEPTED)
def test_what_is_accepted_does_no_harm_when_a_scan_is_segmented(original, study, outcome, path, change):
    outer, header, weights = taken_apart(original)
    change(header)
    assert outcome(put_together(outer, header, weights))["outcome"] == "read"
    scan = study / "images" / "s0.nii.gz"
    word = f"{header['state']['channels'][0]}={scan}"
    done = typed("segment", path, word, "-o", path.parent / "out", *PLAIN)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert json.loads((path.parent / "out" / "s0.json").read_text())["model"]["sha256"]


@pytest.mark.parametrize("kind", ["zip", "script"])
def test_another_kind_of_file(refused, path, kind):
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    else:
        path.write_text("#!/bin/sh\ntrue\n")
    refused(path.read_bytes())


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
def test_any_other_bytes_in_the_header_are_refused_or_make_no_difference(original, outcome):
    rng = random.Random(0)
    expected = outcome(original)
    found = [outcome(mutant(original, rng)) for _ in range(MUTANTS)]
    read = [each for each in found if each["outcome"] == "read"]
    assert all(each == expected for each in read)
    assert len(found) - len(read) > MUTANTS / 2
    assert len(read) > MUTANTS / 100
