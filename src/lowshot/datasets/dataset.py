"""What is known of a data set: a table, no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A public data set as it is distributed.

    Patterns are regular expressions for the end of a file's path, with ``/`` between folders, so that the folder that a
    user gives may be any one above. What ``(?P<case>...)`` matches names the case.
    """

    name: str
    title: str
    modality: str
    licence: str
    source: str
    """Where to get it, in words."""
    images: Mapping[str, str]
    """Pattern of each channel (sequence). Of DICOM, of every slice: its folder is the image."""
    labels: str
    """Pattern of the label maps; where several match, they are slices of one DICOM series, or PNG masks of which a
    pixel has to be in one."""
    structures: Mapping[int, str]
    """Value, as it is written, to name."""
    ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Lowest and highest value that count as one of these, where files vary."""
    unknown: tuple[int, ...] = ()
    """Values of what was not decided: neither background nor a structure."""
    others_are_background: bool = False
    """Whether values without a name are background; else they are refused."""
    empty: str = ""
    """Pattern of the cases that show no structure, so that they may lack a label map."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Pattern of cases that cannot be used, and why."""
    not_annotated: str = ""
    """Pattern of cases that are distributed without a label map, and of no use here."""
    cases: int | None = None
    """How many annotated ones there are, where that is fixed."""

    def only(self, structures: tuple[str, ...]) -> "Dataset":
        """With these structures alone; the others are background."""
        kept = {value: name for value, name in self.structures.items() if name in structures}
        return replace(self, structures=kept, others_are_background=True)
