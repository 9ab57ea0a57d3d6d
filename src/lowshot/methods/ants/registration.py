"""Bringing an atlas to a scan by ``ants.registration``."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from lowshot.errors import InputError, LowshotError, MissingExtra, OutputError
from lowshot.imaging.grid import Grid
from lowshot.imaging.quiet import no_output, quiet
from lowshot.methods.ants.correspondence import read_transforms
from lowshot.methods.ants.images import from_ants, to_ants
from lowshot.registration.correspondence import Correspondence
from lowshot.training.run import Run

Transform = Literal["affine", "syn", "syncc"]
THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
CC_RADIUS = 4
"""Voxels, as in ANTs' own SyNCC."""
FEWEST_VOXELS = 4
"""Along each axis: ITK smooths over as many."""

_begun: list[int] = []
"""The number of threads that ITK works with in this process, once it has begun."""


@dataclass(frozen=True)
class Alignment:
    """How an atlas is brought to a scan."""

    transform: Transform
    iterations: tuple[int, ...] | None
    """Of the deformable part, from coarse to fine; None: ANTs' own."""
    seed: int
    """Of the places at which the affine part compares two images."""

    @property
    def reaches_full_size(self) -> bool:
        """Whether a field is optimised at the scan's own size: SyNCC's is, SyN stops at half of it."""
        return self.transform == "syncc" if self.iterations is None else self.iterations[-1] > 0

    def arguments(self) -> dict[str, Any]:
        """What ``ants.registration`` is called with."""
        if self.transform == "syncc" and self.iterations is not None:  # SyNCC takes no iterations, SyN any metric
            return {"type_of_transform": "SyN", "syn_metric": "CC", "syn_sampling": CC_RADIUS, **self._iterations()}
        names = {"affine": "Affine", "syn": "SyN", "syncc": "SyNCC"}
        return {"type_of_transform": names[self.transform], **self._iterations()}

    def _iterations(self) -> dict[str, tuple[int, ...]]:
        return {} if self.iterations is None else {"reg_iterations": self.iterations}


class Placed(NamedTuple):
    """One channel of a scan, and where it lies."""

    name: str
    image: Float[Tensor, "i j k"]
    grid: Grid


class Moved(NamedTuple):
    """An atlas on the grid of a scan."""

    image: Float[Tensor, "i j k"]
    labels: Int[Tensor, "i j k"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Carried(Correspondence):
    """Which point of the atlas each point of a scan is, and the atlas as ANTs brought it there."""

    moved: Moved


def move(atlas: Placed, labels: Int[Tensor, "x y z"], scan: Placed, alignment: Alignment, folder: Path) -> Carried:
    """An atlas and its labels, registered to a scan and brought to its grid.

    Args:
        atlas: what is moved.
        labels: on the atlas's grid.
        scan: where to.
        alignment: how.
        folder: an empty one, for the transforms, which ANTs hands over as files alone.

    Raises:
        InputError: one of the two has too few voxels along an axis, or is a picture and the other is not.
        LowshotError: ANTs failed.
    """
    import ants

    _refuse_other_shapes(atlas, scan)
    told = f"{scan.name}: registering the atlas {atlas.name} to it"
    with one_message(told), _seeded(alignment.seed):
        fixed, moving = (to_ants(each.image - each.image.min(), each.grid) for each in (scan, atlas))
        found = ants.registration(fixed, moving, outprefix=f"{folder}{os.sep}", **alignment.arguments())
        if not found["fwdtransforms"]:
            raise OutputError(f"{told}: no transform could be written to {folder.parent}; make room there")
        # Each label's share is interpolated linearly and the largest wins: borders come out smooth, where those of
        # nearest neighbours are jagged, and no label comes out that the atlas does not have.
        there = ants.apply_transforms(
            fixed, to_ants(labels, atlas.grid), found["fwdtransforms"], interpolator="genericLabel"
        )
        moved = Moved(
            from_ants(found["warpedmovout"], scan.grid.shape), from_ants(there, scan.grid.shape).to(labels.dtype)
        )
        return Carried(*read_transforms(found["fwdtransforms"], scan.grid, atlas.grid), moved=moved)


@contextmanager
def working(run: Run) -> Iterator[Path]:
    """Where ANTs works: a folder for its files, gone afterwards, and the run's number of threads.

    Raises:
        MissingExtra: antspyx, or what it needs, is not installed.
    """
    _begin(run)
    with folder_for_files() as folder:
        yield folder


@contextmanager
def folder_for_files() -> Iterator[Path]:
    """A folder for what ANTs writes, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lowshot-ants-") as folder:
        yield Path(folder)


@contextmanager
def one_message(told: str) -> Iterator[None]:
    """Whatever goes wrong inside of ANTs becomes one message; what it prints about it is dropped."""
    try:
        with no_output():
            yield
    except LowshotError:
        raise
    except Exception as error:  # ANTs raises whatever comes: RuntimeError, ValueError, OSError, plain Exception
        raise LowshotError(
            f"{told}: ANTs failed ({error}); is there contrast in both, and room in {tempfile.gettempdir()}?"
        ) from error


def _begin(run: Run) -> None:
    """Import ANTs. ITK reads the number of threads once, when it is first used in a process."""
    threads = run.plan.threads
    if not _begun:
        os.environ[THREADS] = str(threads)
        _begun.append(threads)
    try:
        with quiet():
            import ants  # noqa: F401 (from now on it costs nothing)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"ANTs needs {error.name}: pip install 'lowshot[ants]'") from error
    if _begun[0] != threads:
        run.progress.warn(f"ANTs goes on with the {_begun[0]} threads that it began with in this process")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    from ants.config import set_ants_deterministic

    set_ants_deterministic(on=False, seed_value=1 + seed % (2**31 - 1))  # 0 would mean: by the clock
    try:
        yield
    finally:
        set_ants_deterministic(on=False, seed_value=None)


def _refuse_other_shapes(atlas: Placed, scan: Placed) -> None:
    flat = [each.grid.shape[2] == 1 for each in (atlas, scan)]
    if flat[0] != flat[1]:
        one, other = ("a picture" if each else "a volume" for each in flat)
        raise InputError(f"{scan.name}: the atlas {atlas.name} is {one} and this is {other}; give the same kind")
    for name, shape in ((scan.name, scan.grid.shape), (f"the atlas {atlas.name}", atlas.grid.shape)):
        if min(shape[: 2 if flat[0] else 3]) < FEWEST_VOXELS:
            raise InputError(f"{name}: ANTs needs at least {FEWEST_VOXELS} voxels along each axis, got {shape}")
