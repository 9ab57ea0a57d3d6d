"""Cells on two workers, one of which is killed in the middle."""

import statistics
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

pytest.importorskip("ray")

from ball_files import write_ball_files
from benchmarking.balls import BALLS, HOW, bench
from listening import Listening
from lowshot.benchmarking.results import read_results
from lowshot.cluster import Cluster
from lowshot.protocols.protocol import System
from ray_workers import one_killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of the processes and sockets that it leaves to the system
]
TWO = Cluster(workers=2)
BORROWED = System(method="unet", model_of="unet")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"))


def scores(records):
    return {(r["system"], r["seed"], case["case"]): case["scores"] for r in records for case in r["cases"]}


def test_a_worker_that_is_killed_in_the_middle_changes_no_result(data, tmp_path):
    how, root = replace(HOW, steps=40), tmp_path / "cluster"
    with one_killed(lambda: len(list(root.glob("cells/*/*/*/training/log.csv"))) > 1) as killed:
        records, failed = bench(data, root, how=how, cluster=TWO)
    assert killed
    assert failed == []
    alone, _ = bench(data, tmp_path / "alone", how=how)
    assert scores(records) == scores(alone)
    lines = Counter((r["system"], r["seed"]) for r in read_results(root / "results.jsonl"))
    assert lines == {("mre-net", 0): 1, ("mre-net", 1): 1, ("unet", 0): 1}


@pytest.fixture(scope="module")
def rows(data, tmp_path_factory):
    """Folder, records and failures of a row, one that borrows its model, and one that cannot train."""
    root = tmp_path_factory.mktemp("rows")
    broken = System(method="unet", settings={"widths": (8, 16), "batch": 10**9})
    systems = {"unet": BALLS.systems["unet"], "borrowed": BORROWED, "broken": broken}
    return root, *bench(data, root, replace(BALLS, systems=systems, reference="unet"), cluster=TWO)


def test_a_row_that_borrows_a_model_is_not_trained_beside_the_row_that_it_borrows_from(rows):
    root, records, _ = rows
    assert sorted(record["system"] for record in records) == ["borrowed", "unet"]
    assert len(list(root.glob("cells/**/model.safetensors"))) == 1


def test_a_cell_that_fails_is_told_and_the_others_are_computed(rows):
    root, records, failed = rows
    assert len(records) == 2
    [failure] = failed
    assert failure.startswith("broken, s0, seed 0: ")
    assert "cell: broken" in next(root.glob("logs/broken*.txt")).read_text()


class Ends(Listening):
    """Notes when cells end."""

    def __init__(self):
        super().__init__()
        self.times = []

    def note(self, message):
        super().note(message)
        if message.startswith("ended"):
            self.times.append(time.perf_counter())


def test_a_cell_that_computes_nothing_costs_less_than_a_second_on_a_warm_worker(data, tmp_path):
    chunks = {"pairing": "chunks"}  # no registration
    empty = System(method="copied-mask", settings={"size": (16, 16)}, options=chunks, seeds=tuple(range(12)))
    protocol, heard = replace(BALLS, systems={"empty": empty}, reference="empty"), Ends()
    records, failed = bench(data, tmp_path, protocol, cluster=Cluster(workers=1), progress=heard)
    assert (len(records), failed) == (12, [])
    assert statistics.median(after - before for before, after in pairwise(heard.times)) < 1
