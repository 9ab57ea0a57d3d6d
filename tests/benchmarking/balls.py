"""A benchmark that takes seconds: two systems on scans of balls."""

from pathlib import Path

from ball_files import TINY
from lowshot.benchmarking.cases import Cases, cases_of
from lowshot.benchmarking.compute import Machine
from lowshot.benchmarking.runner import cells, run
from lowshot.cluster import Cluster
from lowshot.progress import Progress, Silent
from lowshot.protocols.protocol import Fold, Protocol, Published, System

SETTINGS = {key: tuple(value) if isinstance(value, list) else value for key, value in TINY.items()}
UNET = {key: SETTINGS[key] for key in ("widths", "convolutions", "batch", "patch_voxels")}
BALLS = Protocol(
    name="balls",
    summary="Balls from one ball",
    folds=(Fold("s0", ("s0",), ("s1", "s2")),),
    systems={
        "mre-net": System(
            method="mre-net",
            settings=SETTINGS,
            seeds=(0, 1),
            published={"": Published("II", "mre-net[dml,coord,ams,ohem]")},
        ),
        "unet": System(method="unet", settings=UNET, published={"": Published("II", "mre-net[]")}),
    },
    reference="mre-net",
    steps=3,
    paper="mre-net",
    dataset="mrbrains18",
    differs=("data: balls",),
)
HOW = Machine(preset="compact", steps=3, device="cpu", precision="float32", threads=1)


def bench(
    data: Path,
    root: Path,
    protocol: Protocol = BALLS,
    how: Machine = HOW,
    *,
    systems: tuple[str, ...] | None = None,
    restart: bool = False,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
):
    """Run cells of the protocol, all unless told; the records, and what failed."""
    cases: Cases = cases_of(protocol, data, root, Silent())
    asked = cells(protocol, protocol.chosen(systems), protocol.folds, None)
    return run(asked, cases, root, how, restart=restart, progress=progress or Silent(), cluster=cluster)
