"""The bones of the trunk: the spine and the lower ribs."""

import numpy as np
import numpy.typing as npt

from lowshot.phantoms.abdomen.trunk import Trunk
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, Tube, mm
from lowshot.phantoms.variability import Variability

VERTEBRA_MM = 35.0
"""Height of a lumbar vertebra with its disc. The origin of the body lies in the level of L1."""

# The centres of the vertebral bodies, from below to above: (y, z).
SPINE_MM = np.array([(-60, -260), (-56, -100), (-60, 0), (-68, 120), (-66, 280)], dtype=np.float64)


def spine(trunk: Trunk) -> list[Part]:
    """Vertebrae of cortical and cancellous bone with their arches and processes, discs, and the spinal cord."""
    bodies, canal = Tube.through(_behind_the_front(0.0), 19.0), Tube.through(_behind_the_front(22.0), 8.0)
    arches = canal.grown(8.0).within(bodies.grown(12.0))
    parts = [Part("disc", bodies), Part("cortical bone", arches)]
    for level in range(-7, 8):
        parts += _vertebra(trunk, level * VERTEBRA_MM)
    return [*parts, Part("spinal cord", canal)]


def _behind_the_front(offset_mm: float) -> npt.NDArray[np.float64]:
    """The course of the spine, moved to the back."""
    y, z = SPINE_MM.T
    return np.stack([np.zeros_like(y), y - offset_mm, z], axis=1)


def _vertebra(trunk: Trunk, z: float) -> list[Part]:
    y = float(np.interp(z, SPINE_MM[:, 1], SPINE_MM[:, 0]))
    body = Ellipsoid(mm(0, y, z), mm(23, 17, 14), exponent=3.2)
    spinous = Tube.through([(0, y - 34, z - 4), (0, y - 54, z - 14)], [5, 4.5]).within(trunk.skin.grown(-8.0))
    transverse = Tube.through([(14, y - 22, z), (38, y - 24, z + 2)], [6, 4])
    processes = [Part("cortical bone", process) for process in (spinous, transverse, transverse.mirrored())]
    return [Part("cortical bone", body), Part("cancellous bone", body.grown(-2.0)), *processes]


def ribs(variability: Variability) -> list[Part]:
    """Ribs 6 to 12 of both sides, running down and forwards in the wall, with cartilage where they reach the front."""
    own = variability.of("ribs")
    drop = 36 + own.by(5.0)
    parts = []
    for rib, reach_degrees in zip(range(6, 13), (150, 150, 148, 140, 128, 95, 70), strict=True):
        z = 8 + (13 - rib) * 0.85 * VERTEBRA_MM + own.by(2.0)
        angle = np.radians(np.linspace(18, reach_degrees, 9))
        course = np.stack([137 * np.sin(angle), -7 - 93 * np.cos(angle), z - drop * (1 - np.cos(angle))], axis=1)
        bone = Tube.through(course, np.full(9, 5.0))
        for side in (bone, bone.mirrored()):
            parts += [Part("cortical bone", side), Part("cancellous bone", side.grown(-2.2))]
        if reach_degrees >= 140:
            end = course[-1]
            cartilage = Tube.through([end, end * (0.7, 1.04, 1) + (0, 0, 8), end * (0.35, 1.08, 1) + (0, 0, 45)], 5.0)
            parts += [Part("cartilage", cartilage), Part("cartilage", cartilage.mirrored())]
    return parts
