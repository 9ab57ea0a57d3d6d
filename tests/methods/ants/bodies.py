"""An annotated body, and the same one elsewhere: what registration has to find."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from contract.studies import BODIES, NAMES
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.methods.ants.registration import Alignment, Placed
from lowshot.training.run import Run

SIZE_MM = 60.0
AFFINE = Alignment("affine", None, seed=0)
SYN = Alignment("syn", (10, 5), seed=0)


def affine(spacing, shape, turn=None, centre=(0.0, 0.0, 0.0)):
    """Of a grid around ``centre``, whose axes are turned."""
    linear = (np.eye(3) if turn is None else turn) * np.array(spacing)
    made = np.eye(4)
    made[:3, :3] = linear
    made[:3, 3] = np.array(centre) - linear @ ((np.array(shape) - 1) / 2)
    return made


def placed(turn=(0, 0, 0), stretch=(1, 1, 1), shift=(0, 0, 0)):
    """(4, 4): a turn in degrees about each axis of the world, a stretch, a shift in mm."""
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * stretch
    made[:3, 3] = shift
    return made


def body(grid_affine, shape, *, name="body", place=None, noise=1.0):
    """The body of ``contract.studies``, rendered on any grid; ``place`` (4, 4) carries it elsewhere in the world."""
    index = np.indices(shape).reshape(3, -1)
    world = grid_affine[:3, :3] @ index + grid_affine[:3, 3:]
    own = world if place is None else (np.linalg.inv(place) @ np.vstack([world, np.ones(world.shape[1])]))[:3]
    own = (own / SIZE_MM + 0.5).reshape(3, *shape)
    voxels, labels = np.full(shape, -20.0), np.zeros(shape, np.int16)
    for k, (centre, radius, intensity) in enumerate(BODIES.values(), start=1):
        squeezed = np.array([1.0, 0.8, 1.1])[:, None, None, None]  # no symmetry that hides a turn
        inside = (((own - np.array(centre)[:, None, None, None]) / (radius * squeezed)) ** 2).sum(0) < 1
        voxels[inside], labels[inside] = intensity, k
    voxels += noise * np.random.default_rng(0).normal(size=shape)
    scan = Scan(name, torch.from_numpy(voxels.astype(np.float32))[None], grid_affine)
    return LabelledScan(scan, Segmentation(torch.from_numpy(labels), NAMES, grid_affine))


def as_placed(labelled):
    return Placed(labelled.scan.name, labelled.scan.voxels[0], labelled.scan.grid)


def dice(labels, truth):
    """Mean over the structures that the truth has."""
    pairs = [(labels == k, truth == k) for k in truth.unique().tolist() if k]
    return float(np.mean([2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in pairs]))


def one_thread(**settings):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, **settings)
