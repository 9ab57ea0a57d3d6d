import os

import pytest

from lowshot.cli.model_output import place_of_training, require_place
from lowshot.cli.terminal import Terminal
from lowshot.errors import ModelFileError, OutputError


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.safetensors").write_text("a model")
    return tmp_path / "m.safetensors"


def test_a_model_that_is_there_has_to_be_given_up(model):
    with pytest.raises(OutputError, match=r"m\.safetensors: a model is there already; add --overwrite to replace it"):
        require_place(model, False, Terminal())
    require_place(model, True, Terminal())
    require_place(model.with_name("other.safetensors"), False, Terminal())
    assert model.read_text() == "a model"


def test_a_place_where_no_model_can_be_written_is_refused(model):
    folder = model.parent
    (folder / "taken.safetensors").mkdir()
    with pytest.raises(OutputError, match=r"taken\.safetensors: a folder has this name"):
        require_place(folder / "taken.safetensors", True, Terminal())
    with pytest.raises(OutputError, match="is a file"):
        require_place(model / "m.safetensors", True, Terminal())
    with pytest.raises(ModelFileError, match=r"ending in \.safetensors"):
        require_place(folder, True, Terminal())


def test_further_processes_of_a_training_leave_it_to_the_first(model, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    require_place(model, False, Terminal())


def test_a_training_stands_beside_its_model_or_where_it_is_told_and_is_made_when_begun(tmp_path):
    for told, expected in ((None, tmp_path / "a" / "m.training"), (tmp_path / "t", tmp_path / "t")):
        with place_of_training(tmp_path / "a" / "m.safetensors", told, False, Terminal()) as folder:
            assert folder == expected
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "m.pt", "m"])
def test_the_name_is_judged_before_a_folder_is_made(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError), place_of_training(tmp_path.__class__(name), None, False, Terminal()):
        pass
    assert os.listdir(tmp_path) == []
