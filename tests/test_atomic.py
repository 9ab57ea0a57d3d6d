import errno
import os
import tempfile
from pathlib import Path

import pytest

from lowshot.atomic import (
    appearing_together,
    atomic_path,
    remove_leftovers,
    require_writable_folder,
    stops_all_writing,
)
from lowshot.errors import OutputError


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new folder" / "result.nii.gz"
    with atomic_path(path) as temporary:
        temporary.write_text("done")
        assert temporary.name.endswith("result.nii.gz")
        assert not path.exists()
    assert path.read_text() == "done"
    assert os.listdir(path.parent) == ["result.nii.gz"]


def write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(interruption):
        write_half(path, interruption())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.csv"]


def test_a_full_disk_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"result\.csv: cannot be written: No space left"):
        write_half(tmp_path / "result.csv", OSError(28, "No space left on device"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "stops"),
    [(errno.ENOSPC, True), (errno.EACCES, True), (errno.ENAMETOOLONG, False), (errno.EISDIR, False)],
)
def test_a_full_disk_stops_all_writing_but_a_bad_name_only_its_own(tmp_path, number, stops):
    with pytest.raises(OutputError) as refused:
        write_half(tmp_path / "result.csv", OSError(number, os.strerror(number)))
    assert stops_all_writing(refused.value) is stops


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "Free some space or choose another place"),
        (errno.EDQUOT, "Free some space or choose another place"),
        (errno.ENAMETOOLONG, "Shorten the name of the scan or choose another place"),
        (errno.EACCES, "Permit writing there or choose another place"),
        (errno.EROFS, "Choose another place"),
        (errno.EISDIR, "Choose another place"),
    ],
)
def test_what_to_do_is_said_of_the_true_cause(tmp_path, monkeypatch, number, mend):
    with pytest.raises(OutputError) as refused:
        write_half(tmp_path / "result.csv", OSError(number, os.strerror(number)))
    expected = f"cannot be written: {os.strerror(number)}. {mend}"
    assert str(refused.value) == f"{tmp_path}/result.csv: {expected}"

    def refuse(**where):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError) as refused:
        require_writable_folder(tmp_path / "new" / "results")
    assert str(refused.value) == f"{tmp_path}/new/results: {expected}"


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    require_writable_folder(tmp_path / "there")
    require_writable_folder(tmp_path / "new" / "results")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_file_in_place_of_a_folder_for_results_is_refused(tmp_path):
    (tmp_path / "names.txt").write_text("1 liver")
    with pytest.raises(OutputError, match=r"names\.txt: expected a folder for results, this is a file"):
        require_writable_folder(tmp_path / "names.txt")
    with pytest.raises(OutputError, match=r"txt/a/b: expected a folder for results, .*names\.txt is a file"):
        require_writable_folder(tmp_path / "names.txt" / "a" / "b")


def test_what_is_no_refusal_of_the_system_stops_no_writing():
    assert not stops_all_writing(OutputError("a.png: PNG holds one slice"))
    assert not stops_all_writing(ValueError("no file was written"))


def test_a_folder_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="taken"), atomic_path(tmp_path / "taken") as temporary:
        temporary.write_text("text")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_file_in_place_of_the_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), atomic_path(tmp_path / "file" / "result") as temporary:
        temporary.write_text("text")


def write(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def shown(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_of_a_group_appear_together(tmp_path):
    with appearing_together():
        write(tmp_path / "a", "1")
        write(tmp_path / "b", "2")
        assert [path.name[:6] for path in tmp_path.iterdir()] == [".part-"] * 2
    assert shown(tmp_path) == {"a": "1", "b": "2"}


def write_two_then_fail(folder, error):
    with appearing_together():
        write(folder / "a", "new")
        write(folder / "b", "new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_group_that_fails_changes_nothing(tmp_path, error):
    write(tmp_path / "b", "old")
    with pytest.raises(error):
        write_two_then_fail(tmp_path, error())
    assert shown(tmp_path) == {"b": "old"}
    write(tmp_path / "b", "alone")  # the next file is in no group
    assert shown(tmp_path) == {"b": "alone"}


def test_one_file_of_a_group_that_fails_takes_only_itself_along(tmp_path):
    with appearing_together():
        with pytest.raises(ValueError, match="bad"):
            write_half(tmp_path / "a", ValueError("bad"))
        write(tmp_path / "b", "2")
    assert shown(tmp_path) == {"b": "2"}


def test_the_last_of_a_group_is_there_only_with_the_others(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path / name, "old")
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append({name: text for name, text in shown(tmp_path).items() if len(name) == 1})
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with appearing_together():
        for name in "abc":
            write(tmp_path / name, "new")
    assert seen == [{"a": "old", "b": "old"}, {"a": "new", "b": "old"}, {"a": "new", "b": "new"}]
    assert shown(tmp_path) == dict.fromkeys("abc", "new")


def test_which_one_is_the_last_can_be_told(tmp_path, monkeypatch):
    seen, rename = [], os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append(Path(names[1]).name), rename(*names)))
    with appearing_together(last=tmp_path / "a") as written:
        for name in "abc":
            write(tmp_path / name, name)
        assert {path.name: temporary.read_text() for path, temporary in written.items()} == {n: n for n in "abc"}
    assert seen == ["b", "c", "a"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, replace, fsync = [], os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("flushed"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("named"), replace(*paths)))
    write(tmp_path / "a", "text")
    assert done == ["flushed", "named"]


def test_leftovers_of_one_file_are_removed_and_nothing_else(tmp_path):
    names = [".part-ffffffcd-a[1].pt", ".part-ffffffcd-b-a[1].pt", ".part-ffffffcd-a1.pt", "a[1].pt", ".part-notes"]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a[1].pt")
    remove_leftovers(tmp_path / "no folder" / "a")
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def test_what_another_process_is_writing_stays(tmp_path):
    own, another, dead = (f"{number:06x}00" for number in (os.getpid(), os.getppid(), 0xFFFFFF))
    for process in (own, another, dead):
        (tmp_path / f".part-{process}-a.pt").touch()
    remove_leftovers(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == [f".part-{another}-a.pt"]
    with atomic_path(tmp_path / "b.pt") as temporary:
        temporary.touch()
        assert temporary.name.startswith(f".part-{own[:6]}")
