"""Options that several commands share, each with the sentence that ``--help`` shows."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lowshot.inputs.scan_files import Declared

AsJson = Annotated[
    bool, typer.Option("--json", help="For programs: the result as JSON on stdout, events as JSON lines on stderr.")
]
NamesFile = Annotated[
    Path | None,
    typer.Option("--names", help="What label values mean: lines 'value<TAB>name', a CSV, or nnU-Net's dataset.json."),
]
IgnoreValue = Annotated[int | None, typer.Option(help="Label value that marks unknown voxels.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeat it.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores unless told.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew instead of going on where a training stopped.")]
Channels = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME", help="The channels of 4-D files; without it such files are refused."),
]
Colour = Annotated[bool, typer.Option("--colour", help="Read colour pictures as three channels.")]


class Precision(StrEnum):
    """How convolutions are computed."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


PrecisionOption = Annotated[Precision, typer.Option("--precision", help="auto measures whether bfloat16 pays.")]


def declared(channels: str | None, colour: bool) -> "Declared":
    """What the options say of files that do not say it themselves."""
    from lowshot.inputs.scan_files import Declared

    names = tuple(name.strip() for name in channels.split(",") if name.strip()) if channels else None
    return Declared(names, colour)
