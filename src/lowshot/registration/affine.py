"""Affine alignment of two scans by their images alone: rigid from several starts, then affine, coarse to fine.

Ours; LT-Net describes no such step, and its scans lie alike. Everything is in world millimetres, so that the two scans
may have different boxes, spacings and orientations. Two pictures of one slice stay in their planes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lowshot.errors import InputError
from lowshot.imaging.foreground import foreground
from lowshot.imaging.grid import Affine, Grid
from lowshot.losses.similarity import local_ncc
from lowshot.nn.geometry import working_spacing
from lowshot.registration.descent import Adam
from lowshot.registration.sampling import onto_grid, sample, voxel_positions
from lowshot.transforms.spatial import rotation_matrices

COARSE_VOXELS, FINE_VOXELS = 4_000, 64_000
"""Of the smaller of the two scans, at the spacings at which starts are compared, and at which the best is finished."""
MOST_TIMES = 16
"""As many voxels may the larger of the two have then."""
TILT = math.radians(25)
"""Starts are turned by this angle about each axis, either way."""
STARTS = 14
ANOTHER_SIZE = math.log(1.5)
"""Where bodies differ by more, as pictures of unknown size do, one start has the other's size."""
_SIZES = torch.tensor([[1.0, 1, 1, 0, 0, 0]], dtype=torch.float64)
RIGID_STEPS, AFFINE_STEPS, FINE_STEPS = 40, 40, 60
RATE = 0.02
"""Of Adam: radians, relative change of size, shear; and that part of the fixed scan's radius for shifts."""
LEAST_SHARED = 0.2
"""Of the fixed scan's body that must lie in the moving scan's box."""
BYTES_PER_POINT = 280
"""Of a coarse grid, for each start: positions, what is seen there, and what their gradients need (measured)."""
BLURRING_BYTES = 16
"""Per voxel of the larger scan, while it is made coarser (measured)."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Picture:
    """One channel or more on a grid, and which voxels show the body."""

    name: str
    voxels: Float[Tensor, "c i j k"]
    grid: Grid
    body: Bool[Tensor, "i j k"]
    """At least one voxel."""

    @classmethod
    def of(cls, name: str, voxels: Float[Tensor, "c i j k"], grid: Grid) -> "Picture":
        """Finds the body in the first channel."""
        return cls(name, voxels, grid, torch.from_numpy(foreground(voxels[0].cpu().numpy())))

    def to(self, device: torch.device) -> "Picture":
        """The same on another device."""
        return replace(self, voxels=self.voxels.to(device), body=self.body.to(device))

    def at(self, spacing_mm: float) -> "Picture":
        """The same at a coarser, cubic spacing."""
        grid = _coarser(self.grid, spacing_mm)
        voxels = onto_grid(self.voxels, self.grid, grid, outside="border")
        share = onto_grid(self.body[None].float(), self.grid, grid, outside="border")[0]
        return Picture(self.name, voxels, grid, share >= share.max().clamp(max=0.5))

    def centre(self) -> Vector:
        """Centroid of the body, in world mm."""
        return np.asarray(self.grid.affine[:3, :3] @ self._moments()[0] + self.grid.affine[:3, 3], dtype=np.float64)

    def radius(self) -> float:
        """Root of the mean squared distance of the body's voxels from their centroid, in mm; of one voxel, its size."""
        steps = self.grid.affine[:3, :3]
        return max(math.sqrt(max(0.0, np.trace(steps @ self._moments()[1] @ steps.T))), min(self.grid.spacing))

    def _moments(self) -> tuple[Vector, Float64[np.ndarray, "3 3"]]:
        """Mean and covariance of the indices of the body's voxels, from its shadows: a list of them all would take 24
        bytes for each.
        """
        body = self.body.cpu()
        shadows = {pair: body.sum(dim=3 - sum(pair)).double().numpy() for pair in ((0, 1), (0, 2), (1, 2))}
        lines = [shadows[0, 1].sum(axis=1), shadows[0, 1].sum(axis=0), shadows[0, 2].sum(axis=0)]
        total = lines[0].sum()
        mean = np.array([np.arange(len(line)) @ line / total for line in lines])
        away = [np.arange(len(line)) - middle for line, middle in zip(lines, mean, strict=True)]
        covariance = np.diag([each**2 @ line / total for each, line in zip(away, lines, strict=True)])
        for (a, b), shadow in shadows.items():
            covariance[a, b] = covariance[b, a] = away[a] @ shadow @ away[b] / total
        return mean, covariance

    def box(self) -> tuple[Vector, Vector]:
        """The two ends of the body's box, in world mm."""
        here, body = self.body.cpu().any(dim=2), self.body.cpu().to(torch.uint8)
        columns = here.nonzero().double()
        first, last = body.argmax(dim=2)[here], body.shape[2] - 1 - body.flip(2).argmax(dim=2)[here]
        # Along a column all grows or falls, so that its ends are enough.
        at = torch.cat([torch.cat([columns, end[:, None].double()], dim=1) for end in (first, last)]).numpy()
        world = at @ self.grid.affine[:3, :3].T + self.grid.affine[:3, 3]
        return world.min(axis=0), world.max(axis=0)


def align(fixed: Picture, moving: Picture) -> Affine:
    """The (4, 4) matrix from world mm of ``fixed`` to world mm of ``moving`` where their first channels look alike.

    Raises:
        InputError: they share hardly anything, however one is laid upon the other; one is a picture of one slice, and
            the other is not.
    """
    _refuse_slice_and_volume(fixed, moving)
    fixed, moving = (replace(each, voxels=each.voxels[:1]) for each in (fixed, moving))
    coarse, fine = (
        (fixed.at(mm), moving.at(mm))
        for mm in (_spacing(fixed.grid, moving.grid, voxels) for voxels in (COARSE_VOXELS, FINE_VOXELS))
    )
    search = _Search.begin(*coarse)
    search.climb(*coarse, steps=RIGID_STEPS, affine=False)
    search = search.best(*coarse)
    search.climb(*coarse, steps=AFFINE_STEPS, affine=True)
    search.climb(*fine, steps=FINE_STEPS, affine=True, local=True)
    shared = float(search.shared(*fine)[0])
    if shared < LEAST_SHARED:
        raise InputError(
            f"{fixed.name}: only {shared:.0%} of it can be laid upon {moving.name}; expected scans of the same part "
            f"of the body, of which {moving.name} shows at least {LEAST_SHARED:.0%}: is its field of view too small?"
        )
    return search.worlds()[0].numpy()


def centred(fixed: Picture, moving: Picture) -> Affine:
    """The shift that lays the centroid of the fixed scan's body upon that of the moving one's, as ``align`` would.

    Raises:
        InputError: one is a picture of one slice, and the other is not.
    """
    _refuse_slice_and_volume(fixed, moving)
    M = np.eye(4)
    M[:3, 3] = moving.centre() - fixed.centre()
    return M


def alignment_bytes(fixed: Grid, moving: Grid) -> int:
    """Memory that ``align`` takes at its peak, the pictures not counted."""
    spacings = (_spacing(fixed, moving, voxels) for voxels in (COARSE_VOXELS, FINE_VOXELS))
    coarse, fine = (math.prod(_coarser(fixed, mm).shape) for mm in spacings)
    blurring = BLURRING_BYTES * max(math.prod(fixed.shape), math.prod(moving.shape))
    return max(BYTES_PER_POINT * max(STARTS * coarse, fine), blurring)


def _refuse_slice_and_volume(fixed: Picture, moving: Picture) -> None:
    if _is_flat(fixed.grid) != _is_flat(moving.grid):
        one, other = (fixed, moving) if _is_flat(fixed.grid) else (moving, fixed)
        raise InputError(
            f"{one.name} is a single slice and {other.name} a volume, which cannot be laid upon each other; expected "
            "two slices or two volumes"
        )


def _is_flat(grid: Grid) -> bool:
    return 1 in grid.shape


def _spacing(fixed: Grid, moving: Grid, voxels: int) -> float:
    """At which the smaller of the two has about as many voxels, and the larger not too many times as many."""
    extents = ([size * mm for size, mm in zip(grid.shape, grid.spacing, strict=True)] for grid in (fixed, moving))
    own = (fixed.spacing, moving.spacing)
    both = list(zip(extents, own, strict=True))
    wanted = min(min(working_spacing(extent, steps, voxels)) for extent, steps in both)
    for grid, (extent, steps) in zip((fixed, moving), both, strict=True):
        if math.prod(_coarser(grid, wanted).shape) > MOST_TIMES * voxels:
            wanted = max(wanted, min(working_spacing(extent, steps, MOST_TIMES * voxels)))
    return wanted


def _coarser(grid: Grid, spacing_mm: float) -> Grid:
    """Over the same box, at a cubic spacing; as it is along axes that are coarser already, or flat."""
    steps = [
        max(1.0, spacing_mm / own) if size > 1 else 1.0 for size, own in zip(grid.shape, grid.spacing, strict=True)
    ]
    sizes = [max(1, math.ceil(size / step)) for size, step in zip(grid.shape, steps, strict=True)]
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = [(size - 1 - step * (n - 1)) / 2 for size, step, n in zip(grid.shape, steps, sizes, strict=True)]
    return Grid((sizes[0], sizes[1], sizes[2]), grid.affine @ matrix)


@dataclass(frozen=True, eq=False)
class _Axes:
    """Along which a search moves, as columns: those of the world; of two slices, two in their planes and the normal."""

    fixed: Float[Tensor, "3 3"]
    moving: Float[Tensor, "3 3"]
    """What comes to lie upon those of the fixed scan where nothing is turned."""
    rigid: Float[Tensor, " 6"]
    """1 for each angle and shift that is free, 0 for one that would leave the plane."""
    shape: Float[Tensor, " 6"]
    """The same for sizes and shears."""

    @classmethod
    def between(cls, fixed: Grid, moving: Grid) -> "_Axes":
        if not _is_flat(fixed):
            world, free = torch.eye(3, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
            return cls(world, world, free, free)
        along, normal = _plane(fixed)
        _, other = _plane(moving)
        axes = np.stack([along, np.cross(normal, along), normal], axis=1)
        turned = _least_turn(normal, other if normal @ other >= 0 else -other) @ axes
        rigid, shape = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 0, 1, 0, 0]], dtype=torch.float64)
        return cls(torch.from_numpy(axes), torch.from_numpy(turned), rigid, shape)


def _plane(grid: Grid) -> tuple[Vector, Vector]:
    """Of a slice: a direction in its plane, and that across."""
    flat = grid.shape.index(1)
    directions = (grid.affine[:3, :3] / grid.spacing).T
    along, normal = directions[flat - 2], np.cross(directions[flat - 2], directions[flat - 1])
    return along, normal / np.linalg.norm(normal)


def _least_turn(start: Vector, end: Vector) -> Affine:
    """The rotation that turns one direction into another, which lies no more than 90° from it, and no further."""
    x, y, z = np.cross(start, end)
    W = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + W + W @ W / (1 + start @ end), dtype=np.float64)


@dataclass(eq=False)
class _Search:
    """Affine maps q = centre_moving + B · (t + R(ω) · shear · size · Aᵀ · (p − centre_fixed)), one for each start.

    A and B are the ``axes``. The few parameters are float64 and on the CPU, wherever the scans are.
    """

    centre_fixed: Float[Tensor, " 3"]
    centre_moving: Float[Tensor, " 3"]
    radius: float
    axes: _Axes
    rigid: Float[Tensor, "b 6"]
    """Angles, and shifts in radii."""
    shape: Float[Tensor, "b 6"]
    """Logarithms of size, and shears."""

    @classmethod
    def begin(cls, fixed: Picture, moving: Picture) -> "_Search":
        """Centroid on centroid, upright and tilted; then with either end of the bodies level, along each axis."""
        axes = _Axes.between(fixed.grid, moving.grid)
        centre, other = fixed.centre(), moving.centre()
        ends, other_ends = np.stack(fixed.box()) - centre, np.stack(moving.box()) - other
        radius = max(min(fixed.grid.spacing), float(np.linalg.norm(ends[1] - ends[0])) / 4)
        tilts = TILT * torch.eye(3, 6, dtype=torch.float64)
        shifts = torch.from_numpy((other_ends - ends)[..., None] / radius * np.eye(3)).flatten(0, 1) @ axes.moving
        starts = torch.cat([torch.zeros(1, 6), tilts, -tilts, F.pad(shifts, (3, 0))])
        starts = torch.unique(starts * axes.rigid, dim=0)  # in a plane some of them are the same
        upright = torch.zeros(1, 6, dtype=starts.dtype)
        starts = torch.cat([upright, starts[starts.any(dim=1)]])  # first: the best of nothing is as it was
        shape = torch.zeros_like(starts)
        size = math.log(moving.radius() / fixed.radius())
        if abs(size) > ANOTHER_SIZE:
            starts, shape = torch.cat([starts, upright]), torch.cat([shape, size * _SIZES])
        return cls(torch.from_numpy(centre), torch.from_numpy(other), radius, axes, starts, shape)

    def climb(self, fixed: Picture, moving: Picture, *, steps: int, affine: bool, local: bool = False) -> None:
        """From every start towards more similarity."""
        parameters = [self.rigid.requires_grad_(), *([self.shape.requires_grad_()] if affine else [])]
        descent = Adam(parameters)
        with torch.enable_grad():
            for step in range(steps):
                torch.autograd.backward(-self._similarity(fixed, moving, local).sum())
                descent.step(RATE * (1 - 0.9 * step / steps))
        self.rigid, self.shape = self.rigid.detach(), self.shape.detach()

    def best(self, fixed: Picture, moving: Picture) -> "_Search":
        """The one start that came furthest; what it leaves uncovered counts against it."""
        with torch.no_grad():
            score = self._similarity(fixed, moving, local=False) * self.shared(fixed, moving).sqrt()
        n = int(score.argmax())
        return replace(self, rigid=self.rigid[n : n + 1], shape=self.shape[n : n + 1])

    def worlds(self) -> Float[Tensor, "b 4 4"]:
        """From world mm of the fixed scan to world mm of the moving one."""
        rigid, shape = self.rigid * self.axes.rigid, self.shape * self.axes.shape
        a, b, c = shape[:, 3:].unbind(1)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        shear = torch.stack([one, a, b, zero, one, c, zero, zero, one], dim=1).reshape(-1, 3, 3)
        own = rotation_matrices(rigid[:, :3]) @ shear @ torch.diag_embed(shape[:, :3].exp())
        linear = self.axes.moving @ own @ self.axes.fixed.mT
        shift = self.centre_moving + self.radius * rigid[:, 3:] @ self.axes.moving.mT - linear @ self.centre_fixed
        last = torch.tensor([0.0, 0, 0, 1], dtype=shift.dtype).expand(len(shift), 1, 4)
        return torch.cat([torch.cat([linear, shift[..., None]], dim=2), last], dim=1)

    def shared(self, fixed: Picture, moving: Picture) -> Float[Tensor, " b"]:
        """Which share of the fixed scan's body lies in the moving scan's box."""
        return _within(self._positions(fixed, moving), moving)[:, fixed.body].mean(dim=1)

    def _positions(self, fixed: Picture, moving: Picture) -> Float[Tensor, "b x y z 3"]:
        """Where the fixed scan's voxels come to lie, in voxels of the moving one."""
        before, after = torch.from_numpy(fixed.grid.affine), torch.from_numpy(np.linalg.inv(moving.grid.affine))
        matrices = (after @ self.worlds() @ before).float().to(fixed.voxels.device)
        here = voxel_positions(fixed.grid.shape, fixed.voxels.device)
        there = here.flatten(0, 2) @ matrices[:, :3, :3].mT + matrices[:, None, :3, 3]
        return there.reshape(-1, *here.shape)

    def _similarity(self, fixed: Picture, moving: Picture, local: bool) -> Float[Tensor, " b"]:
        """Over what both scans show; where local, of the body alone, as windows full of nothing are hardly alike."""
        positions = self._positions(fixed, moving)
        within, count = _within(positions, moving), len(positions)
        seen = sample(moving.voxels[None].expand(count, -1, -1, -1, -1), positions, outside="border")
        if local:
            return local_ncc(fixed.voxels[None], seen, valid=((within > 0.5) & fixed.body)[:, None])[None]
        return _correlation(fixed.voxels.expand(count, -1, -1, -1), seen[:, 0], within)


def _within(positions: Float[Tensor, "b x y z 3"], picture: Picture) -> Float[Tensor, "b x y z"]:
    """1 in a picture's box, 0 outside, and linear over one voxel between.

    Without this slope a search would not feel how what it gains or loses at the faces changes the similarity.
    """
    last = torch.tensor(picture.grid.shape, device=positions.device) - 1
    i, j, k = (1 + torch.minimum(positions, last - positions)).clamp(0, 1).unbind(dim=-1)
    return i * j * k


def _correlation(
    fixed: Float[Tensor, "b i j k"], moving: Float[Tensor, "b i j k"], weights: Float[Tensor, "b i j k"]
) -> Float[Tensor, " b"]:
    """Weighted correlation; 0 where there is no contrast."""
    w, x, y = (each.flatten(1) for each in (weights, fixed, moving))
    w = w / w.sum(1, keepdim=True).clamp(min=1)
    x, y = (v - (w * v).sum(1, keepdim=True) for v in (x, y))
    return (w * x * y).sum(1) / ((w * x * x).sum(1) * (w * y * y).sum(1) + 1e-8).sqrt()
