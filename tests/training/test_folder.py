import json
from pathlib import Path

import pytest

from lowshot.errors import SettingsError, UnreadableFile
from lowshot.training.folder import begin, finish, training_folder_of

REQUEST = {"method": "a", "settings": {"steps": 3, "strides": (1, 2)}, "seed": 0}


def stop_in_the_middle(folder):
    (folder / "checkpoints").mkdir(parents=True)
    for file in ("checkpoints/training.pt", "plan.json", "log.csv"):
        (folder / file).write_text("begun")


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


def test_only_the_first_process_touches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    begin(tmp_path / "t", REQUEST)
    assert not (tmp_path / "t").exists()
