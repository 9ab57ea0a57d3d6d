"""A training's own files, when somebody else has put them there."""

import io
import os
import pickle
import random
import zipfile

import pytest
import torch

from lowshot.errors import OutputError, UnreadableFile
from lowshot.training.archive import read_archive, write_archive


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training.pt"


def with_pickle(path, content, **more):
    """An archive as PyTorch writes it, with other bytes in the place of its pickle."""
    buffer = io.BytesIO()
    torch.save({"step": 1}, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as changed:
        for entry in whole.infolist():
            data = content if entry.filename.endswith("data.pkl") else whole.read(entry)
            changed.writestr(entry.filename, data, **more)


def refused(path):
    with pytest.raises(UnreadableFile, match=r"training\.pt: expected a checkpoint, but it is damaged"):
        read_archive(path, "a checkpoint")


def test_the_way_to_disk_and_back(path):
    content = {"a": torch.arange(3), "b": [1, 2.5, "x", None], "c": {"d": (True,)}}
    write_archive(path, content)
    read = read_archive(path, "a checkpoint")
    assert torch.equal(read.pop("a"), content.pop("a"))
    assert read == content


class Trap:
    """Unpickling it leaves a trace."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_what_would_run_something_is_refused(path, tmp_path):
    trap = pickle.dumps(Trap(tmp_path / "trace"), protocol=2)
    path.write_bytes(trap)
    refused(path)
    with_pickle(path, trap)
    refused(path)
    assert not (tmp_path / "trace").exists()


PICKLES = {
    "a trillion bytes": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85R.",
    "nothing on the stack": b"\x80\x02.",
    "a memo that is not there": b"\x80\x02h\x07.",
    "an operation that is none": b"\x80\x02\xff.",
    "a tensor without a storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89NtR.",
    "no end": b"\x80\x02}",
    "half a number": b"\x80\x02J\x01",
    "half the length of a text": b"\x80\x02X\x01",
    "a storage without a name": b"\x80\x02K\x01Q.",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_nobody_wrote_in_good_faith_is_refused(path, kind):
    with_pickle(path, PICKLES[kind])
    refused(path)


@pytest.mark.parametrize("method", [1, 8, 12, 14, 99])
def test_an_entry_that_says_it_is_compressed_is_refused(path, method):
    """One byte is enough, in the directory that zipfile goes by."""
    write_archive(path, {"a": torch.arange(1000.0)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 10] = method
    path.write_bytes(content)
    refused(path)


def test_any_changed_byte_of_the_directory_is_refused_or_makes_no_difference(path):
    write_archive(path, {"a": torch.arange(50.0)})
    content = path.read_bytes()
    rng, told = random.Random(0), 0
    for at in range(content.index(b"PK\1\2"), len(content)):
        path.write_bytes(content[:at] + bytes([rng.choice([0, 1, 8, 255, rng.randrange(256)])]) + content[at + 1 :])
        try:
            read = read_archive(path, "a checkpoint")
        except UnreadableFile:
            told += 1
        else:
            assert torch.equal(read["a"], torch.arange(50.0))
    assert told > 100


def test_a_gpu_without_memory_is_not_the_fault_of_the_file(path, monkeypatch):
    def full(*words, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    write_archive(path, {"a": 1})
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        read_archive(path, "a checkpoint")


def test_what_unpacks_to_more_than_its_file_is_refused(path):
    with_pickle(path, b"\x80\x02" + b"0" * 10**7, compress_type=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(UnreadableFile, match="more than its size allows"):
        read_archive(path, "a checkpoint")


@pytest.mark.parametrize("room", [100, 10_000, 500_000])
def test_a_full_disk_is_told_as_one(path, room):
    resource = pytest.importorskip("resource")
    write_archive(path, {"old": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"training\.pt: cannot be written: File too large"):
            write_archive(path, {str(number): torch.zeros(100_000) for number in range(2)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_archive(path, "a checkpoint") == {"old": 1}
    assert [each.name for each in path.parent.iterdir()] == ["training.pt"]
