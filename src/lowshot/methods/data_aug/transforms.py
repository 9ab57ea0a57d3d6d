"""What trained transform models make of the pool; all on the working grid, and on the CPU."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.imaging.grid import Grid
from lowshot.methods.data_aug.batches import Laid
from lowshot.registration.fields import in_mm, warp
from lowshot.training.run import Run


@torch.no_grad()
def displacements(
    to_target: nn.Module, atlas: Float[Tensor, "c i j k"], pool: Sequence[Laid], grid: Grid, run: Run
) -> Float[Tensor, "n 3 i j k"]:
    """By which the atlas comes to look like each scan, in mm."""
    run.place(to_target)
    return torch.stack([_field(to_target, atlas, scan.voxels, grid, run) for scan in pool])


@torch.no_grad()
def brought_back(
    to_atlas: nn.Module, atlas: Float[Tensor, "c i j k"], pool: Sequence[Laid], grid: Grid, run: Run
) -> Float[Tensor, "n c i j k"]:
    """Each scan in atlas space."""
    run.place(to_atlas)
    fields = (_field(to_atlas, scan.voxels, atlas, grid, run) for scan in pool)
    back = [warp(scan.voxels[None], field[None], grid.spacing)[0] for scan, field in zip(pool, fields, strict=True)]
    return torch.stack(back)


@torch.no_grad()
def changes(
    model: nn.Module, atlas: Float[Tensor, "c i j k"], brought: Float[Tensor, "n c i j k"], run: Run
) -> Float[Tensor, "n c i j k"]:
    """ψ of each scan."""
    run.place(model)
    found = []
    for scan in brought:
        with run.autocast():
            psi = model(run.tensor(atlas[None]), run.tensor(scan[None]))
        found.append(psi[0].float().cpu().contiguous())
    return torch.stack(found)


def _field(model: nn.Module, moving: Tensor, fixed: Tensor, grid: Grid, run: Run) -> Float[Tensor, "3 i j k"]:
    with run.autocast():
        field = model(run.tensor(moving[None]), run.tensor(fixed[None]))
    return in_mm(field.float(), grid.spacing)[0].cpu().contiguous()
