"""What may be chosen when a model segments."""

from dataclasses import dataclass, field

ONLY_SPEED = ("tiles_at_once", "slices_at_once")
"""Options that change how fast labels come, and not which."""


@dataclass(frozen=True)
class SegmentOptions:
    """Of any method; those that offer more add to it."""

    one_piece: bool = field(default=False, kw_only=True)
    """Keep of every structure the largest piece alone; the others become background."""
