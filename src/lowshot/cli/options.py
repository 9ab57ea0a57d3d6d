"""Options that several commands share, each with the sentence that ``--help`` shows."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.errors import InputError

if TYPE_CHECKING:
    from lowshot.cluster import Cluster
    from lowshot.inputs.scan_files import Declared
    from lowshot.inputs.table import Row

Image = Annotated[str | None, typer.Argument(help="Annotated scan: a file, a DICOM folder, or T1=FILE,FLAIR=FILE.")]
Labels = Annotated[Path | None, typer.Argument(help="Its label map.")]
Support = Annotated[
    Path | None, typer.Option(help="CSV of annotated scans instead: columns image (or one per channel) and labels.")
]
AnnotatedSlice = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="The only annotated slice, from 0 in the label file's own order; AXIS:INDEX for another axis.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="For programs: the result as JSON on stdout, events as JSON lines on stderr.")
]
NamesFile = Annotated[
    Path | None,
    typer.Option(
        "--names",
        help="What label values mean: lines 'value name', a CSV, nnU-Net's dataset.json, or a table of ITK-SNAP "
        "or FreeSurfer.",
    ),
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


class Engine(StrEnum):
    """What goes from one scan or cell to the next."""

    local = "local"
    ray = "ray"


EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="local: this process, one after the other; ray: workers on all cores or machines."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Of a running Ray cluster, such as 10.0.0.1:6379, or 'auto'; without it this machine's cores."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Of --engine ray on this machine; as many as cores allow.")]
PrecisionOption = Annotated[Precision, typer.Option("--precision", help="auto measures whether bfloat16 pays.")]


def declared(channels: str | None, colour: bool) -> "Declared":
    """What the options say of files that do not say it themselves."""
    from lowshot.inputs.scan_files import Declared

    names = tuple(name.strip() for name in channels.split(",") if name.strip()) if channels else None
    return Declared(names, colour)


_FILES = (".nii", ".gz", ".nrrd", ".mha", ".png", ".dcm", ".html", ".csv", ".json")


def require_folder_name(output: Path) -> None:
    """Refuse a folder for results that is called like a file, unless it is there.

    Raises:
        InputError: so it is.
    """
    if output.name.lower().endswith(_FILES) and not output.is_dir():
        raise InputError(
            f"{output}: -o is a folder, in which results are named after their scans; leave out the suffix"
        )


def annotated_scans(
    image: str | None, labels: Path | None, support: Path | None, annotated_slice: str | None, *, optional: bool = False
) -> "list[Row]":
    """The annotated scans that IMAGE LABELS, or --support instead, mean; there may be none if they are ``optional``."""
    from lowshot.inputs.scan_files import one_scan
    from lowshot.inputs.table import Row, parse_slice, read_table

    if image is not None and support is not None:
        raise InputError("expected IMAGE LABELS or --support, got both; put the scan into the CSV as one more row")
    if image is not None and labels is None:
        raise InputError(
            f"{image}: expected its label map after it: IMAGE LABELS (of adapt, the learner comes before both)"
        )
    if image is not None:
        return [Row(one_scan(image), labels, parse_slice(annotated_slice or "", "--annotated-slice"))]
    if annotated_slice is not None:
        raise InputError("--annotated-slice belongs to IMAGE LABELS; a CSV has a column of that name")
    if support is None and not optional:
        raise InputError("no annotated scan: give IMAGE and LABELS, or --support with a CSV")
    return [] if support is None else read_table(support)


def cluster_of(
    engine: Engine, address: str | None, workers: int | None, threads: int | None, device: str
) -> "Cluster | None":
    """The cluster that the options ask for; None for this process. Its workers have one thread unless told."""
    from lowshot.cluster import Cluster

    if engine is Engine.local:
        if address is not None or workers is not None:
            raise InputError("--address and --workers belong to --engine ray")
        return None
    return Cluster(address=address, workers=workers, threads=threads or 1, gpus=0.0 if device == "cpu" else None)
