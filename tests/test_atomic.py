import os

import pytest

from lowshot.atomic import atomic_path
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


def test_a_folder_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="taken"), atomic_path(tmp_path / "taken") as temporary:
        temporary.write_text("text")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_file_in_place_of_the_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), atomic_path(tmp_path / "file" / "result") as temporary:
        temporary.write_text("text")
