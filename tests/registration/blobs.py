"""A body of smooth blobs that is known at every point of the world, so that it can be seen on any grid and anywhere."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture
from lowshot.registration.sampling import blur

RADII_MM = np.array([30.0, 38.0, 26.0])
_random = np.random.default_rng(5)
_CENTRES = _random.uniform(-0.55, 0.55, (14, 3)) * RADII_MM
_WIDTHS = _random.uniform(4.0, 8.0, 14)
_HEIGHTS = _random.uniform(0.25, 0.6, 14) * np.where(np.arange(14) % 2, 1, -1)


def grid(shape=(20, 24, 18), mm=(5.0, 5.0, 5.0), turn=(0, 0, 0), centre=(0, 0, 0)):
    """Around a point of the world; its axes turned by degrees."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * np.array(mm)
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(tuple(shape), matrix)


def placed(turn=(0, 0, 0), stretch=(1, 1, 1), shift=(0, 0, 0)):
    """(4, 4): a stretch along each axis of the world, a turn about each in degrees, and a shift in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * np.array(stretch)
    matrix[:3, 3] = shift
    return matrix


def world(grid):
    """The position of every voxel, (i, j, k, 3)."""
    return np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def intensity(points):
    """What the body looks like at points of the world: 0 outside, about 0.1 to 1 inside."""
    beyond = np.linalg.norm(points / RADII_MM, axis=-1) - 1
    body = 0.5 / (1 + np.exp(np.clip(12 * beyond, -50, 50)))
    away = np.linalg.norm(points[..., None, :] - _CENTRES, axis=-1) / _WIDTHS
    return (body * (1 + (_HEIGHTS * 1.6 * np.exp(-0.5 * away**2)).sum(-1))).clip(0)


def picture(on, place=None, name="blobs", noise=0.0):
    """The body on a grid; ``place`` (4, 4) has carried it elsewhere."""
    back = np.linalg.inv(np.eye(4) if place is None else place)
    seen = intensity(world(on) @ back[:3, :3].T + back[:3, 3])
    seen = np.where(seen < 0.02, 0, seen) + noise * np.random.default_rng(1).normal(size=on.shape)
    return Picture.of(name, torch.from_numpy(seen.astype(np.float32))[None], on)


def smooth_field(shape, spacing, mean_mm, wave_mm=40.0, seed=0):
    """A random displacement field in mm, (3, i, j, k), as long as told on average."""
    nodes = [
        1 if size == 1 else max(4, round(size * mm / wave_mm) + 2) for size, mm in zip(shape, spacing, strict=True)
    ]
    drawn = torch.randn(1, 3, *nodes, generator=torch.Generator().manual_seed(seed))
    field = F.interpolate(drawn, size=tuple(shape), mode="trilinear", align_corners=True)
    field = blur(field, tuple(wave_mm / 2 / mm for mm in spacing))[0]
    flat = torch.tensor(shape) == 1
    field[flat] = 0
    return field * mean_mm / field.norm(dim=0).mean()
