import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.pair import train_plain
from training.toy import same, toy_run

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, TESTS / "training" / "pair.py", folder]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout + finished.stderr == ""
    return folder


@pytest.fixture(scope="module")
def weights(folder):
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_all_processes_end_with_equal_weights_in_a_training_with_two_goals(weights):
    assert same(weights[0]["toy"], weights[1]["toy"])
    assert same(weights[0]["plain"], weights[1]["plain"])


def test_two_processes_are_one_with_twice_the_batch(weights):
    alone = train_plain(toy_run(None))
    assert alone["never"] == 1.0  # not even decayed, as no process uses it
    for name, values in alone.items():
        torch.testing.assert_close(weights[0]["plain"][name], values, rtol=1e-4, atol=1e-6)


def test_one_process_writes_for_all(folder):
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["plain.pt", "training.pt"]
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == ["training"] * 3 + ["plain"]
