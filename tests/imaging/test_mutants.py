"""Damaged files give a clear error or a right result: no traceback, crash, hang, chatter or absurd memory."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from imaging import reading_process
from imaging.mutants import CHANGES, Original, line, mutants, number
from imaging.originals import originals
from imaging.tiff_files import Page, tiff

ENOUGH = 0.05
"""Part of the mutants that has to be refused, and to be read: else the damage is too great or too small."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("originals"))


def outcomes(sound, damaged, folder, process=reading_process.__file__):
    """What came of each path of ``damaged``, by processes that are replaced when they die."""
    first = "\t".join(str(original.write(folder / f"sound-{n}")) for n, original in enumerate(sound))
    found = []
    while len(found) < len(damaged):
        done = subprocess.run(
            [sys.executable, str(process)],
            input="\n".join([first, *map(str, damaged[len(found) :])]),
            capture_output=True,
            text=True,
            check=False,
            # One heap for all threads: each one's own would reserve 64 MB of the little that is allowed.
            env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
        )
        lines = done.stdout.splitlines()
        if not lines:
            raise RuntimeError(f"the sound files cannot be read: {done.stderr}")
        found += [json.loads(each) for each in lines[1:]]
        if len(found) < len(damaged):
            found.append({"outcome": "died", "message": f"exit code {done.returncode}"})
    return found


def fault(outcome, path):
    """What is wrong with how a damaged file was treated; None if nothing is."""
    message, causes = outcome.get("message", ""), " ".join(outcome.get("causes", []))
    if outcome["outcome"] in ("died", "defect"):
        return f"{outcome['outcome']}: {message}"
    if outcome["stderr"]:
        return f"a library talks: {outcome['stderr'][:200]}"
    if outcome["outcome"] == "refused":
        if "MemoryError" in causes or "allocat" in causes:
            return f"memory was taken for what the file cannot hold: {causes}"
        if not message.startswith(str(path)) and not message.startswith(str(path.parent)):
            return f"the message does not begin with the file: {message}"
        if "\n" in message or len(message) > 600 + len(str(path)):
            return f"the message is not one line: {message}"
    return None


def faults(sound, count, folder, seed=0):
    """A description of every fault, and how many mutants came to what."""
    made = list(mutants(sound, count, seed))
    paths = [each.original.write(folder / f"{k:04d}", each.content) for k, each in enumerate(made)]
    found = outcomes(sound, paths, folder)
    wrong = []
    for mutant, path, outcome in zip(made, paths, found, strict=True):
        what = fault(outcome, path)
        if what is not None:
            wrong.append(f"{path.relative_to(folder)} of {mutant.original.name} ({', '.join(mutant.changes)}): {what}")
    return wrong, Counter(outcome["outcome"] for outcome in found)


def test_damaged_files_are_refused_or_read(sound, tmp_path):
    wrong, counts = faults(sound, 100, tmp_path)
    assert not wrong
    assert min(counts["refused"], counts["read"]) >= ENOUGH * 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_two_thousand_damaged_files_are_refused_or_read(sound, tmp_path, seed):
    wrong, counts = faults(sound, 1000, tmp_path, seed)
    assert not wrong
    assert min(counts["refused"], counts["read"]) >= ENOUGH * 1000


def test_mutants_come_from_their_seed_and_number(sound):
    one, again = list(mutants(sound, 40, seed=5)), list(mutants(sound, 40, seed=5))
    assert [each.content for each in one] == [each.content for each in again]
    assert [each.content for each in one] != [each.content for each in mutants(sound, 40, seed=6)]
    assert one[-1].content == list(mutants(sound, 40, seed=5))[-1].content


def test_every_original_is_changed_in_every_way(sound):
    made = list(mutants(sound, 2000))
    assert {each.original.name for each in made} == {original.name for original in sound}
    assert {change for each in made for change in each.changes} == {each.__name__ for each in (*CHANGES, number, line)}
    assert sum(each.content == each.original.content for each in made) < 0.05 * len(made)


HEADER = (
    "ObjectType = Image\n{}DimSize = 1 1 1\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)
ONCE = {
    "line.nrrd": b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: " + b"A" * 2000 + b"\n\n" + bytes(60),
    "voxels.nrrd": b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30 40 50\nencoding: raw\n" + b"\1" * 60_000,
    "loop.tif": tiff([Page(), Page()], back=True),
    "channels.mha": HEADER.format("NDims = 3\nElementNumberOfChannels = 400000000\n").encode(),
    "axes.mha": b"NRRD = x\n" + HEADER.format("NDims = 2147483647\n").encode(),
    "letters.mha": HEADER.format("NDims = 2147483647\nndims = 3\n").encode(),
    "eleven.mha": HEADER.replace("1 1 1", "1" + 10 * " 1").format("NDims = 11\n").encode(),
}
"""What brought the process down, never ended, took a gigabyte, or made a library talk."""

SOUND = {
    ".nrrd": b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 1\nencoding: raw\n\n1",
    ".mha": HEADER.format("NDims = 3\n").encode() + b"1",
    ".tif": tiff([Page()]),
}


@pytest.mark.parametrize("name", ONCE)
def test_what_once_brought_the_process_down_is_refused(tmp_path, name):
    """In a process of its own: what is wrong again shall not end the tests."""
    (tmp_path / name).write_bytes(ONCE[name])
    sound = Original(f"sound{Path(name).suffix}", SOUND[Path(name).suffix], 0)
    (outcome,) = outcomes([sound], [tmp_path / name], tmp_path)
    assert fault(outcome, tmp_path / name) is None
    assert outcome["outcome"] == "refused"


MISBEHAVIOUR = {
    "crash": "import os; os.abort()",
    "endless": "while True: pass",
    "hang": "import time; time.sleep(600)",
    "traceback": "raise ZeroDivisionError('division by zero')",
    "chatter": "import os; os.write(2, b'libpng warning')",
    "memory": "import numpy; numpy.ones(10**9)",
}


@pytest.mark.parametrize(
    ("misbehaviour", "message"),
    [
        ("crash", "died: exit code -6"),
        ("endless", "died: exit code -27"),
        ("hang", "died: exit code -14"),
        ("traceback", "defect: ZeroDivisionError"),
        ("chatter", "a library talks: libpng warning"),
        ("memory", "defect: MemoryError|defect: _ArrayMemoryError"),
    ],
)
def test_every_misbehaviour_is_noticed(tmp_path, misbehaviour, message):
    """The process that reads is given a reader that misbehaves on one file, and goes on with the next."""
    (tmp_path / "process.py").write_text(
        f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from imaging import reading_process
def read(path):
    if path.name == "bad":
        {MISBEHAVIOUR[misbehaviour]}
    return (1,)
reading_process.read, reading_process.LONGEST_CPU_SECONDS = read, 1
reading_process.LONGEST_SECONDS = {2 if misbehaviour == "hang" else 200}
reading_process.main()
"""
    )
    path = tmp_path / "bad"
    found = outcomes([Original("sound", b"", 0)], [path, tmp_path / "good"], tmp_path, process=tmp_path / "process.py")
    assert re.match(message, fault(found[0], path))
    assert fault(found[1], tmp_path / "good") is None
