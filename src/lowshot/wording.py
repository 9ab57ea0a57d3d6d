"""How messages count and list."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """``1 scan``, ``2 scans``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """``a, b, c and 4 more``: the first ``most`` by name."""
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")
