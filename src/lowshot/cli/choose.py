"""``lowshot choose``: which scan should be annotated?"""

from typing import Annotated

import typer

from lowshot.cli.options import AsJson, Channels, Colour, declared
from lowshot.cli.terminal import Terminal
from lowshot.errors import SomeScansFailed

Scans = Annotated[
    list[str],
    typer.Argument(help="Files, folders, patterns, a CSV, DICOM folders; T1=FILE,FLAIR=FILE for several channels."),
]


def choose(
    *,
    scans: Scans,
    channels: Channels = None,
    colour: Colour = False,
    as_json: AsJson = False,
) -> None:
    """Which scan should be annotated? Ranks scans by how typical they are; needs no labels.

    Each is laid upon the average of all by an affine alignment, and compared with it. Example:

    lowshot choose scans/
    """
    terminal = Terminal(as_json)

    from lowshot.choosing import choose as ranked
    from lowshot.inputs.words import scan_files
    from lowshot.reporting.tables import Column, Table

    files = scan_files(scans, terminal.progress.warn)
    choice = ranked(files, declared(channels, colour), progress=terminal.progress)
    columns = (Column("rank", 0), Column("scan", numeric=False), Column("differs from the average by (%)", digits=1))
    rows = tuple((rank, each.scan, each.distance) for rank, each in enumerate(choice.ranking, start=1))
    data = {
        "ranking": [{"scan": each.scan, "difference_percent": round(each.distance, 3)} for each in choice.ranking],
        "failed": [{"scan": name, "error": str(error)} for name, error in choice.failed],
    }
    terminal.result(data, Table(columns, rows), f"Annotate {choice.ranking[0].scan} first.")
    if choice.failed:
        names = ", ".join(name for name, _ in choice.failed)
        raise SomeScansFailed(f"{len(choice.failed)} of {len(choice.failed) + len(rows)} scans were left out: {names}")
