"""From several atlases on one grid to the labels of the scan."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.contract import Region
from lowshot.errors import OutputError
from lowshot.methods.ants.registration import Moved, Placed, one_message

Box = tuple[slice, slice, slice]
EVERYWHERE: Box = (slice(None), slice(None), slice(None))

CASTING_VOTE = 0.01
"""How much more than one vote the atlas has that looks most like the scan."""


def majority(moved: Sequence[Moved], image: Float[Tensor, "i j k"], classes: int) -> Iterator[Region]:
    """The share of the atlases that vote for a class, class by class.

    Of two atlases that disagree neither has a majority; the one decides that looks more like the scan.
    """
    votes = torch.ones(len(moved))
    votes[max(range(len(moved)), key=lambda n: _correlation(moved[n].image, image))] += CASTING_VOTE
    votes /= votes.sum()
    for k in range(classes):
        share = torch.zeros(image.shape)
        for vote, atlas in zip(votes.tolist(), moved, strict=True):
            share += vote * (atlas.labels == k)
        yield Region(EVERYWHERE, share[None], slice(k, k + 1))


@dataclass(frozen=True)
class JointFusion:
    """Joint label fusion (Wang et al., 2013) by ``ants.joint_label_fusion``, in the paper's symbols."""

    alpha: float
    """Of the ridge that keeps the weights from contradicting each other."""
    beta: float
    """How sharply weights fall with the difference of two patches."""
    patch_radius: int
    """Voxels."""
    search_radius: int
    """Voxels: how far from its place an atlas's patch is looked for."""

    def __call__(self, moved: Sequence[Moved], scan: Placed, folder: Path) -> Iterator[Region]:
        """The probability of each class; computed around what any of the atlases has annotated, background elsewhere.

        ANTs gives probabilities of structures alone (and a label map that has no background where it computed, which
        is left aside); what they leave of 1 is the background's.
        """
        annotated = torch.stack([atlas.labels > 0 for atlas in moved]).any(dim=0)
        background = torch.ones(scan.grid.shape)
        if annotated.any():
            box = bounding_box(annotated, self.patch_radius + self.search_radius)
            shares = self._shares(moved, scan, annotated, box, folder)
            background[box] -= sum(shares.values())
            for k, share in shares.items():
                yield Region(box, share[None], slice(k, k + 1))
        yield Region(EVERYWHERE, background.clamp(0, 1)[None], slice(0, 1))

    def _shares(
        self,
        moved: Sequence[Moved],
        scan: Placed,
        annotated: Bool[Tensor, "i j k"],
        box: Box,
        folder: Path,
    ) -> dict[int, Float[Tensor, "x y z"]]:
        """Of each structure that an atlas has, in the box."""
        import ants

        with one_message(f"{scan.name}: fusing the labels of {len(moved)} atlases"):
            found = ants.joint_label_fusion(
                _cut(scan.image, box),
                _cut(annotated, box),
                [_cut(atlas.image, box) for atlas in moved],
                label_list=[_cut(atlas.labels, box) for atlas in moved],
                rho=self.alpha,
                beta=self.beta,
                rad=self.patch_radius,
                r_search=self.search_radius,
                output_prefix=f"{folder}{os.sep}",
            )
        shape = scan.image[box].shape
        shares = {
            int(number): torch.from_numpy(share.numpy().copy()).reshape(shape).clamp(0, 1)
            for number, share in zip(found["segmentation_numbers"], found["probabilityimages"], strict=True)
        }
        if shares.keys() != {k for atlas in moved for k in np.unique(atlas.labels.numpy()).tolist() if k}:
            raise OutputError(f"{scan.name}: fused labels could not be written to {folder.parent}; make room there")
        return shares


def bounding_box(inside: Bool[Tensor, "i j k"], margin: int) -> Box:
    """The box around what is True, and ``margin`` voxels more where there are any."""
    lines = (inside.any(2).any(1), inside.any(2).any(0), inside.any(1).any(0))
    i, j, k = (line.nonzero()[:, 0].tolist() for line in lines)
    return _widened(i, margin), _widened(j, margin), _widened(k, margin)


def _widened(indices: Sequence[int], margin: int) -> slice:
    return slice(max(0, indices[0] - margin), indices[-1] + 1 + margin)


def _cut(voxels: Float[Tensor, "i j k"] | Int[Tensor, "i j k"] | Bool[Tensor, "i j k"], box: Box) -> Any:
    """A part of an image for ANTs. Fusion goes by voxels, so where they lie does not matter."""
    import ants

    part = voxels[box].float()
    return ants.from_numpy((part[:, :, 0] if voxels.shape[2] == 1 else part).numpy())


def _correlation(one: Float[Tensor, "i j k"], other: Float[Tensor, "i j k"]) -> float:
    """Of their grey values; 0 where one of them is constant."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].nan_to_num())
