"""``lowshot bench --list``: protocols, the rows of one, and every system of the five papers' tables."""

from collections.abc import Iterable

from lowshot.cli.terminal import Terminal
from lowshot.protocols.protocol import Protocol
from lowshot.protocols.registry import PROTOCOLS
from lowshot.protocols.systems import published_systems
from lowshot.reporting.tables import Column, Table


def list_protocols(terminal: Terminal) -> None:
    """Every protocol; and every published system, with its tables and what it is here."""
    protocols = {name: protocol.summary for name, protocol in PROTOCOLS.items()}
    systems = published_systems()
    words = tuple((each.name, each.standing, each.method, ", ".join(each.tables)) for each in systems)
    headings = ("system", "standing", "here", "stands in")
    terminal.result(
        {
            "protocols": protocols,
            "systems": [
                {"name": each.name, "standing": each.standing, "method": each.method, "tables": list(each.tables)}
                for each in systems
            ],
        },
        _table("Protocols; 'lowshot bench PROTOCOL --list' shows the rows of one", ("name", "what"), protocols.items()),
        _table("Systems of the five papers' tables", headings, words),
    )


def list_rows(terminal: Terminal, protocol: Protocol) -> None:
    """The rows of one protocol."""
    rows = {name: f"{system.method} {dict(system.settings) or ''}" for name, system in protocol.systems.items()}
    terminal.result(rows, _table(f"{protocol.name}: {protocol.summary}", ("name", "what"), rows.items()))


def _table(title: str, headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    return Table(tuple(Column(heading, numeric=False) for heading in headings), tuple(rows), title)
