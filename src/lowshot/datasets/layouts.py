"""A data set in any layout: as it is distributed, as a numbered copy, or as a raw data set of nnU-Net's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lowshot.datasets.dataset import Dataset
from lowshot.datasets.reader import CaseFiles, Found, find_cases
from lowshot.datasets.table import BTCV, IMAGE_N, MS_CMRSEG
from lowshot.errors import InputError
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.names_file import read_names
from lowshot.inputs.base_files import DATASET, base_files
from lowshot.inputs.scan_files import ScanFiles

COPIES = {
    "chaos-mr": IMAGE_N,
    "ms-cmrseg": replace(
        MS_CMRSEG,
        title="MS-CMRSeg as image_N, label_N",
        images={"C0": IMAGE_N.images["T2-SPIR"]},
        labels=IMAGE_N.labels,
    ),
}
"""In which the few-shot literature passes on a data set, by its name, where all copies have the same values."""
RENUMBERED = {
    "btcv": replace(
        BTCV,
        title="Synapse as image_N, label_N",
        images={"CT": IMAGE_N.images["T2-SPIR"]},
        labels=IMAGE_N.labels,
        others_are_background=True,
    )
}
"""The same of those that number structures anew, each in its own way: a file beside them says how."""
NAMES = "names.txt"


def find_in_any_layout(dataset: Dataset, folder: Path) -> Found:
    """The cases as they are distributed; where there are none, those of a copy.

    Raises:
        InputError: there is no such folder; a ``dataset.json`` or ``names.txt`` that does not have the data set's
            structures, or no ``names.txt`` where copies differ in what values mean.
    """
    found = find_cases(dataset, folder)
    if found.cases or found.problems:
        return found
    if (folder / DATASET).is_file():
        return _nnunet(dataset, folder)
    if dataset.name in RENUMBERED:
        copied = _renumbered(dataset, folder)
    elif dataset.name in COPIES:
        copy, wanted = COPIES[dataset.name], tuple(dataset.structures.values())
        copied = find_cases(copy if set(wanted) == set(copy.structures.values()) else copy.only(wanted), folder)
    else:
        return found
    return copied if copied.cases or copied.problems else found


def whose_copy(found: Found) -> Dataset | None:
    """Of which data set these numbered copies are, as the values of the first label map tell; None: of none of these.

    Raises:
        InputError: the label map cannot be read.
    """
    labels, _ = read_labels(next(iter(found.cases.values())).labels[0])
    values = {int(value) for value in labels.names.values} - {0}
    return next((copy for copy in COPIES.values() if values and values <= set(copy.structures)), None)


def _renumbered(dataset: Dataset, folder: Path) -> Found:
    found = find_cases(RENUMBERED[dataset.name], folder)
    if not found.cases and not found.problems:
        return found
    file = folder / NAMES
    if not file.is_file():
        raise InputError(
            f"{folder}: copies of {dataset.title} as image_N, label_N differ in what values mean; write {NAMES} into "
            f"this folder, a line for each structure, such as '1 {next(iter(dataset.structures.values()))}'"
        )
    return replace(found, dataset=replace(found.dataset, structures=_structures(dataset, read_names(file), file)))


def _nnunet(dataset: Dataset, folder: Path) -> Found:
    base = base_files(folder / DATASET)
    assert base.names is not None  # noqa: S101 (for mypy: nnU-Net's layout always says)
    structures = _structures(dataset, base.names, folder / DATASET)
    unnamed = {value for value in dataset.unknown if value in base.names.values and value not in structures}
    ignored = () if base.ignore_value is None else (base.ignore_value,)
    read = replace(
        dataset,
        structures=structures,
        ranges={},
        unknown=(*sorted(unnamed), *ignored),
        others_are_background=dataset.others_are_background or len(structures) < len(base.names.foreground),
    )
    cases = {}
    for row in base.rows:
        assert row.labels is not None  # noqa: S101 (for mypy: refused by base_files)
        cases[row.scan.name] = CaseFiles(row.scan.name, _channels(dataset, row.scan, folder), (row.labels,))
    return Found(read, folder, cases, {})


def _structures(dataset: Dataset, names: Names, file: Path) -> Mapping[int, str]:
    """Value in the copy to name in the data set."""
    values = {name.casefold(): value for name, value in zip(names.names, names.values, strict=True)}
    missing = [name for name in dataset.structures.values() if name.casefold() not in values]
    if missing:
        raise InputError(
            f"{file}: expected the structures of {dataset.title}, found no {', no '.join(missing)}; it has "
            f"{', '.join(names.foreground)}. Name them alike"
        )
    return {values[name.casefold()]: name for name in dataset.structures.values()}


def _channels(dataset: Dataset, scan: ScanFiles, folder: Path) -> Mapping[str, Path]:
    """A single channel may be called anything."""
    if len(dataset.images) == 1 and len(scan.all_paths) == 1:
        return dict.fromkeys(dataset.images, scan.all_paths[0])
    paths = scan.paths if isinstance(scan.paths, Mapping) else {}
    named = {channel.casefold(): path for channel, path in paths.items()}
    if any(channel.casefold() not in named for channel in dataset.images):
        raise InputError(f"{folder / DATASET}: expected the channels {', '.join(dataset.images)}; name them alike")
    return {channel: named[channel.casefold()] for channel in dataset.images}
