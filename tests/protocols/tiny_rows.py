"""Rows of a protocol at a size that takes seconds: what they change in their method, but its size, stays as it is."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from contract import tiny
from lowshot import catalogue
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.compute import Machine
from lowshot.benchmarking.runner import cells, run
from lowshot.benchmarking.tables import main_table
from lowshot.progress import Silent
from lowshot.protocols.protocol import Protocol, System
from lowshot.protocols.registry import PROTOCOLS

WITHOUT_DATA = [name for name, one in PROTOCOLS.items() if one.study is not None and one.distributed is None]
HOW = Machine(preset="compact", steps=2, device="cpu", precision="float32", threads=1)
SIZES = ("size", "embedding_size", "widths", "patch_voxels", "batch")
"""Of networks and of what they see: rows differ in these too, but then a trial takes minutes."""
CHEAPER = {"allow_missing": True, "region_share": 0.0}
"""Of small structures nothing is left at such sizes, and to find supervoxels in a base takes longer than all else."""


def brief(protocol: Protocol) -> Protocol:
    """The protocol on its first fold, with one query and two scans in the pool, its rows with tiny networks."""
    first = protocol.folds[0]
    fold = replace(first, queries=first.queries[:1], unlabelled=first.unlabelled[:2])
    systems = {name: replace(system, settings=_tiny(system)) for name, system in protocol.systems.items()}
    return replace(protocol, folds=(fold,), systems=systems)


def _tiny(system: System) -> dict[str, Any]:
    has = {setting.name for setting in fields(catalogue.create(system.method, catalogue.settings(system.method)))}
    small = tiny.SETTINGS.get(system.method, {}) | {name: value for name, value in CHEAPER.items() if name in has}
    return {**small, **{name: value for name, value in system.settings.items() if name not in SIZES}}


def run_all(protocol: Protocol, data: Path | None, root: Path) -> list[Record]:
    """Train and score every row with one seed; each has its row in the table. Returns the cells."""
    cases = cases_of(protocol, data, root, Silent())
    asked = cells(protocol, protocol.systems, protocol.folds, (0,))
    records, failed = run(asked, cases, root, HOW, restart=False, progress=Silent())
    assert not failed, failed
    assert sorted(record["system"] for record in records) == sorted(protocol.systems)
    (fold,) = protocol.folds
    for record in records:
        (case,) = record["cases"]
        assert case["case"] == fold.queries[0]
        expected = {fold.new} if fold.new else set(protocol.scored or cases.task(fold, 0).names.foreground)
        assert {score["structure"] for score in case["scores"]} == expected
    for granted in {system.granted for system in protocol.systems.values()}:
        own = [record for record in records if record.get("granted", False) == granted]
        assert len(main_table(protocol, own, fold.name).rows) == len(own)
    return records
