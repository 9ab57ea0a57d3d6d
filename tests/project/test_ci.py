"""``.ci/run`` with a Makefile whose steps do nothing, or fail."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = {".venv/installed": "true", "check": "true", "test": "echo 12 passed"}


def ci(folder: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """The outcome in an empty repository with these recipes for the targets of the Makefile."""
    recipes = STEPS | changed
    (folder / "Makefile").write_text("".join(f"{target}:\n\t{recipe}\n" for target, recipe in recipes.items()))
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return subprocess.run(["bash", ".ci/run"], cwd=folder, text=True, capture_output=True, check=False)


def test_it_passes_when_every_step_does_and_says_how_long_each_took(tmp_path):
    done = ci(tmp_path)
    assert done.returncode == 0
    assert "== tests: passed in " in done.stdout
    assert "12 passed" in done.stdout
    assert "== 0 of 4 steps failed" in done.stdout


@pytest.mark.parametrize(
    ("target", "recipe", "step"),
    [
        ("check", "exit 3", "checks"),
        ("test", "kill -9 $$$$", "tests"),
        ("test", "touch forgotten", "nothing left behind"),
    ],
)
def test_it_fails_when_one_step_does_and_still_runs_the_others(tmp_path, target, recipe, step):
    done = ci(tmp_path, **{target: recipe})
    assert done.returncode == 1
    assert f"== 1 of 4 steps failed: {step}, " in done.stdout
    assert done.stdout.count("== ") == 9
