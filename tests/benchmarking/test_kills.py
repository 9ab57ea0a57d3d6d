"""SIGKILL at any moment of ``bench``: the same command goes on, and ends with the same scores."""

import json
import random

import pytest

from ball_files import write_ball_files
from killing import commands, leftovers

KILLS = 12

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run():
    with commands("benchmarking.registered_balls", "lowshot.benchmarking.runner") as run:
        yield run


def scores(folder):
    records = [json.loads(line) for line in (folder / "balls" / "results.jsonl").read_text().splitlines()]
    return {(r["system"], r["seed"], case["case"]): case["scores"] for r in records for case in r["cases"]}


def test_killed_before_any_change_of_a_file_it_ends_with_the_same_scores(run, tmp_path):
    data = write_ball_files(tmp_path / "data")
    words = ["bench", "balls", "--data", data, "--device", "cpu", "--precision", "float32", "--threads", 1, "-o"]
    undisturbed = run(*words, tmp_path / "undisturbed")
    assert undisturbed.code == 0, undisturbed.err
    folder, moments = tmp_path / "killed", random.Random(0)
    for _ in range(KILLS):
        if not run(*words, folder, kill_at=(folder, moments.randint(1, 60))).killed:
            break
    ended = run(*words, folder)
    assert ended.code == 0, ended.err
    assert scores(folder) == scores(tmp_path / "undisturbed")
    assert len(scores(folder)) == 3 * 2
    assert leftovers(folder) == []


def test_a_record_that_is_there_is_whole(run, tmp_path):
    data, folder = write_ball_files(tmp_path / "data"), tmp_path / "bench"
    words = ["bench", "balls", "--data", data, "--methods", "unet", "--device", "cpu", "--precision", "float32"]
    for number in range(1, 200, 9):
        ended = run(*words, "--threads", 1, "-o", folder, kill_at=(folder, number))
        for path in [*folder.rglob("*.json"), *folder.rglob("results.jsonl")]:
            for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
                json.loads(line)
        if not ended.killed:
            return
    raise AssertionError("it never ended")
