"""Rows of protocols: that each is something of its own, and that its method takes what the folds give it."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from lowshot import catalogue
from lowshot.benchmarking import distributed
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.distributed import arranged
from lowshot.datasets.prepared import UNKNOWN
from lowshot.datasets.recipe import RAW
from lowshot.datasets.table import DATASETS
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.progress import Silent
from lowshot.protocols.registry import PROTOCOLS

DISTRIBUTED = [name for name, protocol in PROTOCOLS.items() if protocol.distributed is not None]
OFFERED = [(name, preset) for name in DISTRIBUTED for preset in ("paper", "compact")]
OWN = [(name, one.preset) for name, one in PROTOCOLS.items() if one.distributed is None]
"""Others compare what one preset is made of; in another some of their rows have nothing to differ by."""
SMALL = {"abdomen-ct": (40, 40, 16), "abdomen-mr": (40, 40, 16), "brain-mr": (32, 36, 28)}
"""Shapes of phantoms where nothing depends on what a single slice shows."""


@pytest.mark.parametrize(("name", "preset"), [*OFFERED, *OWN])
def test_no_two_rows_are_the_same(name, preset):
    one, found = PROTOCOLS[name], defaultdict(set)
    for row, system in one.systems.items():
        settings = catalogue.settings(system.method, one.preset_of(system, preset), system.settings)
        method = catalogue.create(system.method, settings)
        options = repr(method.Options(**system.options))
        found[repr((method, options, system.granted, system.model_of, system.as_long_as))].add(row)
    assert [rows for rows in found.values() if len(rows) > 1] == []


LARGE_ORGANS = (
    *("spleen", "right kidney", "left kidney", "liver", "stomach", "pancreas"),
    *("aorta", "inferior vena cava", "portal and splenic vein", "right adrenal gland", "left adrenal gland"),
)


@pytest.mark.parametrize(
    ("name", "majority"),
    [("mrbrains-one-shot", ("cortical grey matter", "white matter", "ventricles")), ("btcv-one-shot", LARGE_ORGANS)],
)
def test_mre_net_is_complete_and_its_ablation_is_not(name, majority):
    one = PROTOCOLS[name]
    wanted = {  # mining, attention, coordinates, metric learning
        "mre-net": (True, True, True, True),
        "without hard examples (d)": (False, True, True, True),
        "without AMS (c)": (False, False, True, True),
        "without AMS and coordinates (b)": (False, False, False, True),
        "without metric learning (f)": (True, True, True, False),
        "without coordinates (g)": (True, True, False, True),
    }
    for preset in ("paper", "compact"):
        for row, switches in wanted.items():
            made = catalogue.create("mre-net", catalogue.settings("mre-net", preset, one.systems[row].settings))
            assert (made.mining, made.attention, made.coordinates, made.metric_learning) == switches
            assert made.augmentation == "none"
            assert made.majority == majority


@pytest.mark.parametrize("name", ["mrbrains-one-shot", "btcv-one-shot"])
def test_of_modes_and_channels_each_row_has_what_its_paper_prints(name):
    one = PROTOCOLS[name]
    made = {
        row: catalogue.create("mre-net", catalogue.settings("mre-net", "paper", system.settings))
        for row, system in one.systems.items()
        if system.method == "mre-net"
    }
    for row, system in one.systems.items():
        setting = system.published[""].setting or ""
        if setting.startswith("Ne="):
            assert made[row].embedding_size == int(setting.removeprefix("Ne="))
        elif setting.startswith("M="):
            assert made[row].modes == int(setting.removeprefix("M=").split()[0])
        elif row in made:
            assert (made[row].embedding_size, made[row].modes) == (2048, 3)


def test_of_btcv_all_organs_are_learned_and_eight_are_scored():
    for name in ("btcv-one-shot", "btcv-unlabelled", "btcv-bounds"):
        one = PROTOCOLS[name]
        assert one.distributed.structures == ()
        assert len(one.scored) == 8
        assert set(one.scored) < set(DATASETS["btcv"].structures.values())
    majority = PROTOCOLS["btcv-one-shot"].systems["mre-net"].settings["majority"]
    assert set(DATASETS["btcv"].structures.values()) - set(majority) == {"gallbladder", "oesophagus"}


@pytest.mark.parametrize("name", [each for each in DISTRIBUTED if "five-folds" in each])
class TestFiveFolds:
    def test_beside_every_granted_range_stands_the_whole_volume(self, name):
        systems = PROTOCOLS[name].systems
        granted = {row for row, system in systems.items() if system.granted}
        assert granted == {row.removesuffix(" whole volume") for row in systems if row.endswith(" whole volume")}
        for row in granted:
            whole = systems[f"{row} whole volume"]
            assert (whole.model_of, whole.published, dict(whole.options)) == (row, {}, {})
            assert systems[row].options["pairing"] == "chunks"
        assert any("whole volume" in sentence for sentence in PROTOCOLS[name].differs)

    def test_of_hearts_adnet_has_smaller_supervoxels(self, name):
        one = PROTOCOLS[name]
        if "adnet" in one.systems:
            system = one.systems["adnet"]
            settings = catalogue.settings("adnet", one.preset_of(system, "paper"), system.settings)
            size = catalogue.create("adnet", settings).least_voxels
            assert size == (1000 if one.distributed.dataset == "ms-cmrseg" else 5000)

    def test_gcn_de_counts_slices_of_more_than_ten_pixels(self, name):
        assert PROTOCOLS[name].granted_above == (10 if name.startswith("gcn-de") else 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where phantoms of a data set were written once."""
    folders = {}
    return lambda study, dataset: folders.setdefault((dataset, study), tmp_path_factory.mktemp(dataset))


class Closest(NamedTuple):
    """In place of the scan that registrations would find."""

    scan: str


def with_unknown_tissue(prepared, case):
    """As in brains with infarctions: some voxels of the annotated scan are unknown."""
    file = prepared / "labels" / f"{case}.nii.gz"
    truth, _ = read_labels(file)
    names = Names.of({value: str(value) for value in (*truth.names.values[1:], UNKNOWN)})
    labels = truth.labels.clone()
    labels.flatten()[labels.flatten().nonzero().flatten()[:20]] = len(names) - 1
    write_segmentation(Segmentation(labels, names, truth.affine), file)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTRIBUTED)
def test_every_row_takes_what_the_folds_give_it(name, made, tmp_path, monkeypatch):
    one = PROTOCOLS[name]
    shape = one.study.shape if name.endswith("one-slice") else SMALL.get(one.study.anatomy, one.study.shape)
    study = replace(one.study, shape=shape)
    one = replace(one, study=study, distributed=replace(one.distributed, recipe=RAW))  # looks make no difference here
    monkeypatch.setattr(
        distributed, "choose", lambda scans, progress: SimpleNamespace(ranking=[Closest(scans[0].name)])
    )
    one, prepared = arranged(one, None, made(study, one.distributed.dataset), Silent())
    fold = one.folds[0]
    if DATASETS[one.distributed.dataset].unknown:
        with_unknown_tissue(prepared, fold.support[0])
    task = Cases(prepared, one.layout).task(fold, seed=1)
    for row, system in one.systems.items():
        method = catalogue.create(
            system.method, catalogue.settings(system.method, one.preset_of(system, "paper"), system.settings)
        )
        problems = [each for each in method.problems(task) if "not installed" not in each]
        assert problems == [], row
