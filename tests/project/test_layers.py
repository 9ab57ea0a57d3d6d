"""The import-linter contracts of pyproject.toml trip when a violation is planted in a copy of the source."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path) -> Path:
    """The source, and the contracts, in a folder of their own."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in ``folder``, in the place of the installed one."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "300"}
    command = [sys.executable, "-c", code, "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_the_contracts_hold_as_the_code_is(copy):
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("nn/planted.py", "import lowshot.methods.mre_net.method", "A module imports only what stands below it"),
        ("imaging/planted.py", "from lowshot.task import LowShotTask", "A module imports only what stands below it"),
        ("losses/planted.py", "def f():\n    import lowshot.nn.geometry", "A module imports only what stands below it"),
        ("utils.py", "", "A module imports only what stands below it"),
        ("methods/planted.py", "import lowshot.methods.mre_net.network", "Methods do not import each other"),
        ("methods/planted.py", "import lowshot.cli", "A module imports only what stands below it"),
        ("methods/planted.py", "def f():\n    import nibabel", "What learns is given scans"),
        ("nn/planted.py", "import lowshot.imaging.files", "What learns is given scans"),
        ("methods/planted.py", "import lowshot.evaluation.overlap", "What learns is given scans"),
        ("training/planted.py", "import rich", "What learns draws nothing"),
    ],
)
def test_a_planted_violation_is_refused(copy, path, line, broken):
    (copy / "src" / "lowshot" / path).write_text(f"{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    assert any(row.startswith(broken) and "BROKEN" in row for row in done.stdout.splitlines())
    assert Path(path).stem in done.stdout
