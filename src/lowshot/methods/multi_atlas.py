"""Segmentation by registration: one to five annotated scans, each deformed onto the scan, vote for every voxel's label.

No training: ``fit`` keeps the atlases, and the work is done scan by scan. With one atlas it is plain one-shot
registration. With several it stands where MABMIS (Jia et al., NeuroImage 2012) stands in LT-Net's Table 4; the
registration is ours (``lowshot.registration``), the votes are a plain one and Artaechevarria's locally weighted one
(IEEE TMI 2009), not MABMIS's tree of groupwise registrations. A vote is the share of a structure that interpolation
finds, so that the plain one, "majority", is the mean of the atlases' shares and does not count labels. Joint label
fusion (Wang et al., PAMI 2013) of the same pictures, over 3 voxels, was tried on two brains: up to 0.2 points better
with four atlases, or worse, and with two the same; ANTs has it (``ants-fusion``).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.imaging.grid import Grid
from lowshot.imaging.intensity import refuse_below_0
from lowshot.imaging.preparation import Preparation
from lowshot.inference.atlas_model import Atlas, AtlasModel, atlas_problems, prepare_atlases, stored_atlases
from lowshot.nn.geometry import Triple
from lowshot.options import SegmentOptions
from lowshot.registration.affine import Picture, align, alignment_bytes
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.deformable import MOST_VOXELS, OPTIMISING_BYTES, Refinement
from lowshot.registration.pairwise import deformed
from lowshot.task import LowShotTask
from lowshot.training.run import Run

Vote = Literal["majority", "local"]
MOST_ATLASES = 5


@dataclass(frozen=True, kw_only=True)
class MultiAtlas:
    """Settings; all defaults are ours."""

    vote: Vote = "local"
    """"local": an atlas counts for more where it came to look like the scan; "majority": all count alike, and the mean
    of their interpolated shares decides."""
    intensity: str = "percentiles"
    """How grey values are scaled."""
    most_voxels: int = MOST_VOXELS
    """Of the grid on which fields are found; where the atlas has more, that grid is coarser."""
    levels: tuple[tuple[int, int], ...] = ((4, 80), (2, 80), (1, 40))
    """(how many times coarser, steps), from coarse to fine."""
    smoothness: float = 0.35
    """Weight of the field's squared gradient against the local correlation of [0, 1]."""
    rate: float = 0.1
    """Of Adam, in voxels of a level."""

    Options: ClassVar[type] = SegmentOptions

    def __post_init__(self) -> None:
        Preparation(intensity=self.intensity)
        refuse_below_0(self.intensity)
        if self.most_voxels < 1:
            raise SettingsError(f"most_voxels: expected at least 1, got {self.most_voxels}")
        _ = self.refinement  # refuses what cannot be

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs atlases annotated everywhere."""
        return atlas_problems(task, most=MOST_ATLASES)

    def fit(self, task: LowShotTask, run: Run) -> "VotingAtlases":
        """Prepares the atlases; nothing is trained."""
        run.warn_of_no_training()
        preparation = Preparation("RAS", None, "foreground", self.intensity)
        atlases = prepare_atlases(task.support, preparation, run.progress)
        return VotingAtlases(task.names, task.channels, preparation, atlases, self)

    def restore(self, state: State) -> "VotingAtlases":
        """The atlases as they were stored."""
        header, atlases = stored_atlases(state)
        return VotingAtlases(header.names, header.channels, header.preparation, atlases, self)

    @property
    def refinement(self) -> Refinement:
        """How fields are optimised."""
        return Refinement.of(self.levels, self.smoothness, self.rate)

    def grid(self, atlas: Picture) -> Grid:
        """On which a field is found."""
        return self.refinement.grid(atlas, self.most_voxels)


@dataclass(eq=False)
class VotingAtlases(AtlasModel):
    """Registers each of its atlases with a scan."""

    settings: MultiAtlas

    def correspondence(self, query: Picture, atlas: Atlas, run: Run, options: Any) -> Correspondence:
        """Affine, then deformable."""
        world = align(query, atlas.picture)
        found = deformed(query, atlas.picture, world, self.settings.grid(atlas.picture), self.settings.refinement)
        return found if self.settings.vote == "local" else replace(found, alike=None)

    def correspondence_memory(self, shape: Triple, run: Run, options: Any) -> int:
        """Of the largest atlas's working grid, or of the affine alignment."""
        voxels = [math.prod(self.settings.grid(atlas.picture).shape) for atlas in self.atlases]
        query = Grid(shape, np.diag([*self.atlases[0].picture.grid.spacing, 1.0]))  # whose spacing is not known yet
        aligning = max(alignment_bytes(query, atlas.picture.grid) for atlas in self.atlases)
        return max(OPTIMISING_BYTES * max(voxels), aligning) + 20 * sum(voxels) + 5 * math.prod(shape)
