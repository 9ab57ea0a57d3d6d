"""The model: atlases, and how they are brought to a scan."""

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lowshot.contract import Region, State
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.atlas_model import Atlas
from lowshot.inference.header import Header
from lowshot.methods.ants.fusion import EVERYWHERE, JointFusion, majority
from lowshot.methods.ants.registration import Alignment, Moved, Placed, move, working
from lowshot.options import SegmentOptions
from lowshot.training.run import Run

# Measured on brains, of 5 million voxels and cut to 1 million, with 2 and 4 atlases and 7 and 29 classes.
LIBRARY_BYTES = 220_000_000
"""ANTs, and what it imports."""
AFFINE_BYTES, COARSE_BYTES, FINE_BYTES = 60, 170, 360
"""Per voxel of the scan while an atlas is registered: without fields, with fields up to half the size, to full size."""
ATLAS_BYTES = 20
"""Per voxel of the atlas, meanwhile."""
MOVED_BYTES = 6
"""Per voxel of the scan and atlas that has been moved: image and labels."""
VOTE_BYTES = 12
"""Per voxel of the scan, for the votes of one class."""
FUSION_BYTES, SHARE_BYTES = 30, 20
"""Per voxel of the scan, for each atlas and for each class that are fused."""


@dataclass(frozen=True)
class SeededHeader(Header):
    """What a model is besides its atlases and its method's settings."""

    seed: int
    """Of the fit, so that a scan gets the same labels whoever segments it."""

    def to_json(self) -> dict[str, Any]:
        """With the seed."""
        return {**super().to_json(), "seed": self.seed}

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """With the seed."""
        return {**super().parts(header), "seed": header["seed"]}


@dataclass(eq=False)
class RegisteredAtlases:
    """Carries its atlases along; to every scan they are registered anew."""

    header: SeededHeader
    atlases: tuple[Atlas, ...]
    channel: int
    """Which of the channels is registered."""
    alignment: Alignment
    fusion: JointFusion | None
    """None: by majority."""

    @property
    def names(self) -> Names:
        """The structures it segments."""
        return self.header.names

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels a scan must have, in this order."""
        return self.header.channels

    @property
    def preparation(self) -> Preparation:
        """How a scan becomes its input."""
        return self.header.preparation

    def regions(self, prepared: Prepared, run: Run, options: SegmentOptions) -> Iterator[Region]:
        """The labels of one atlas as they are; of several, the share of each class.

        Raises:
            MissingExtra: antspyx is not installed here.
            LowshotError: ANTs failed.
        """
        scan = Placed(prepared.name, prepared.voxels[self.channel], prepared.grid)
        with working(run) as folder:
            moved = list(self._moved(scan, folder))
            if len(moved) == 1:
                yield Region(EVERYWHERE, moved[0].labels)
            elif self.fusion is None:
                yield from majority(moved, scan.image, len(self.names))
            else:
                yield from self.fusion(moved, scan, folder)

    def _moved(self, scan: Placed, folder: Path) -> Iterator[Moved]:
        for n, (picture, labels) in enumerate((atlas.picture, atlas.labels) for atlas in self.atlases):
            part = folder / str(n)
            part.mkdir()
            atlas = Placed(picture.name, picture.voxels[self.channel], picture.grid)
            yield move(atlas, labels, scan, self.alignment, part)
            shutil.rmtree(part)  # fields are larger than the scan

    def working_memory(self, shape: tuple[int, int, int], run: Run, options: SegmentOptions) -> int:
        """The larger of registration and fusion; the atlases that were moved before stay."""
        voxels, count = math.prod(shape), len(self.atlases)
        registering = self._registration_bytes() * voxels + ATLAS_BYTES * max(a.labels.numel() for a in self.atlases)
        fusing = VOTE_BYTES if self.fusion is None else FUSION_BYTES * count + SHARE_BYTES * len(self.names)
        return LIBRARY_BYTES + MOVED_BYTES * count * voxels + max(registering, fusing * voxels if count > 1 else 0)

    def _registration_bytes(self) -> int:
        if self.alignment.transform == "affine":
            return AFFINE_BYTES
        return FINE_BYTES if self.alignment.reaches_full_size else COARSE_BYTES

    def state(self) -> State:
        """The atlases; names, preparation and seed in the header."""
        described, tensors = [], dict[str, Tensor]()
        for n, atlas in enumerate(self.atlases):
            described.append({"name": atlas.picture.name, "affine": atlas.picture.grid.affine.tolist()})
            tensors |= {f"atlas {n} image": atlas.picture.voxels, f"atlas {n} labels": atlas.labels}
        return State({**self.header.to_json(), "atlases": described}, tensors)
