import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lowshot.errors import InputError, LowshotError, MissingExtra, OutputError
from lowshot.methods.ants import registration
from lowshot.methods.ants.registration import Alignment, move, working
from methods.ants.bodies import AFFINE, SYN, affine, as_placed, body, dice, one_thread, placed

SHAPE = (30, 30, 30)
ATLAS = body(affine((2, 2, 2), SHAPE), SHAPE, name="atlas")
FINE = (45, 45, 45)
"""ANTs' affine registration begins at a sixth of the size, where little is left of 30 voxels."""
FINE_ATLAS = body(affine((1.4, 1.4, 1.4), FINE), FINE, name="atlas")


def moved_to(labelled, alignment=AFFINE, of=ATLAS, run=None):
    with working(run or one_thread()) as folder:
        return move(as_placed(of), of.truth.labels, as_placed(labelled), alignment, folder).moved


def test_a_scan_that_lies_elsewhere_gets_its_labels_exactly():
    far = (500, -300, 80)
    there = body(affine((1.4, 1.4, 1.4), FINE, centre=far), FINE, place=placed(shift=far))
    assert dice(moved_to(there, of=FINE_ATLAS).labels, there.truth.labels) > 0.99


def test_a_shift_a_turn_and_a_stretch_are_found():
    place = placed(turn=(6, -8, 10), stretch=(1.1, 0.95, 1.0), shift=(4, -3, 5))
    query = body(affine((1.4, 1.4, 1.4), FINE), FINE, place=place, noise=5)
    assert dice(FINE_ATLAS.truth.labels, query.truth.labels) < 0.6
    moved = moved_to(query, of=FINE_ATLAS)
    assert dice(moved.labels, query.truth.labels) > 0.9
    assert torch.corrcoef(torch.stack([moved.image.flatten(), query.scan.voxels[0].flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("alignment", [SYN, Alignment("syncc", (3,), 0)], ids=lambda each: each.transform)
def test_other_spacing_other_box_other_axes(alignment):
    turn = Rotation.from_euler("xyz", (5, 0, -15), degrees=True).as_matrix()
    query = body(affine((1.5, 2.5, 3), (50, 26, 22), turn, centre=(3, 2, 1)), (50, 26, 22))
    moved = moved_to(query, alignment)
    assert moved.labels.shape == moved.image.shape == (50, 26, 22)
    assert moved.labels.dtype == torch.int16
    assert dice(moved.labels, query.truth.labels) > 0.9


def test_a_shear_is_found():
    grid = affine((2, 2, 2), SHAPE)
    grid[:3, :3] = grid[:3, :3] @ np.array([[1, 0.15, 0], [0, 1, 0.1], [0, 0, 1]])
    query = body(grid, SHAPE)
    assert dice(moved_to(query, SYN).labels, query.truth.labels) > 0.93


def test_pictures():
    flat = body(affine((1, 1, 1), (60, 60, 1)), (60, 60, 1))
    there = body(affine((1, 1, 1), (70, 64, 1)), (70, 64, 1), place=placed(turn=(0, 0, 8), shift=(4, 3, 0)))
    labels = moved_to(there, of=flat).labels
    assert labels.shape == (70, 64, 1)
    assert dice(labels, there.truth.labels) > 0.9


def test_the_seed_decides_and_is_forgotten_afterwards():
    import ants

    query = body(affine((2, 2, 3), (30, 30, 20)), (30, 30, 20), place=placed(turn=(5, 3, 8)), noise=5)
    first, again, other = (moved_to(query, Alignment("syn", None, seed)).image for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert ants.config._random_seed is None


def test_what_ants_is_called_with():
    assert Alignment("affine", None, 0).arguments() == {"type_of_transform": "Affine"}
    assert Alignment("syn", (9, 3), 0).arguments() == {"type_of_transform": "SyN", "reg_iterations": (9, 3)}
    assert Alignment("syncc", None, 0).arguments() == {"type_of_transform": "SyNCC"}
    by_correlation = {"type_of_transform": "SyN", "syn_metric": "CC", "syn_sampling": 4, "reg_iterations": (9, 3)}
    assert Alignment("syncc", (9, 3), 0).arguments() == by_correlation


@pytest.mark.parametrize("blank", ["atlas", "scan"])
def test_a_failure_of_ants_is_one_message_and_nothing_is_left(blank, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    empty = body(affine((2, 2, 2), SHAPE), SHAPE, name="empty", noise=0)
    empty.scan.voxels.fill_(3.0)
    scan, of = (ATLAS, empty) if blank == "atlas" else (empty, ATLAS)
    with pytest.raises(LowshotError, match=f"{scan.scan.name}: registering the atlas {of.scan.name} to it: ANTs fail"):
        moved_to(scan, of=of)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_transform_that_cannot_be_written_is_told(tmp_path):
    with working(one_thread()), pytest.raises(OutputError, match="atlas to it: no transform could be written to"):
        move(as_placed(ATLAS), ATLAS.truth.labels, as_placed(ATLAS), AFFINE, tmp_path / "gone" / "0")


def test_few_slices_and_pictures_among_volumes_are_refused():
    thin = body(affine((2, 2, 9), (30, 30, 3)), (30, 30, 3), name="thin")
    with pytest.raises(InputError, match=r"thin: ANTs needs at least 4 voxels along each axis, got \(30, 30, 3\)"):
        moved_to(thin)
    with pytest.raises(InputError, match="the atlas thin: ANTs needs at least 4"):
        moved_to(ATLAS, of=thin)
    flat = body(affine((2, 2, 2), (30, 30, 1)), (30, 30, 1), name="flat")
    with pytest.raises(InputError, match="flat: the atlas atlas is a volume and this is a picture"):
        moved_to(flat)


@pytest.mark.parametrize("package", ["ants", "statsmodels"])
def test_without_the_extra_one_message_says_what_to_install(package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ants", package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(MissingExtra, match=rf"ANTs needs {package}\S*: pip install 'lowshot\[ants\]'"),
        working(one_thread()),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the threads of a process")
def test_the_threads_are_the_runs():
    assert threads_of_a_process(1) < threads_of_a_process(3)


def threads_of_a_process(count):
    code = (
        "from lowshot.training.run import Run\n"
        "from methods.ants.test_registration import ATLAS, moved_to\n"
        f"moved_to(ATLAS, run=Run(device='cpu', precision='float32', memory_format='contiguous', threads={count}))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('Threads')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_another_number_of_threads_later_is_told(monkeypatch):
    warned = []
    monkeypatch.setattr(registration, "_begun", [7])
    run = one_thread()
    monkeypatch.setattr(run.progress, "warn", warned.append)
    with working(run):
        pass
    assert warned == ["ANTs goes on with the 7 threads that it began with in this process"]
