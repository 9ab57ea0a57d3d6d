"""What is announced is what the process takes."""

import json
import mmap
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ball_files import NAMES, TINY, labelled
from lowshot.fitting import fit
from lowshot.imaging.files import write_volume
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.assemble import BYTES_PER_VOXEL
from lowshot.inference.footprint import (
    COPY_BYTES,
    FIRST_PASS_BYTES,
    MARGIN_BYTES,
    PREPARED_BYTES,
    available_bytes,
    forget_highest_of_gpus,
    gigabytes,
    highest_of_gpus,
    highest_resident_bytes,
    memory_needed,
    resident_bytes,
)
from lowshot.inference.patch_model import PatchModel, TileOptions
from lowshot.nn.geometry import Geometry
from lowshot.task import LowShotTask
from lowshot.training.run import Run

MEASURE = """
import json, sys
from lowshot.model_file import load
from lowshot.imaging.files import read_scan
from lowshot.inference.footprint import memory_needed, resident_bytes
from lowshot.inference.predict import look, predict_prepared
from lowshot.segmenting import options_of
from lowshot.training.run import Run

def highest_resident_bytes():  # not getrusage: Linux counts what the parent held before
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

fitted, scan = load(sys.argv[1]), read_scan(sys.argv[2])
run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
options, model = options_of(fitted), fitted.segmenter()
axis_map, before = look(model, scan), highest_resident_bytes()
announced = max(before, resident_bytes() + memory_needed(model, axis_map, run, options))
predict_prepared(model, scan, model.preparation.apply(scan, axis_map), run, options)
print(json.dumps([announced, before, highest_resident_bytes()]))
"""


SMALL_NETWORK = {**TINY, "patch_voxels": 32**3, "crop": "none"}
LARGE_TILES = {"patch": (48, 48, 48), "margin": (8, 8, 8), "batch": 1, "crop": "none"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of one process is read from /proc")
@pytest.mark.parametrize(
    ("settings", "shape", "spacing_mm"),
    [(SMALL_NETWORK, (300, 300, 120), (3.0, 3.0, 3.0)), (LARGE_TILES, (64, 64, 40), None)],
    ids=["interpolation takes most", "the network takes most"],
)
def test_the_announced_peak_is_true_to_a_fifth(tmp_path, settings, shape, spacing_mm):
    task = LowShotTask(NAMES, [labelled(0)])
    fitted = fit(task, settings=settings, steps=1, device="cpu", precision="float32")
    model = fitted.segmenter()
    model.preparation = replace(model.preparation, spacing=spacing_mm)
    fitted.save(tmp_path / "m.safetensors")
    voxels = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    write_volume(voxels, np.eye(4), tmp_path / "scan.nii")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "m.safetensors"), str(tmp_path / "scan.nii")]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    announced, before, true = json.loads(done.stdout)
    assert true > before * 1.1  # or it would show nothing
    assert abs(announced - true) < 0.2 * true, (announced, before, true)


@pytest.mark.parametrize(
    ("device", "working_memory", "expected"),
    [
        ("cpu", 10**9, 10**9 + 1000 * BYTES_PER_VOXEL),
        ("cpu", 0, 1000 * (BYTES_PER_VOXEL + MARGIN_BYTES + COPY_BYTES)),
        ("cuda", 10**9, 1000 * (BYTES_PER_VOXEL + MARGIN_BYTES + COPY_BYTES)),
    ],
)
def test_memory_is_what_predicting_or_going_back_to_the_scan_adds(device, working_memory, expected, monkeypatch):
    monkeypatch.setattr(Run, "device", torch.device(device))
    monkeypatch.setattr(PatchModel, "working_memory", lambda self, shape, run, options: working_memory)
    geometry = Geometry(3, (), (6, 6, 6), (1, 1, 1))
    model = PatchModel(nn.Identity(), NAMES, ("CT",), Preparation(intensity="none"), geometry)
    axis_map = model.preparation.axis_map(Scan("a", torch.rand(1, 20, 10, 5), np.eye(4), ("CT",)))
    prepared = 1000 * PREPARED_BYTES
    assert memory_needed(model, axis_map, Run(), TileOptions()) == FIRST_PASS_BYTES + prepared + expected


def test_the_process_is_measured():
    before = resident_bytes()
    with mmap.mmap(-1, 160_000_000) as block:  # new to the process, whatever earlier tests have left free in it
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert 150e6 < resident_bytes() - before < 200e6
        assert highest_resident_bytes() >= len(block)
    assert 0 < available_bytes() < 1e14


def test_gigabytes():
    assert gigabytes(1_449_000_000) == "1.4 GB"


def test_of_gpus_the_fullest_counts_and_without_one_nothing(monkeypatch):
    assert highest_of_gpus() is None
    forget_highest_of_gpus()
    taken = [3_000, 5_000]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda number: taken[number])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda number: taken.__setitem__(number, 0))
    assert highest_of_gpus() == 5_000
    forget_highest_of_gpus()
    assert highest_of_gpus() == 0
