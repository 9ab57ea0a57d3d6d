"""What answers at once imports nothing heavy. (That methods train without image libraries: tests/contract.)"""

import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@cache
def dependencies() -> dict[str, str]:
    """What pyproject.toml lists, by the name it is imported under: ``{"SimpleITK": "simpleitk", …}``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {Requirement(line).name.lower() for line in project["dependencies"]}
    owners = packages_distributions().items()
    return {name: owner.lower() for name, (owner, *_) in owners if owner.lower() in listed}


def loaded_by(statement: str) -> set[str]:
    """Which of our dependencies are in memory after a statement, in a process of its own."""
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    return {dependencies()[name] for name in done.stdout.split() if name in dependencies()}


def test_what_is_loaded_is_seen():
    assert loaded_by("import SimpleITK, safetensors") >= {"simpleitk", "safetensors"}


@pytest.mark.parametrize(
    ("statement", "needed"),
    [
        ("import lowshot", set()),
        ("import lowshot.protocols.registry", set()),
        ("from lowshot import catalogue; [catalogue.presets(name) for name in catalogue.CATALOGUE]", set()),
        ("import lowshot.cli.app", {"typer", "rich"}),
    ],
)
def test_what_answers_at_once_imports_nothing_heavy(statement, needed):
    assert loaded_by(statement) <= needed
