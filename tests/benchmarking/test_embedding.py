import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from ball_files import NAMES, write_ball_files
from benchmarking.balls import BALLS, HOW, SETTINGS, bench
from contract import tiny
from contract.fakes import FAKES
from lowshot import catalogue
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.cell import cells_to_picture
from lowshot.benchmarking.embedding import picture_embeddings
from lowshot.benchmarking.runner import cells
from lowshot.errors import SettingsError
from lowshot.inference.assemble import Decision
from lowshot.inference.patch_model import TileOptions
from lowshot.model_file import load
from lowshot.progress import Silent
from lowshot.protocols.protocol import Fold, System
from lowshot.training.run import Run

LINEAR = System(method="mre-net", settings=SETTINGS | {"metric_learning": False})
ROWS = {"mre-net": replace(BALLS.systems["mre-net"], seeds=(0,)), "linear (f)": LINEAR, "unet": BALLS.systems["unet"]}
PROTOCOL = replace(BALLS, systems=ROWS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def root(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    _, failed = bench(data, folder, PROTOCOL)
    assert not failed
    return folder


def drawn(data, root, names=tuple(ROWS), protocol=PROTOCOL):
    wanted = cells(protocol, protocol.systems, protocol.folds, None)
    cases = cases_of(protocol, data, root, Silent())
    return picture_embeddings(cells_to_picture(wanted, names, "--embedding"), cases, root, HOW, Silent())


def test_a_picture_its_points_and_its_figures_come_out_the_same_each_time(data, root):
    (table,), files = drawn(data, root)
    points = (root / "embedding.csv").read_bytes()
    assert [row[0] for row in table.rows] == list(ROWS)
    assert all(0 < row[2] <= 1 and -1 <= row[3] <= 1 for row in table.rows)
    assert (root / "embedding.png").read_bytes().startswith(b"\x89PNG")
    assert set(files.values()) == {str(root / "embedding.png"), str(root / "embedding.csv")}
    rows = list(csv.DictReader(points.decode().splitlines()))
    for system in ROWS:
        counts = [sum(row["system"] == system and row["structure"] == name for row in rows) for name in NAMES.names]
        assert min(counts) > 20
    again, _ = drawn(data, root)
    assert again == [table]
    assert (root / "embedding.csv").read_bytes() == points


@pytest.mark.parametrize("system", ["mre-net", "linear-f", "unet"])
def test_the_classifier_decides_by_these_vectors(data, root, system):
    model = load(root / "cells" / system / "s0" / "seed-0" / "model.safetensors").model
    prepared = model.preparation.apply(cases_of(PROTOCOL, data, root, Silent()).query("s1").scan)
    run = Run(device="cpu", precision="float32")
    decision = Decision.empty(prepared.grid.shape, len(model.names))
    for region in model.regions(prepared, run, TileOptions()):
        decision.add(region)
    sure = (decision.margin() > 1e-4).nonzero()
    voxels = sure[torch.randint(len(sure), (500,), generator=torch.Generator().manual_seed(0))]
    vectors = model.embeddings(prepared, run, TileOptions(), voxels)
    found = model.network.classifier(vectors).argmax(1)
    assert torch.equal(found, decision.labels[*voxels.T].long())


def test_places_are_where_the_structures_are(data, root):
    drawn(data, root, ("unet",))
    query = cases_of(PROTOCOL, data, root, Silent()).query("s1")
    back = np.linalg.inv(query.scan.affine)
    for row in csv.DictReader((root / "embedding.csv").read_text().splitlines()):
        place = np.array([float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")])
        i, j, k = np.rint(back[:3, :3] @ place + back[:3, 3]).astype(int)
        assert query.truth.names.names[int(query.truth.labels[i, j, k])] == row["structure"]


def test_a_model_without_an_embedding_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", catalogue.CATALOGUE | FAKES)
    protocol = replace(BALLS, systems={"tiles": System(method="fake patches")})
    bench(data, tmp_path, protocol)
    with pytest.raises(SettingsError, match=r"tiles \(fake patches\) does not decide by a vector for each voxel"):
        drawn(data, tmp_path, ("tiles",), protocol)


def test_a_row_that_borrows_a_model_is_drawn_with_it(data, tmp_path):
    unet = BALLS.systems["unet"]
    protocol = replace(BALLS, systems={"unet": unet, "again": replace(unet, model_of="unet")})
    bench(data, tmp_path, protocol)
    (table,), _ = drawn(data, tmp_path, ("unet", "again"), protocol)
    lender, borrower = table.rows
    assert borrower[1:] == lender[1:]


def test_a_new_structure_is_drawn_against_background_in_the_slices_that_its_row_is_granted(data, tmp_path):
    whole = System(method="panet", settings=tiny.SETTINGS["panet"])
    granted = replace(whole, model_of="whole", granted=True, options={"pairing": "chunks"})
    fold = Fold("s0", ("s0",), ("s1",), base=("s2",), new="middle ball")
    protocol = replace(BALLS, folds=(fold,), systems={"whole": whole, "granted": granted}, steps=1)
    _, failed = bench(data, tmp_path, protocol)
    assert not failed
    drawn(data, tmp_path, ("whole", "granted"), protocol)
    heights = {}
    for row in csv.DictReader((tmp_path / "embedding.csv").read_text().splitlines()):
        heights.setdefault((row["system"], row["structure"]), []).append(float(row["z_mm"]) / 1.5)
    assert {structure for _, structure in heights} == {"background", "middle ball"}
    query = cases_of(protocol, data, tmp_path, Silent()).query("s1", fold.new)
    shown = query.truth.labels.flatten(0, 1).any(dim=0).nonzero().flatten().tolist()
    assert shown[0] <= min(heights["granted", "background"]) <= max(heights["granted", "background"]) <= shown[-1]
    assert max(heights["whole", "background"]) > shown[-1]


def test_a_cell_that_is_not_finished_is_left_out(data, tmp_path):
    assert drawn(data, tmp_path) == ([], {})


def test_the_first_seed_is_taken_and_only_what_is_computed():
    wanted = cells(BALLS, BALLS.systems, BALLS.folds, (2, 1))
    assert [(cell.name, cell.seed) for cell in cells_to_picture(wanted, ("unet", "mre-net"), "--embedding")] == [
        ("unet", 2),
        ("mre-net", 2),
    ]
    with pytest.raises(SettingsError, match="--embedding: expected some of mre-net, unet; got lt-net"):
        cells_to_picture(wanted, ("unet", "lt-net"), "--embedding")
