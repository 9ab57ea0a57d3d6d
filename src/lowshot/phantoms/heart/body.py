"""A whole chest around a heart, in one phase of its beat."""

from dataclasses import replace

from lowshot.imaging.names import Names
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.heart import chest, ventricles
from lowshot.phantoms.heart.ventricles import LEFT, MYOCARDIUM, RIGHT, Phase
from lowshot.phantoms.rendering import Body
from lowshot.phantoms.shapes import mm
from lowshot.phantoms.variability import Variability

FIELD_OF_VIEW_MM = (300.0, 300.0, 90.0)
"""Usual extent of a stack of short-axis slices: a little more than the heart, from apex to base."""

CENTRE_MM = (0.0, 0.0, 0.0)
"""Its centre, in short-axis coordinates; see ``ventricles``."""

STRUCTURES = Names.of({1: RIGHT, 2: MYOCARDIUM, 3: LEFT})
"""File values as in the ACDC challenge. As there, papillary muscles belong to the cavity they lie in."""

WARP_MM = 2.5


def body(seed: int, phase: Phase, variation: float = 1.0) -> Body:
    """The chest of one subject. Later parts lie on top of earlier ones; both phases of a seed are one heart."""
    own = Variability(seed, variation)
    heart = ventricles.ventricles(phase, own)
    return Body([*chest.chest(own), *ventricles.parts(heart, own)], _placed(own))


def _placed(own: Variability) -> Deformation:
    """Slices are laid across the heart, so it hardly leaves them; how it lies in their plane is up to the chest."""
    drawn, plane = Deformation.draw(own, WARP_MM), own.of("plane")
    turned = plane.axes(z_degrees=plane.of("turn").by(14.0), spread_degrees=3.0)
    return replace(drawn, axes=turned, shift_mm=plane.shift(1.0) * mm(9, 9, 1.5))
