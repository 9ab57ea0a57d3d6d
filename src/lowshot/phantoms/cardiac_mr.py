"""Cine MR of synthetic hearts with known truth: a stack of short-axis slices, with bright blood, in either phase."""

from collections.abc import Mapping, Sequence

import numpy as np

from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.acquisition import mr_image
from lowshot.phantoms.heart.body import CENTRE_MM, FIELD_OF_VIEW_MM, STRUCTURES, body
from lowshot.phantoms.heart.ventricles import Phase
from lowshot.phantoms.rendering import Material, render
from lowshot.phantoms.scanning import annotated, centred_grid, labelled_scan
from lowshot.phantoms.variability import Variability

AIR = Material(0.0)

# Balanced steady-state free precession: bright where T2 is long in relation to T1, which is blood, water and fat.
TISSUES = {
    "skin": Material(300, 20),
    "fat": Material(820, 50),
    "epicardial fat": Material(700, 60),
    "visceral fat": Material(600, 50),
    "pericardium": Material(110, 15),
    "muscle": Material(220, 25),
    "cortical bone": Material(60, 10),
    "bone marrow": Material(380, 40),
    "spinal cord": Material(430, 15),
    "cerebrospinal fluid": Material(960, 20),
    "lung": Material(55, 12),
    "lung vessel": Material(560, 40),
    "liver": Material(290, 22),
    "spleen": Material(420, 18),
    "stomach wall": Material(330, 25),
    "gastric content": Material(520, 160),
    "gas": Material(15, 5),
    "myocardium": Material(300, 20),
    "left blood": Material(920, 35),
    "right blood": Material(800, 45),
}

PHASES: tuple[Phase, Phase] = ("end-diastole", "end-systole")


def _short_axis() -> Affine:
    """From short-axis coordinates to RAS: their z runs from the apex to the right, the back and the head."""
    turn, rise = np.radians(40.0), np.radians(32.0)
    z = np.array([np.cos(rise) * np.sin(turn), -np.cos(rise) * np.cos(turn), np.sin(rise)])
    x = np.array([np.cos(turn), np.sin(turn), 0.0])  # horizontal
    affine = np.eye(4)
    affine[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return affine


def subject(
    seed: int,
    shape: tuple[int, int, int] | int = (128, 128, 10),
    spacing_mm: tuple[float, float, float] | None = None,
    variation: float = 1.0,
    structures: Sequence[str] | None = None,
    phase: Phase | None = None,
) -> LabelledScan:
    """The scan and the truth of one subject, on an oblique grid across the long axis of the heart.

    Slices are stored as they are looked at: i to the viewer's right, from the right ventricle to the lateral wall, j
    down, to the diaphragm; k runs from the apex to the base. Where a slice ends beyond them, it has no label.

    Args:
        seed: two subjects of one seed are equal, voxel by voxel.
        shape: number of voxels; one number stands for all three axes.
        spacing_mm: without it, the voxels share a field of view of 300 × 300 × 90 mm.
        variation: how much subjects differ in shape, pose, size, contrast and noise. 1: as adults do, some of whom are
            ill; 0: all are the average one of their phase, but for noise and fine detail.
        structures: what is annotated, all of ``heart.body.STRUCTURES`` without it.
        phase: without it, that of the seed: even ones are at end-diastole, odd ones at end-systole. Both phases of one
            seed show one heart.
    """
    plane = centred_grid(shape, spacing_mm, FIELD_OF_VIEW_MM, CENTRE_MM)
    names = annotated(STRUCTURES, structures)
    own = Variability(seed, variation, "cardiac-mr")
    rendering = render(body(seed, phase or PHASES[seed % 2], variation), plane, materials(own), names, AIR)
    image = mr_image(rendering, plane, own, noise_level=20.0, bias_spread=0.25)
    return labelled_scan(f"cardiac-mr-{seed}", image, rendering, Grid(plane.shape, _short_axis() @ plane.affine), names)


def materials(variability: Variability) -> Mapping[str, Material]:
    """Mean and texture of every tissue; blood and muscle part more at some flip angles than at others."""
    own = variability.of("contrast")
    contrast, blood = own.factor(0.12), TISSUES["left blood"].mean
    return {
        tissue: Material(blood * (material.mean / blood) ** contrast * own.of(tissue).factor(0.05), material.texture)
        for tissue, material in TISSUES.items()
    }
