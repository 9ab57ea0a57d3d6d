"""Which label map of a folder belongs to which scan."""

from collections.abc import Sequence
from pathlib import Path

from lowshot.evaluation.pairing import match_files
from lowshot.inputs.scan_files import ScanFiles


def label_maps_of(scans: Sequence[ScanFiles], label_maps: Sequence[Path]) -> dict[str, Path]:
    """The label map of each scan that has one, by the scan's name.

    It has that name, which a scan in a folder of its own has from the folder, or else that of the scan's (first) file,
    which a table may have named otherwise; words like ``seg`` do not count.

    Raises:
        InputError: one name fits several files.
    """
    by_name = match_files([Path(scan.name) for scan in scans], label_maps)
    found = {scan.name: by_name[Path(scan.name)] for scan in scans if Path(scan.name) in by_name}
    rest = {scan.all_paths[0]: scan.name for scan in scans if scan.name not in found}
    used = set(found.values())
    free = [path for path in label_maps if path not in used]
    return found | {rest[path]: label_map for path, label_map in match_files(list(rest), free).items()}
