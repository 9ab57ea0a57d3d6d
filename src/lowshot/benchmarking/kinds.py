"""Rows in granted slices and rows of whole volumes have tables of their own: other questions, other references."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lowshot.benchmarking.cell import Record
from lowshot.protocols.protocol import Protocol

KINDS = {True: "granted range", False: "whole volume"}


def kinds(protocol: Protocol, records: Sequence[Record]) -> Iterator[tuple[Protocol, list[Record]]]:
    """The cells of each kind, with the protocol as their tables need it: its name tells the kind where there are two.

    The reference is the protocol's; of the other kind, the row that segments with the reference's model.
    """
    by_kind = {granted: [each for each in records if each.get("granted", False) == granted] for granted in KINDS}
    there = {granted: own for granted, own in by_kind.items() if own}
    several = len({system.granted for system in protocol.systems.values()} | there.keys()) > 1
    for granted, own in there.items():
        name = f"{protocol.name}, {KINDS[granted]}" if several else protocol.name
        yield replace(protocol, name=name, reference=_reference(protocol, granted)), own


def _reference(protocol: Protocol, granted: bool) -> str:
    reference = protocol.systems.get(protocol.reference)
    if reference is None or reference.granted == granted:
        return protocol.reference
    others = (name for name, system in protocol.systems.items() if system.model_of == protocol.reference)
    return next((name for name in others if protocol.systems[name].granted == granted), protocol.reference)
