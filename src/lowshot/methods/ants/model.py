"""The model: atlases, and how they are brought to a scan."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from lowshot.contract import Region, State
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.atlas_model import Atlas
from lowshot.inference.header import Header
from lowshot.methods.ants.fusion import EVERYWHERE, JointFusion, majority
from lowshot.methods.ants.registration import Alignment, Carried, Placed, folder_for_files, move, working
from lowshot.options import SegmentOptions
from lowshot.registration.affine import Picture
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.likeness import likeness
from lowshot.training.run import Run

# Measured on brains, of 5 million voxels and cut to 1 million, with 2 and 4 atlases and 7 and 29 classes.
LIBRARY_BYTES = 270_000_000
"""ANTs and what it imports, 220 MB; and what finding a body takes of a sample of voxels."""
AFFINE_BYTES, COARSE_BYTES, FINE_BYTES = 60, 170, 360
"""Per voxel of the scan while an atlas is registered: without fields, with fields up to half the size, to full size."""
ATLAS_BYTES = 20
"""Per voxel of the atlas, meanwhile."""
MOVED_BYTES = 6
"""Per voxel of the scan and atlas that has been moved: image and labels."""
FIELD_BYTES = 12
"""Per voxel of the scan and atlas that has been deformed, and not only mapped as a whole."""
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
        return self.copied(prepared, self.correspondences(prepared, run, options))

    def correspondences(self, prepared: Prepared, run: Run, options: SegmentOptions) -> list[Carried]:
        """One for each atlas, with what ANTs carried along.

        Raises:
            MissingExtra: antspyx is not installed here.
            LowshotError: ANTs failed.
        """
        with working(run) as folder:
            return list(self._carried(self._placed(prepared), folder))

    def copied(self, prepared: Prepared, found: Sequence[Correspondence]) -> Iterator[Region]:
        """What ANTs carried, not what could be sampled again: its labels are smoother.

        Args:
            prepared: the scan.
            found: what ``correspondences`` returned.

        Raises:
            LowshotError: ANTs failed.
        """
        moved, scan = [cast(Carried, each).moved for each in found], self._placed(prepared)
        if len(moved) == 1:
            yield Region(EVERYWHERE, moved[0].labels)
        elif self.fusion is None:
            yield from majority(moved, scan.image, len(self.names))
        else:
            with folder_for_files() as folder:
                yield from self.fusion(moved, scan, folder)

    def likeness(self, prepared: Prepared, found: Sequence[Correspondence]) -> float:
        """Of the atlas that came to look most like the scan, in the channel that is registered."""
        query = self._pictured(prepared)
        return max(
            likeness(query, self._pictured(atlas.picture), each)
            for atlas, each in zip(self.atlases, found, strict=True)
        )

    def _placed(self, scan: Prepared | Picture) -> Placed:
        return Placed(scan.name, scan.voxels[self.channel], scan.grid)

    def _pictured(self, scan: Prepared | Picture) -> Picture:
        name, image, grid = self._placed(scan)
        return Picture.of(name, image[None], grid)

    def _carried(self, scan: Placed, folder: Path) -> Iterator[Carried]:
        for n, atlas in enumerate(self.atlases):
            part = folder / str(n)
            part.mkdir()
            yield move(self._placed(atlas.picture), atlas.labels, scan, self.alignment, part)
            shutil.rmtree(part)  # fields are larger than the scan

    def working_memory(self, shape: tuple[int, int, int], run: Run, options: SegmentOptions) -> int:
        """The larger of registration and fusion; the atlases that were moved before stay, and so do their fields."""
        voxels, count = math.prod(shape), len(self.atlases)
        registering = self._registration_bytes() * voxels + ATLAS_BYTES * max(a.labels.numel() for a in self.atlases)
        fusing = VOTE_BYTES if self.fusion is None else FUSION_BYTES * count + SHARE_BYTES * len(self.names)
        kept = (MOVED_BYTES + (0 if self.alignment.transform == "affine" else FIELD_BYTES)) * count * voxels
        return LIBRARY_BYTES + kept + max(registering, fusing * voxels if count > 1 else 0)

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
