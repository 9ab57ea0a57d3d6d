"""The scores that a protocol may ask for: how tables head them, how exactly, and what papers call them."""

from dataclasses import dataclass
from typing import Literal

from lowshot.protocols.protocol import Measure

Quantity = Literal["distance", "volume"]


@dataclass(frozen=True)
class Shown:
    """A measure in a table."""

    heading: str
    digits: int
    printed_as: tuple[str, ...]
    """Its names in ``published.csv``; papers differ. None of what stands beside the same score in another form."""
    unit: Quantity | None = None
    """Of what, where a unit stands with it."""


MEASURES: dict[Measure, Shown] = {
    "dice": Shown("Dice", 3, ("dice", "f1")),
    "hd95": Shown("HD95", 1, ("hd95",), unit="distance"),
    "hd95_in_plane": Shown("HD95 in planes", 1, ("hd95",), unit="distance"),
    "hd95_pooled_voxels": Shown("HD95 pooled (voxels)", 1, ("hd95",)),
    "hd95_legacy_empty": Shown("HD95 pooled (voxels) with 0 for empty", 1, ()),
    "dice_of_slices": Shown("Dice of slices", 3, ()),
    "dice_legacy_empty": Shown("Dice with 1 for empty truth", 3, ()),
    "radial_error": Shown("radial error", 3, ("are",)),
    "true_positive_ratio": Shown("true positives", 3, ("tp",)),
    "false_positive_ratio": Shown("false positives", 3, ("fp",)),
    "volume_elsewhere": Shown("volume on slices without", 1, (), unit="volume"),
}
