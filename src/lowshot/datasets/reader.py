"""Finding and reading the cases of a data set as it is distributed."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lowshot.datasets.dataset import Dataset
from lowshot.errors import GridMismatch, InputError, UnknownLabel
from lowshot.imaging import dicom
from lowshot.imaging.files import read_scan, scan_format
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case."""

    case: str
    images: Mapping[str, Path]
    """Of each channel: a file, or the folder of a DICOM series."""
    labels: tuple[Path, ...]
    """None where the data set says that the case shows no structure."""


@dataclass(frozen=True)
class Found:
    """What of a data set lies in a folder."""

    dataset: Dataset
    folder: Path
    cases: Mapping[str, CaseFiles]
    """Complete ones, in the order of the numbers in their names."""
    problems: Mapping[str, str]
    """Why the others cannot be used, by case."""

    @property
    def summary(self) -> str:
        """In one line."""
        expected = "" if self.dataset.cases is None else f" of {self.dataset.cases}"
        wrong = "".join(f"; {problem}" for problem in list(self.problems.values())[:3])
        more = f"; {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        return f"{len(self.cases)}{expected} cases{wrong}{more}"


def find_cases(dataset: Dataset, folder: Path) -> Found:
    """Look through the folder and all below it.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    images: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    labels: dict[str, list[Path]] = defaultdict(list)
    patterns = {channel: _ending(pattern) for channel, pattern in dataset.images.items()}
    of_labels = _ending(dataset.labels)
    for path in _files(folder):
        words = Path(os.path.abspath(path)).as_posix()  # a layout's first folders may be those above the given one
        if match := of_labels.search(words):
            labels[match["case"]].append(path)
        for channel, pattern in patterns.items():
            if match := pattern.search(words):
                images[match["case"]][channel].append(path)
    cases, problems = {}, {}
    for case in sorted({*images, *labels}, key=natural):
        if not labels[case] and re.fullmatch(dataset.not_annotated, case):
            continue
        problem = _problem(dataset, case, images[case], labels[case])
        if problem is None:
            chosen = {channel: _image(images[case][channel]) for channel in dataset.images}
            cases[case] = CaseFiles(case, chosen, tuple(sorted(labels[case], key=lambda path: natural(path.name))))
        else:
            problems[case] = f"{case}: {problem}"
    return Found(dataset, folder, cases, problems)


def read_case(dataset: Dataset, files: CaseFiles) -> LabelledScan:
    """A case on its own grid as stored, with the data set's structures; ``unknown`` values are unknown.

    Raises:
        UnknownLabel: a value that the data set does not have.
        GridMismatch: label map and image differ, or label slices are missing.
        InputError: whatever else a file may be.
    """
    several = len(dataset.images) > 1
    scan = read_scan(files.images if several else next(iter(files.images.values())), name=files.case)
    return _labelled(dataset, scan, _written(files, scan), (*files.labels, *files.images.values())[0])


def _labelled(dataset: Dataset, scan: Scan, raw: npt.NDArray[np.int64], where: Path) -> LabelledScan:
    names = Names.of(dict(dataset.structures))
    values, named = np.zeros_like(raw), raw == 0
    for value in dataset.structures:
        low, high = dataset.ranges.get(value, (value, value))
        here = (raw >= low) & (raw <= high)
        values[here], named = value, named | here
    unknown = np.isin(raw, dataset.unknown)
    strange = ~(named | unknown)
    if strange.any() and not dataset.others_are_background:
        found = ", ".join(map(str, np.unique(raw[strange])[:10]))
        raise UnknownLabel(f"{where}: value {found} is none of {dataset.title}'s; is it another data set's label map?")
    truth = Segmentation(torch.from_numpy(names.encode(values, str(where))), names, scan.affine)
    return LabelledScan(scan, truth, torch.from_numpy(~unknown) if dataset.unknown else None)


def _written(files: CaseFiles, scan: Scan) -> npt.NDArray[np.int64]:
    """Values as the label maps have them, on the grid of the scan."""
    if not files.labels:
        return np.zeros(scan.grid.shape, dtype=np.int64)
    if _is_series(files):
        return _stacked(files, scan)
    return np.asarray(np.stack([_values(path, scan) for path in files.labels]).max(axis=0), dtype=np.int64)


def _values(path: Path, scan: Scan) -> npt.NDArray[np.int64]:
    labels, _ = read_labels(path, like=scan)
    return labels.names.decode(labels.labels.numpy())


def _is_series(files: CaseFiles) -> bool:
    return scan_format(next(iter(files.images.values()))) == "dicom"


def _stacked(files: CaseFiles, scan: Scan) -> npt.NDArray[np.int64]:
    """Label slices, each laid where the DICOM file of its number lies: no order of names is trusted."""
    folder = next(iter(files.images.values()))
    ordered = dicom.files_in_order(folder)
    if problem := _unpaired(ordered, files.labels):
        raise GridMismatch(f"{folder}: {problem}")
    series = [_number(path) for path in ordered]
    numbered = {_number(path): path for path in files.labels}
    slices = []
    for number in series:
        labels, _ = read_labels(numbered[number])
        if labels.labels.shape[:2] != scan.voxels.shape[1:3]:
            wanted, got = (" × ".join(map(str, shape[:2])) for shape in (scan.voxels.shape[1:], labels.labels.shape))
            raise GridMismatch(f"{numbered[number]}: expected a label slice of {wanted} pixels, got {got}")
        slices.append(labels.names.decode(labels.labels.numpy())[..., 0])
    return np.stack(slices, axis=-1)


def _unpaired(images: Sequence[Path], labels: Sequence[Path]) -> str:
    """What is wrong with slices that are to be paired by the numbers in their names; "" if nothing is."""
    try:
        ours, theirs = sorted(map(_number, images)), sorted(map(_number, labels))
    except InputError as error:
        return str(error)
    if ours == theirs and len(set(ours)) == len(ours):
        return ""
    missing = sorted(set(ours) - set(theirs)) or sorted(set(theirs) - set(ours))
    return (
        f"expected one label slice for each of {len(ours)} images, got {len(theirs)}; without a partner: "
        f"{', '.join(map(str, missing[:5])) or 'numbers that occur twice'}"
    )


def _problem(dataset: Dataset, case: str, images: Mapping[str, Sequence[Path]], labels: Sequence[Path]) -> str | None:
    for pattern, why in dataset.left_out.items():
        if re.fullmatch(pattern, case):
            return why
    missing = [channel for channel in dataset.images if not images.get(channel)]
    if missing:
        return f"no image ({', '.join(missing)})" if len(dataset.images) == 1 else f"no {', '.join(missing)}"
    for files in images.values():
        places = sorted({_image([path]) for path in files})
        if len(places) > 1:
            return f"there twice: {places[0]} and {places[1]}"
    if not labels:
        return None if re.fullmatch(dataset.empty, case) else "no label map"
    return _problem_of_labels(next(iter(images.values())), labels)


def _problem_of_labels(image: Sequence[Path], labels: Sequence[Path]) -> str | None:
    if len({path.parent for path in labels}) > 1:
        return f"label maps in two places: {labels[0].parent} and {labels[-1].parent}"
    if image[0].suffix.lower() == ".dcm":
        return _unpaired(image, labels) or None
    if len(labels) > 1 and {path.suffix.lower() for path in labels} != {".png"}:
        return f"two label maps: {labels[0]} and {labels[1]}"
    return None


def _image(files: Sequence[Path]) -> Path:
    return files[0].parent if files[0].suffix.lower() == ".dcm" else files[0]


def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(^|/)(?:{pattern})$")


def _files(folder: Path) -> list[Path]:
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        found += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
    return found


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 2 before 10."""
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part)


def _number(path: Path) -> int:
    """The last number in a file's name, before a comma: 42 of ``IMG-0002-00042`` and of ``i0042,0000b``."""
    found = re.findall(r"\d+", path.stem.partition(",")[0])
    if not found:
        raise InputError(f"{path}: expected a number in its name, which says to which slice it belongs")
    return int(found[-1])
