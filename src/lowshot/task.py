"""What a method is given. There are no query labels in it, so none can leak."""

from collections.abc import Sequence
from dataclasses import dataclass

from lowshot.errors import ChannelMismatch, EmptySupport, UnknownLabel
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan


@dataclass(frozen=True, eq=False)
class LowShotTask:
    """One, two or three annotated scans; optionally a pool without labels, and scans labelled for other organs.

    The sequences may be lazy (loading a scan when it is indexed), so that a pool need not fit in memory.
    """

    names: Names
    support: Sequence[LabelledScan] = ()
    unlabelled: Sequence[Scan] = ()
    base: Sequence[LabelledScan] = ()
    mirror_pairs: tuple[tuple[int, int], ...] | None = None
    """Index pairs (left, right) that swap when a scan is mirrored; None: not known, so nothing is mirrored."""

    def __post_init__(self) -> None:
        if not self.support and not len(self.base) and not len(self.unlabelled):
            raise EmptySupport("no annotated scan: give at least one image with its label map")
        for labelled in self.support:  # not the others, which may be many and still on disk
            scan, names = labelled.scan, labelled.truth.names
            if names != self.names:
                raise UnknownLabel(
                    f"{scan.name}: its label map's table is {_listed(names)}, the task's {_listed(self.names)}; "
                    "read all label maps with one table of names"
                )
            if scan.channels != self.channels:
                raise ChannelMismatch(
                    f"{scan.name}: has the channels {', '.join(scan.channels)}, {self.support[0].scan.name} has "
                    f"{', '.join(self.channels)}; give all annotated scans the same ones in the same order"
                )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names of the annotated scans, or of the first of the pool where it is all there is."""
        annotated = self.support or self.base
        return annotated[0].scan.channels if len(annotated) else self.unlabelled[0].channels


def _listed(names: Names) -> str:
    return ", ".join(f"{value} {name}" for value, name in zip(names.values, names.names, strict=True))
