"""How ``lowshot`` starts and ends."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from effort import smoothings
from lowshot.cli import app
from lowshot.cli.errors import DEBUG, ending, reported
from lowshot.errors import InputError, SomeScansFailed
from lowshot.training.interruption import Stopped

LONGEST_START = 60
"""In smoothings, of which a server's core does a hundred in a second."""


@pytest.mark.parametrize("words", [["--help"], ["methods"]])
def test_help_comes_at_once(words):
    run = partial(subprocess.run, [sys.executable, "-m", "lowshot", *words], check=True, capture_output=True)
    assert min(smoothings(run) for _ in range(3)) < LONGEST_START


@pytest.mark.parametrize("words", [["--help"], ["methods"], ["methods", "--json"], ["--version"]])
def test_help_and_lists_import_no_torch(words):
    code = f"""
import sys
sys.argv = ["lowshot", *{words}]
from lowshot.cli.app import main
try:
    main()
except SystemExit as end:
    sys.exit(bool(end.code) or "torch" in sys.modules or "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_explains_itself_with_an_example_or_a_sentence(typed):
    listed = typed("--help")
    for command in ("fit", "segment", "evaluate", "demo", "methods", "doctor"):
        assert command in listed.out
        assert typed(command, "--help").code == 0


def test_version(typed):
    assert typed("--version").out.startswith("lowshot ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fitt"], "Did you mean 'fit'?"),
        (["fit", "--minuts", "3"], "--minutes"),
        (["segment", "m.safetensors"], "SCANS"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(typed, words, message):
    done = typed(*words)
    assert done.code == 2
    assert message.lower() in done.err.lower()


def ended(error, *words):
    """Exit code and standard error of a command that raises."""

    def command(as_json: bool = typer.Option(False, "--json")) -> None:
        raise error

    app = typer.Typer()
    app.command()(reported(command))
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stderr.strip()


MEND = "correct the path, or permit it"
A_BUG = f"This is a bug: run it again with {DEBUG}=1 and report what it prints"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("a.nii: bad"), 2, "lowshot: error: a.nii: bad"),
        (SomeScansFailed("1 of 2"), 3, "lowshot: error: 1 of 2"),
        (KeyboardInterrupt(), 130, "lowshot: stopped: by Ctrl-C"),
        (Stopped("training: after step 3", 143), 143, "lowshot: stopped: training: after step 3"),
        (InputError("a\x1b[2J.nii:\nbad \ud800 \x9b"), 2, "lowshot: error: a?[2J.nii: bad ? ?"),
        (ValueError("\x1b[2J"), 1, f"lowshot: error: internal error: ValueError: ?[2J. {A_BUG}"),
        (OSError(36, "Name too long", "aaa"), 2, f"lowshot: error: aaa: cannot be used: Name too long; {MEND}"),
        (PermissionError(13, "Not permitted", "a/b"), 2, f"lowshot: error: a/b: cannot be used: Not permitted; {MEND}"),
        (MemoryError(), 1, "lowshot: error: not enough memory; close other programs, or use smaller scans or settings"),
    ],
)
def test_every_error_is_one_line_and_the_exit_code_of_its_class(error, code, message):
    assert ended(error) == (code, message)


def test_a_defect_asks_to_be_reported_and_shows_its_traceback_only_when_asked(monkeypatch):
    code, message = ended(ZeroDivisionError("division by zero\nsecond line"))
    assert code == 1
    assert message.startswith("lowshot: error: internal error: ZeroDivisionError: division by zero. This is a bug")
    assert "Traceback" not in message
    monkeypatch.setenv(DEBUG, "1")
    assert "Traceback" in ended(ZeroDivisionError("division by zero"))[1]


def test_programs_get_errors_as_json():
    code, message = ended(InputError("a.nii: bad"), "--json")
    assert json.loads(message) == {"event": "error", "message": "a.nii: bad", "exit_code": code}


def test_a_gpu_without_memory_is_no_defect():
    assert ending(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))[0].startswith("not enough memory")


def test_the_module_runs_as_torchrun_needs_it(tmp_path):
    command = [sys.executable, "-m", "lowshot", "segment", str(tmp_path / "m.safetensors"), "a.nii", "-o", "out"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lowshot: error: {tmp_path}/m.safetensors: no such model file\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_that_wait_leave_the_processor_to_others_unless_told_otherwise(monkeypatch, given, expected):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app, "app", lambda prog_name: None)
    app.main()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
