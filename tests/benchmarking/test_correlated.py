from dataclasses import replace

import numpy as np
import pytest
import torch

from ball_files import write_ball_files
from benchmarking.balls import BALLS, HOW, bench
from contract import tiny
from lowshot.benchmarking import correlated
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.cell import cells_to_picture
from lowshot.benchmarking.correlated import correlates, largest, paired_with, picture_correlated
from lowshot.benchmarking.new_structure import cut, granted_range
from lowshot.benchmarking.runner import cells
from lowshot.errors import InputError, SettingsError
from lowshot.fewshot.examples import Paired
from lowshot.fewshot.pairing import PairingOptions
from lowshot.inference.predict import prepare
from lowshot.model_file import load
from lowshot.progress import Silent
from lowshot.protocols.protocol import Fold, System
from lowshot.reporting.correlated import picture

GCN_DE = System(
    method="gcn-de", settings=tiny.SETTINGS["gcn-de"], granted=True, options={"pairing": "chunks", "chunks": 3}
)
ROWS = {
    "gcn-de": GCN_DE,
    "gates": replace(GCN_DE, settings=GCN_DE.settings | {"correlation": False}),
    "panet": System(method="panet", settings=tiny.SETTINGS["panet"]),
    "whole volume": replace(GCN_DE, model_of="gcn-de", granted=False, options={"laid": False, "shots": 2}),
}
FOLD = Fold("s0", ("s0",), ("s1",), base=("s2",), new="middle ball")
PROTOCOL = replace(BALLS, folds=(FOLD,), systems=ROWS, reference="gcn-de")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def root(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    _, failed = bench(data, folder, PROTOCOL)
    assert not failed
    return folder


@pytest.fixture
def drawn(data, root, monkeypatch):
    """What is handed over to be drawn."""

    def draw(*names):
        found = []
        monkeypatch.setattr(correlated, "picture", lambda systems: found.extend(systems) or picture(systems))
        pictured = cells_to_picture(cells(PROTOCOL, ROWS, PROTOCOL.folds, None), names, "--correlated")
        return picture_correlated(pictured, cases_of(PROTOCOL, data, root, Silent()), root, HOW, Silent()), found

    return draw


def test_a_picture_of_every_row_comes_out(drawn, root):
    files, found = drawn("gcn-de", "whole volume")
    assert files == {"correlated": str(root / "correlated.png")}
    assert (root / "correlated.png").read_bytes().startswith(b"\x89PNG")
    assert [each.system for each in found] == ["gcn-de", "whole volume"]
    assert drawn() == ({}, [])


def test_maps_are_the_networks_own_where_the_new_structure_is_largest(data, root, drawn):
    (found,) = drawn("gcn-de")[1]
    query = cases_of(PROTOCOL, data, root, Silent()).query("s1", FOLD.new)
    model = load(root / "cells" / "gcn-de" / "s0" / "seed-0" / "model.safetensors").model
    prepared = cut(prepare(model, query.scan), granted_range(query, FOLD.new))
    truth = model.preparation.apply_labels(query.truth.labels, prepared)
    areas = truth.sum(dim=(0, 1))
    assert found.query.marked.sum() == areas.max()
    place = int(areas.argmax())
    np.testing.assert_array_equal(found.query.image, prepared.voxels[0, ..., place])
    assert f"slice {place + 1} of {len(areas)} granted" in found.query.title
    support, masks = (torch.from_numpy(each)[None, None] for each in (found.example.image, found.example.marked))
    assert masks.sum() > 0
    seen = []
    for stage in (1, 2):
        link = model.learner.network.links[stage]
        link.register_forward_hook(lambda _, inputs, output: seen.append((inputs[1], output)))
    with torch.no_grad():
        model.learner.network(support[:, :, None], masks, prepared.voxels[None, ..., place])
    for own, maps in zip(found.stages, seen, strict=True):
        for mean, each in zip(own, maps, strict=True):
            np.testing.assert_allclose(mean, each[0].mean(dim=0), atol=1e-5, rtol=1e-4)


def test_in_a_whole_volume_the_first_of_several_examples_is_shown(drawn):
    (found,) = drawn("whole volume")[1]
    assert found.example.title.startswith("first of 2 examples, slice")
    assert found.example.marked.any()


@pytest.mark.parametrize(("row", "method"), [("gates", "gcn-de"), ("panet", "panet")])
def test_a_row_without_global_correlation_is_refused(drawn, row, method):
    with pytest.raises(SettingsError, match=rf"--correlated: {row} \({method}\) has no global correlation"):
        drawn(row)


def test_only_few_shot_models_correlate(root):
    def made(row):
        return load(root / "cells" / row / "s0" / "seed-0" / "model.safetensors").segmenter()

    assert [correlates(made(row)) for row in ("gcn-de", "gates", "panet")] == [True, False, False]


def test_slices_without_an_example_are_not_chosen(data, root):
    model = load(root / "cells" / "gcn-de" / "s0" / "seed-0" / "model.safetensors").model
    truth = torch.zeros(4, 4, 3)
    truth[:2, :, 0], truth[:1, :, 1], truth[..., 2] = 1, 1, 1
    (paired,) = paired_with(
        model,
        prepare(model, cases_of(PROTOCOL, data, root, Silent()).query("s1").scan),
        PairingOptions(pairing="chunks"),
    )
    some = [Paired(paired.examples, {1: [torch.tensor([3]), torch.tensor([3]), None]}, None)]
    assert largest(truth, some, "s1") == 0
    assert largest(truth, [paired], "s1") == 2
    with pytest.raises(InputError, match="s1: none of its slices"):
        largest(truth, [Paired(paired.examples, {1: [None] * 3}, None)], "s1")
