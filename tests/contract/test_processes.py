"""What needs processes of its own: two that train together, and one where libraries are missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from contract.fakes import FAKES
from lowshot.catalogue import CATALOGUE

TESTS = Path(__file__).parents[1]


def run(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    command = [sys.executable, *map(str, arguments)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TESTS / "contract" / "pair.py", folder)
    return folder


@pytest.mark.parametrize("name", CATALOGUE | FAKES)
def test_two_processes_end_with_the_same_model(name, folder):
    first, second = (torch.load(folder / f"{name} {rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["header"] == second["header"]
    assert first["tensors"].keys() == second["tensors"].keys()
    assert all(torch.equal(values, second["tensors"][key]) for key, values in first["tensors"].items())


def test_methods_import_and_train_without_image_libraries():
    printed = run(TESTS / "contract" / "bare.py")
    assert printed.split("\n")[0] == " ".join(["imported", *CATALOGUE])
    assert printed.split("\n")[1:-1] == [f"fitted {name}" for name in CATALOGUE]
