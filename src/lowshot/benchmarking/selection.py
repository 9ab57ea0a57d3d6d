"""Which cells of a benchmark stand together: those of a fold, of a system, of one budget, of one device."""

from collections.abc import Iterable, Sequence

from lowshot.benchmarking.cell import Record
from lowshot.protocols.protocol import Protocol, System

Budget = tuple[int | None, float | None]
"""Steps and minutes that were asked for; the one or the other."""


def of_fold(records: Iterable[Record], fold: str) -> list[Record]:
    """The cells of one fold."""
    return [record for record in records if record["fold"]["name"] == fold]


def by_system(protocol: Protocol, records: Sequence[Record]) -> dict[str, list[Record]]:
    """The cells of each system that has any, in the order of ``present``."""
    return {name: [record for record in records if record["system"] == name] for name in present(protocol, records)}


def present(protocol: Protocol, records: Sequence[Record]) -> dict[str, System]:
    """The systems that have results, in the protocol's order; then methods that are no row of it."""
    computed = {record["system"]: System(method=record["method"]) for record in records}
    ordered = {name: system for name, system in protocol.systems.items() if name in computed}
    return ordered | {name: system for name, system in computed.items() if name not in ordered}


def by_budget(records: Iterable[Record]) -> dict[Budget, list[Record]]:
    """Cells that may stand in one table: only what was trained equally long is compared."""
    found: dict[Budget, list[Record]] = {}
    for record in records:
        found.setdefault((record["steps"], record["minutes"]), []).append(record)
    return found


def by_device(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Cells whose minutes may be averaged: "cpu", or the name of a GPU."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["provenance"]["machine"]["device"], []).append(record)
    return found
