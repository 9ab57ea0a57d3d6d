import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ball_files import TINY_WORDS, write_ball_files
from killing import commands
from lowshot.cli.app import app


class Typed:
    """What came of a command."""

    def __init__(self, words):
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="lowshot")
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def events(self):
        return [json.loads(line) for line in self.err.splitlines()]


@pytest.fixture
def typed():
    """Run a command in this process, as if its words had been typed."""
    return lambda *words: Typed(words)


@pytest.fixture(scope="module")
def run():
    """Run a command in a process of its own, which can be killed."""
    with commands() as run:
        yield run


def fit_words(folder: Path, model: Path, *more: object) -> list[object]:
    """Two steps, unless ``more`` says otherwise: of an option that is given twice the last one counts."""
    files = [folder / "images" / "s0.nii.gz", folder / "labels" / "s0.nii.gz", "--names", folder / "names.txt"]
    plain = ["--device", "cpu", "--precision", "float32", "--steps", "2", *TINY_WORDS]
    return ["fit", *files, *plain, "-o", model, *more]


@pytest.fixture
def folder(tmp_path):
    return write_ball_files(tmp_path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two scans, for commands that leave their input alone."""
    return write_ball_files(tmp_path_factory.mktemp("study"), count=2)


def same_weights(weights, others):
    """Whether two models have equal weights."""
    return weights.keys() == others.keys() and all(weights[name].equal(others[name]) for name in weights)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model that was fitted by the command line; it has seen two steps."""
    folder = write_ball_files(tmp_path_factory.mktemp("fitted"))
    done = Typed(fit_words(folder, folder / "balls.safetensors"))
    assert done.code == 0, done.err
    return folder / "balls.safetensors"
