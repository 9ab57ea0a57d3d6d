"""LT-Net's tables: what its rows have in common."""

from dataclasses import asdict

import pytest

from lowshot import catalogue
from lowshot.datasets.recipe import RAW
from lowshot.protocols.candi import ATLASES, ONE_ATLAS, SUPERVISED
from lowshot.protocols.registry import PROTOCOLS

LOSSES = {"adversarial", "image_cycle", "transformation_cycle", "anatomy_cycle", "anatomy_difference"}


def made(row, protocol=ONE_ATLAS):
    system = protocol.systems[row]
    preset = protocol.preset_of(system, protocol.preset)
    return asdict(catalogue.create(system.method, catalogue.settings(system.method, preset, system.settings)))


def test_rows_of_tables_2_and_3_differ_in_their_losses_alone():
    rows = {name for name, row in ONE_ATLAS.systems.items() if row.published and row.published[""].table in "23"}
    assert {"voxelmorph", "+ GAN", "+ GAN + cycle (baseline)", "lt-net"} < rows
    assert len(rows) == 7
    whole = made("lt-net")
    assert whole["smoothness"] == 3
    for row in rows:
        assert {name for name, value in made(row).items() if value != whole[name]} <= LOSSES


def test_the_tuned_voxelmorph_has_the_weight_of_its_public_code():
    ablated, tuned = made("voxelmorph"), made("voxelmorph (tuned)")
    assert {name: value for name, value in tuned.items() if value != ablated[name]} == {"smoothness": 1 / 3}
    assert ONE_ATLAS.systems["voxelmorph (tuned)"].published[""].table == "6"


def test_votes_are_what_their_rows_are_called():
    for protocol in (ATLASES, PROTOCOLS["atlas-fusion"]):
        for row in (name for name in protocol.systems if "vote" in name):
            assert made(row, protocol)["vote"] == row.split()[0]


@pytest.mark.parametrize("one", [ONE_ATLAS, ATLASES, SUPERVISED], ids=lambda one: one.name)
def test_candi_is_cut_by_the_methods_alone(one):
    assert one.distributed.recipe == RAW
