"""The scores that a protocol may ask for: how tables head them, how exactly, and what papers call them."""

from dataclasses import dataclass

from lowshot.protocols.protocol import Measure


@dataclass(frozen=True)
class Shown:
    """A measure in a table."""

    heading: str
    digits: int
    printed_as: tuple[str, ...]
    """Its names in ``published.csv``; papers differ."""
    of_unit: bool = False
    """Whether a unit stands with it: a distance."""


MEASURES: dict[Measure, Shown] = {
    "dice": Shown("Dice", 3, ("dice", "f1")),
    "hd95": Shown("HD95", 1, ("hd95",), of_unit=True),
    "hd95_in_plane": Shown("HD95 in planes", 1, ("hd95",), of_unit=True),
    "hd95_pooled_voxels": Shown("HD95 pooled (voxels)", 1, ("hd95",)),
    "radial_error": Shown("radial error", 3, ("are",)),
    "true_positive_ratio": Shown("true positives", 3, ("tp",)),
    "false_positive_ratio": Shown("false positives", 3, ("fp",)),
    "volume_elsewhere": Shown("ml on slices without", 1, ()),
}
