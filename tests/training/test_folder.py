import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lowshot.errors import OutputError, SettingsError, UnreadableFile
from lowshot.training.folder import LOCK, begin, finish, held, training_folder_of

REQUEST = {"method": "a", "settings": {"steps": 3, "strides": (1, 2)}, "seed": 0}


def stop_in_the_middle(folder):
    (folder / "checkpoints").mkdir(parents=True)
    for file in ("checkpoints/training.pt", "plan.json", "log.csv"):
        (folder / file).write_text("begun")


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return sorted(path.relative_to(folder).as_posix() for path in found)


HOLD = """
import sys
from pathlib import Path
from lowshot.training.folder import held
with held(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holds(folder):
    command = [sys.executable, "-c", HOLD, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "\n"
        yield process
        process.stdin.close()


def test_it_stands_beside_the_model():
    assert training_folder_of(Path("a/brain.v2.safetensors")) == Path("a/brain.v2.training")


def test_the_same_request_goes_on(tmp_path):
    begin(tmp_path / "t", REQUEST)
    stop_in_the_middle(tmp_path / "t")
    begin(tmp_path / "t", REQUEST)
    assert files(tmp_path / "t") == ["checkpoints/training.pt", "fit.json", "log.csv", "plan.json"]


def test_another_request_is_refused_and_says_in_what_it_differs(tmp_path):
    begin(tmp_path, REQUEST)
    stop_in_the_middle(tmp_path)
    other = {**REQUEST, "seed": 1, "settings": {"steps": 4, "strides": (1, 2)}}
    with pytest.raises(SettingsError, match=r"settings: steps was 3, is now 4; seed was 0, is now 1.*--restart"):
        begin(tmp_path, other)
    assert json.loads((tmp_path / "fit.json").read_text())["seed"] == 0


def test_restart_begins_anew(tmp_path):
    begin(tmp_path, REQUEST)
    stop_in_the_middle(tmp_path)
    (tmp_path / "notes.txt").write_text("the user's own")
    begin(tmp_path, {**REQUEST, "seed": 1}, restart=True)
    assert files(tmp_path) == ["fit.json", "notes.txt"]
    assert json.loads((tmp_path / "fit.json").read_text())["seed"] == 1


def test_a_finished_training_does_not_bind_the_next_one(tmp_path):
    begin(tmp_path, REQUEST)
    stop_in_the_middle(tmp_path)
    finish(tmp_path)
    assert files(tmp_path) == ["fit.json", "log.csv", "plan.json"]
    assert not (tmp_path / "checkpoints").exists()
    begin(tmp_path, {**REQUEST, "seed": 1})
    assert files(tmp_path) == ["fit.json"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    stop_in_the_middle(tmp_path)
    with pytest.raises(UnreadableFile, match=r"fit\.json"):
        begin(tmp_path, REQUEST)
    with pytest.raises(SettingsError, match="choose another"):
        begin(tmp_path, REQUEST, restart=True)
    assert "checkpoints/training.pt" in files(tmp_path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["fit.json", "plan.json", "log.csv"])
def test_files_of_somebody_else_that_are_called_alike_are_left_alone(name, restart, tmp_path):
    (tmp_path / name).write_text('{"date": "patient,comment"}')
    with pytest.raises(SettingsError, match=f"holds {name}, but of no training of lowshot's; choose another folder"):
        begin(tmp_path, REQUEST, restart=restart)
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == '{"date": "patient,comment"}'


def test_only_the_first_process_touches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    begin(tmp_path / "t", REQUEST)
    assert not (tmp_path / "t").exists()


def test_a_folder_that_another_process_holds_is_refused_until_it_ends(tmp_path):
    folder = tmp_path / "m.training"
    with another_process_holds(folder):
        with pytest.raises(SettingsError, match=r"m\.training is in use by another lowshot; wait .* name \(-o\)"):
            held(folder).__enter__()
        with held(tmp_path / "other.training"):
            pass
    with held(folder):
        pass


def test_a_process_that_is_killed_lets_go(tmp_path):
    with another_process_holds(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held(tmp_path):
            begin(tmp_path, REQUEST)
    assert files(tmp_path) == ["fit.json"]


def test_who_holds_a_folder_may_hold_it_again_under_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with held(tmp_path / "t"), held(Path("t")):
        pass
    with another_process_holds(tmp_path / "t"), pytest.raises(SettingsError):
        held(Path("t")).__enter__()


def test_further_processes_of_a_training_leave_the_lock_to_the_first(tmp_path, monkeypatch):
    with another_process_holds(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with held(tmp_path), held(tmp_path / "t"):
            assert not (tmp_path / "t").exists()


def test_a_folder_that_is_not_used_is_taken_away_again(tmp_path):
    with held(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert os.listdir(tmp_path) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "notes.txt").write_text("the user's own")
    assert files(tmp_path) == ["a/notes.txt"]
    with held(tmp_path / "a" / "b"):
        begin(tmp_path / "a" / "b", REQUEST)
    assert files(tmp_path) == ["a/b/fit.json", "a/notes.txt"]
    with held(None):
        pass


def test_where_no_folder_can_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/t: cannot be written: Not a directory\. Choose another place"):
        held(tmp_path / "file" / "t").__enter__()


def test_what_another_process_has_taken_over_is_not_finished(tmp_path):
    begin(tmp_path, REQUEST)
    stop_in_the_middle(tmp_path)
    with another_process_holds(tmp_path):
        finish(tmp_path)
    assert "checkpoints/training.pt" in files(tmp_path)
    finish(tmp_path)
    assert "checkpoints/training.pt" not in files(tmp_path)


def test_many_differences_are_counted(tmp_path):
    begin(tmp_path, REQUEST)
    stop_in_the_middle(tmp_path)
    with pytest.raises(SettingsError, match=r"d was not given, is now 1; and 2 more\. Ask"):
        begin(tmp_path, REQUEST | dict.fromkeys("abcdef", 1))
