"""The JSON file beside each segmentation: volumes, how good the model expects it to be, and which model it was.

    {"case": "1003",
     "file": "1003.nii.gz",
     "sha256": "9f86d0…",
     "scan": "60303a…",
     "structures": {"liver": {"value": 6, "expected_dice": 0.93, "volume_ml": 1412.5, "voxels": 706250}},
     "notes": ["..."],
     "folded": 0.0004,
     "model": {"file": "model.safetensors", "method": "mre-net", "support": ["1000"], ...}}

``sha256`` is that of the segmentation as it was written: one that was corrected since has another. ``scan``
is the fingerprint of the scan's files, by which a result of another scan of the same name is known. ``value`` is the
structure's in the label map. ``expected_dice`` is null where the method makes no estimate,
``volume_ml`` where the spacing is not known. ``folded`` is there where an annotated scan was deformed: the share of the
voxels where its displacement field folds.
``model.support`` names the scans that the model had as examples, ``example`` tells whether this is one of them (by its
voxels; names may be those of others), ``model.options`` what was chosen when it segmented
(``one_piece``, ``refine``), if anything.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowshot.atomic import atomic_path
from lowshot.contract import Result
from lowshot.imaging.digests import digest
from lowshot.imaging.files import scan_name


@dataclass(frozen=True)
class Sidecar:
    """What stands beside one segmentation; empty where there is no such file."""

    expected_dice: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    """The label value of each structure; empty where the file is older than this entry."""
    file: str | None = None
    """The name of the segmentation; None where the file is older than this entry."""
    sha256: str | None = None
    """Of the segmentation as it was written; None likewise."""
    example: bool | None = None
    """Whether the model had this very scan as an example; None where nobody knows."""
    scan: str | None = None
    """The fingerprint of the scan's files; None where the file is older than this entry."""

    @property
    def support(self) -> tuple[str, ...]:
        """The scans that the model had as examples, where it says so."""
        names = self.model.get("support")
        return tuple(map(str, names)) if isinstance(names, list) else ()


def sidecar_path(segmentation: Path) -> Path:
    """``out/1003.json`` for ``out/1003.nii.gz``."""
    return segmentation.with_name(f"{scan_name(segmentation)}.json")


def was_changed(segmentation: Path, told: Sidecar) -> bool:
    """Whether a segmentation is no longer as it was written, such as one that was corrected by hand."""
    return told.sha256 is not None and digest(segmentation) != told.sha256


def write_sidecar(
    segmentation: Path,
    result: Result,
    model: Mapping[str, Any],
    *,
    sha256: str | None = None,
    scan: str | None = None,
    spacing_known: bool = True,
    example: bool | None = None,
) -> None:
    """Write the sidecar of a segmentation file.

    Raises:
        OutputError: it cannot be written.
    """
    names, voxels = result.segmentation.names, result.segmentation.sizes()
    millilitres = result.segmentation.grid.voxel_volume_mm3 / 1000
    structures = {}
    for name in names.foreground:
        quality, count = result.quality.get(name), voxels[names.index(name)]
        structures[name] = {
            "value": names.values[names.index(name)],
            "expected_dice": quality.expected_dice if quality else None,
            "volume_ml": count * millilitres if spacing_known else None,
            "voxels": count,
        }
    content: dict[str, Any] = {"case": scan_name(segmentation), "file": segmentation.name}
    if sha256 is not None:
        content["sha256"] = sha256
    if scan is not None:
        content["scan"] = scan
    content |= {"structures": structures, "notes": [*result.notes]}
    if example is not None:
        content["example"] = example
    if result.folded is not None:
        content["folded"] = result.folded
    content["model"] = {**model}
    with atomic_path(sidecar_path(segmentation)) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_sidecar(segmentation: Path) -> Sidecar:
    """Read the sidecar of a segmentation file. One that is damaged is a note, not an error: scores do not need it."""
    path = sidecar_path(segmentation)
    if not path.is_file():
        return Sidecar()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        structures = {str(name): entry for name, entry in content["structures"].items()}
        expected = {name: _expectation(entry) for name, entry in structures.items()}
        values = {name: int(entry["value"]) for name, entry in structures.items() if "value" in entry}
        notes, model = tuple(map(str, content.get("notes", ()))), dict(content.get("model", {}))
        file, sha256, scan = (str(content[key]) if key in content else None for key in ("file", "sha256", "scan"))
        example = bool(content["example"]) if "example" in content else None
        return Sidecar(expected, notes, model, values, file, sha256, example, scan)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Sidecar(notes=(f"{path.name} does not hold what lowshot writes beside a segmentation; not used",))


def _expectation(entry: Mapping[str, Any]) -> float | None:
    value = entry.get("expected_dice")
    return None if value is None else float(value)
