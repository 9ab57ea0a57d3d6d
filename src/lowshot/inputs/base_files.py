"""Scans annotated for other structures: a CSV, a folder of images and label maps, or a data set of nnU-Net's.

    FOLDER/images/CASE.nii.gz  FOLDER/labels/CASE.nii.gz  FOLDER/names.txt
    FOLDER/dataset.json  FOLDER/imagesTr/CASE_0000.nii.gz  FOLDER/labelsTr/CASE.nii.gz

The Medical Segmentation Decathlon has its channels in one 4-D file, FOLDER/imagesTr/CASE.nii.gz.
Next to a CSV, too, ``names.txt`` says what the label values mean. Without it they are "label 5".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowshot.errors import EmptySupport, InputError
from lowshot.imaging.folders import label_files, visible
from lowshot.imaging.names import Names, is_legible
from lowshot.imaging.names_file import read_names
from lowshot.imaging.stored import require_file
from lowshot.inputs.label_files import label_maps_of
from lowshot.inputs.scan_files import ScanFiles
from lowshot.inputs.table import Row, read_table
from lowshot.inputs.words import scan_files
from lowshot.wording import listed

NAMES_FILES = ("names.txt", "labels.txt")
DATASET = "dataset.json"
_IGNORED = "ignore"
"""The name under which nnU-Net keeps the value of unknown voxels."""


@dataclass(frozen=True)
class BaseFiles:
    """The files of a base."""

    rows: Sequence[Row] = ()
    names: Names | None = None
    """What its label values mean; None: nobody has said."""
    ignore_value: int | None = None
    """Of its label maps; None: the task's."""


NO_BASE = BaseFiles()


def base_files(path: Path) -> BaseFiles:
    """The scans of a base, none of them read.

    Raises:
        UnreadableFile: there is no such file or folder, or nothing in it.
        InputError: an image without a label map, a label map without an image, a channel that is missing, a table,
            names or ``dataset.json`` that cannot be used; the message names the files.
    """
    require_file(path)
    if path.suffix.lower() == ".json":
        return _nnunet(path)
    if not path.is_dir():
        rows, folder = read_table(path), path.parent
        _require_labels(path, [row.scan.name for row in rows if row.labels is None])
    elif (path / DATASET).exists():
        return _nnunet(path / DATASET)
    else:
        rows, folder = _pairs(path), path
    names = next((folder / name for name in NAMES_FILES if (folder / name).is_file()), None)
    return BaseFiles(rows, None if names is None else read_names(names))


def _require_labels(where: Path, lacking: Sequence[str]) -> None:
    if lacking:
        raise EmptySupport(
            f"{where}: expected a label map for every scan of a base, found none for {listed(lacking)}; "
            "add them, or take these scans out"
        )


def _pairs(folder: Path) -> list[Row]:
    """Images and label maps of the same names, but for words like ``image`` and ``seg``."""
    images, labels = folder / "images", folder / "labels"
    if not images.is_dir() or not labels.is_dir():
        present = [each.name for each in visible(folder)]
        raise InputError(
            f"{folder}: expected images/ and labels/ with files of the same names, or nnU-Net's {DATASET}, imagesTr/ "
            f"and labelsTr/, found {listed(present) or 'nothing'}; arrange it so, or list the files in a CSV"
        )
    scans, label_maps = scan_files([images]), label_files(labels)
    if not label_maps:
        raise InputError(f"{labels}: expected label maps in this folder, found none; put them there")
    found = label_maps_of(scans, label_maps)
    _require_labels(labels, [scan.name for scan in scans if scan.name not in found])
    used = set(found.values())
    surplus = [path.name for path in label_maps if path not in used]
    if surplus:
        raise InputError(
            f"{images}: expected an image for every label map of {labels}, found none for {listed(surplus)}; "
            "add them, or remove these label maps"
        )
    return [Row(scan, found[scan.name]) for scan in scans]


def _nnunet(path: Path) -> BaseFiles:
    """A raw data set of nnU-Net's, or one of the Medical Segmentation Decathlon, from which its form comes."""
    content = _content(path)
    channels, ending = _channels(path, content), content.get("file_ending", ".nii.gz")
    images, labels = path.parent / "imagesTr", path.parent / "labelsTr"
    pictures, cases = (_without_ending(each, ending) for each in (images, labels))
    if not any(each.endswith("_0000") for each in pictures):  # as the Decathlon has them, one file with all channels
        wanted = {case: {", ".join(channels): case} for case in cases}
    else:
        wanted = {case: {channel: f"{case}_{k:04d}" for k, channel in enumerate(channels)} for case in cases}
    expected = {each: channel for files in wanted.values() for channel, each in files.items()}
    there = set(pictures)
    missing = [f"{each}{ending} ({channel})" for each, channel in expected.items() if each not in there]
    if missing:
        raise InputError(
            f"{images}: expected {listed(missing)} for the label maps of {labels} and the channels of {path.name}, "
            "found no such file; add it, or remove its label map"
        )
    surplus = [f"{each}{ending}" for each in pictures if each not in expected]
    if surplus:
        raise InputError(
            f"{labels}: expected a label map for every image (CASE{ending} for CASE_0000{ending}) and a channel of "
            f"{path.name} for its number, found none for {listed(surplus)}; add it, or remove the image"
        )
    rows = []
    for case, files in wanted.items():
        paths = {channel: images / f"{each}{ending}" for channel, each in files.items()}
        in_one_file = tuple(channels) if len(channels) > len(paths) else None
        scan = ScanFiles.of(paths if len(paths) > 1 else next(iter(paths.values())), case, in_one_file)
        rows.append(Row(scan, labels / f"{case}{ending}"))
    return BaseFiles(rows, *_names(path))


def _content(path: Path) -> Mapping[str, Any]:
    require_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: expected nnU-Net's {DATASET}, could not read it ({reason}); repair it") from None
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise InputError(
            f'{path}: expected nnU-Net\'s {DATASET} with "labels": {{"background": 0, "liver": 1}}, found no labels in '
            "it; add them"
        )
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise InputError(
            f"{path}: expected one label value for each structure, got regions of several for {listed(regions)}, which "
            'overlap; name the values themselves, such as "edema": 1'
        )
    if not isinstance(content.get("file_ending", ""), str):
        raise InputError(f'{path}: expected "file_ending": ".nii.gz", got {content["file_ending"]!r}')
    return dict(content)


def _names(path: Path) -> tuple[Names, int | None]:
    """What label values mean, and the one that marks unknown voxels."""
    names = read_names(path)
    meaning = dict(zip(names.values, names.names, strict=True))
    ignored = next((value for value, name in meaning.items() if name == _IGNORED), None)
    kept = {value: name for value, name in meaning.items() if value != ignored}
    return Names.of(kept, names.values[0]), ignored


def _channels(path: Path, content: Mapping[str, Any]) -> list[str]:
    """Names of the channels, in the order of their numbers in the names of the files."""
    given = content.get("channel_names", content.get("modality"))
    found: list[Any] = [given.get(str(k)) for k in range(len(given))] if isinstance(given, dict) else []
    if not found or not all(isinstance(each, str) and each and is_legible(each) for each in found):
        raise InputError(
            f'{path}: expected "channel_names": {{"0": "T1", "1": "FLAIR"}}, numbered from 0, got {given!r:.100}; '
            "correct them"
        )
    if len(set(found)) < len(found):
        raise InputError(f"{path}: expected a name of its own for every channel, got {', '.join(found)}; rename them")
    return found


def _without_ending(folder: Path, ending: str) -> list[str]:
    """The files of a folder that end so, without that, in the order of their names."""
    require_file(folder)
    files = sorted(each.name for each in folder.glob("*") if not each.name.startswith("."))
    found = [name.removesuffix(ending) for name in files if name.endswith(ending)]
    if not found:
        raise InputError(
            f"{folder}: expected files that end in {ending} (file_ending of {DATASET}), found "
            f"{listed(files) or 'nothing'}; put them there, or correct the ending"
        )
    return found
