"""Labels of an atlas, carried to a scan by ANTs: affine, SyN, SyN by cross-correlation; several atlases fused.

Avants, Epstein, Grossman and Gee, "Symmetric diffeomorphic image registration with cross-correlation", Medical Image
Analysis 2008; Wang et al., "Multi-atlas segmentation with joint label fusion", TPAMI 2013. ANTs computes them, through
antspyx (Apache-2.0), an optional dependency. README.md says what is ours around it.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Literal

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.preparation import Preparation
from lowshot.inference.atlas_model import Atlas, atlas_problems, prepare_atlases, stored_atlases
from lowshot.methods.ants.fusion import JointFusion
from lowshot.methods.ants.model import RegisteredAtlases, SeededHeader
from lowshot.methods.ants.registration import Alignment, Transform
from lowshot.options import SegmentOptions
from lowshot.task import LowShotTask
from lowshot.training.run import Run

MOST_ATLASES = 5
MOST = {"patch_radius": 20, "search_radius": 20}
MOST_ITERATIONS = 100_000
MOST_LEVELS = 9
"""ANTs writes smoothing sigmas with one digit."""


@dataclass(frozen=True, kw_only=True)
class Ants:
    """Registration of one or several annotated scans to each scan that is segmented. Nothing is trained.

    Defaults are those of antspyx (code) unless marked ours.
    """

    # What ANTs sees
    orientation: Literal["RAS"] | None = "RAS"  # ours: scans are turned to it; None leaves them
    spacing: tuple[float, float, float] | None = None  # ours: None is each scan's own
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "percentiles"  # ours: 0 to 1
    channel: str | None = None  # ours: the one that is registered; None is the first

    # Registration
    transform: Transform = "syn"  # code: what ANTs looks for
    iterations: tuple[int, ...] | None = None  # code: None is ANTs' own, 40×20×0 for syn, 2100×1200×1200×20 for syncc

    # Several atlases
    fusion: Literal["majority", "joint"] = "majority"  # ours: how several warped atlases are made one
    alpha: float = 0.01  # code: added to the fusion's covariances; paper 0.1
    beta: float = 4.0  # code: exponent of the intensities' difference; paper 2
    patch_radius: int = 2  # code and paper: voxels about each that are compared
    search_radius: int = 3  # code and paper: voxels about each in which patches are looked for

    Options: ClassVar[type] = SegmentOptions

    def __post_init__(self) -> None:
        self._preparation()
        if self.iterations is not None:
            self._refuse_iterations(self.iterations)
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name, most in MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"{name}: expected 0 to {most} voxels, got {getattr(self, name)}")

    def _refuse_iterations(self, iterations: tuple[int, ...]) -> None:
        if self.transform == "affine":
            raise SettingsError("iterations: they are of the deformable part, and transform is affine")
        if not 1 <= len(iterations) <= MOST_LEVELS or not all(0 <= each <= MOST_ITERATIONS for each in iterations):
            raise SettingsError(
                f"iterations: expected one number for each of at most {MOST_LEVELS} levels, from coarse to fine, "
                f"got {iterations}"
            )

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs scans that are annotated throughout, two of them for joint fusion; and ANTs."""
        found = atlas_problems(task, most=MOST_ATLASES)
        if self.fusion == "joint" and len(task.support) == 1:
            found.append("joint fusion weighs atlases against each other; give at least two annotated scans")
        if self.channel is not None and self.channel not in task.channels:
            found.append(f"channel: the scans have {', '.join(task.channels)}, not {self.channel}")
        if find_spec("ants") is None:
            found.append("antspyx is not installed: pip install 'lowshot[ants]'")
        return found

    def fit(self, task: LowShotTask, run: Run) -> RegisteredAtlases:
        """Keep the annotated scans as atlases."""
        run.warn_of_no_training()
        preparation = self._preparation()
        header = SeededHeader(task.names, task.channels, preparation, run.seed)
        return self._model(header, prepare_atlases(task.support, preparation, run.progress))

    def restore(self, state: State) -> RegisteredAtlases:
        """The atlases of the state, to be registered as the settings say."""
        return self._model(SeededHeader.from_json(state.header), stored_atlases(state)[1])

    def _preparation(self) -> Preparation:
        return Preparation(self.orientation, self.spacing, self.crop, self.intensity)

    def _model(self, header: SeededHeader, atlases: tuple[Atlas, ...]) -> RegisteredAtlases:
        channel = 0 if self.channel is None else header.channels.index(self.channel)
        alignment = Alignment(self.transform, self.iterations, header.seed)
        fusion = JointFusion(self.alpha, self.beta, self.patch_radius, self.search_radius)
        return RegisteredAtlases(header, atlases, channel, alignment, fusion if self.fusion == "joint" else None)
