"""Which prediction belongs to which truth, told by file names alone."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lowshot.errors import InputError, UnreadableFile
from lowshot.imaging.files import IMAGE_SUFFIXES, LABEL_SUFFIXES, scan_name
from lowshot.imaging.folders import image_files, label_files, visible
from lowshot.imaging.stored import require_file
from lowshot.wording import listed

_DECORATION = re.compile(
    r"(?<![a-z])(segmentations?|segm?|labels?|lbl|masks?|ground ?truth|truth|gt|manual|annotations?|predictions?|pred"
    r"|images?|img|scans?)(?![a-z])|\b0000$"
)


@dataclass(frozen=True)
class PairedFiles:
    """The files of one case."""

    case: str
    prediction: Path | None
    """None: no prediction fits this truth."""
    truth: Path
    image: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """The cases of two folders, in the truth's order, and the predictions that fit no truth."""

    files: tuple[PairedFiles, ...]
    surplus: tuple[Path, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each prediction that was left alone, with the truth it was perhaps meant for."""
        missing = [files.case for files in self.files if files.prediction is None]
        return tuple(
            f"{path.name}: no truth of this name{_did_you_mean(scan_name(path), missing)}; not scored"
            for path in self.surplus
        )


def pair_files(predictions: Path, truth: Path, images: Path | None = None) -> Pairing:
    """Pair the label maps of two folders by name; also one file with one file, whatever their names.

    One prediction against a folder is one case: the rest of the truth is not missing.

    Extensions do not count. Equal names are paired first; then names that are equal but for words like ``seg``,
    ``label``, ``_gt`` or ``image`` (``patient1.png`` and ``patient1_seg.nii.gz``, ``image_12`` and ``label_12``).

    Raises:
        UnreadableFile: a folder or file does not exist, or holds no label map.
        InputError: nothing fits, one name fits several files, or two files of the truth have one name.
    """
    predicted, true = _label_maps(predictions), _label_maps(truth)
    named = _pictures(images) if images else {}
    pictures = {path: named[name] for path, name in match_files(true, list(named)).items()}
    if predictions.is_file() and truth.is_file():
        image = images if images and images.is_file() else pictures.get(truth)
        return Pairing((PairedFiles(scan_name(truth), predictions, truth, image),))
    of_truth = match_files(true, predicted)
    if not of_truth:
        raise InputError(_nothing_fits(predictions, truth, predicted, true))
    wanted = list(of_truth) if predictions.is_file() else true
    _require_names_of_their_own(wanted)
    files = (PairedFiles(scan_name(path), of_truth.get(path), path, pictures.get(path)) for path in wanted)
    used = set(of_truth.values())
    return Pairing(tuple(files), tuple(path for path in predicted if path not in used))


def match_files(true: Sequence[Path], others: Sequence[Path]) -> dict[Path, Path]:
    """The other file of each truth: the one of equal name, else of equal name without decoration."""
    found = _match_by(_composed_name, true, others)
    left_true = [path for path in true if path not in found]
    used = set(found.values())
    left_others = [path for path in others if path not in used]
    return found | _match_by(lambda path: bare_name(scan_name(path)), left_true, left_others)


def bare_name(name: str) -> str:
    """The name in lower case, without separators and without words that say what kind of file it is."""
    words = re.sub(r"[\W_]+", " ", _composed(name).lower()).strip()
    return " ".join(_DECORATION.sub(" ", words).split()) or words


def _composed(name: str) -> str:
    """With each accent in one character with its letter: names that macOS wrote have two."""
    return unicodedata.normalize("NFC", name)


def _composed_name(path: Path) -> str:
    return _composed(scan_name(path))


def _require_names_of_their_own(true: Sequence[Path]) -> None:
    for name, paths in _grouped(_composed_name, true).items():
        if len(paths) > 1:
            files = ", ".join(map(str, paths))
            raise InputError(f"{name!r} is the name of several files of the truth: {files}; keep one truth per case")


def _match_by(key: Callable[[Path], str], true: Sequence[Path], others: Sequence[Path]) -> dict[Path, Path]:
    found = {}
    candidates = _grouped(key, others)
    for name, here in _grouped(key, true).items():
        there = candidates.get(name, [])
        if there and len(here) + len(there) > 2:
            files = ", ".join(str(path) for path in [*here, *there])
            raise InputError(f"{name!r} fits several files: {files}; keep one prediction and one truth per case")
        if there:
            found[here[0]] = there[0]
    return found


def _grouped(key: Callable[[Path], str], paths: Sequence[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return groups


def _label_maps(where: Path) -> list[Path]:
    """The label maps of a folder, or the one file."""
    if where.is_file():
        return [where]
    require_file(where)
    found = label_files(where)
    if not found:
        raise UnreadableFile(f"{where}: there is no label map in this folder ({', '.join(LABEL_SUFFIXES)})")
    return found


def _pictures(where: Path) -> dict[Path, Path]:
    """What names an image, to the image: the files of a folder, or its folders with one image or DICOM series each; or
    the one file.
    """
    if where.is_file():
        return {where: where}
    require_file(where)
    images, folders = image_files(where), [each for each in visible(where) if each.is_dir()]
    if images:
        return {each: each for each in images}
    if not folders:
        raise UnreadableFile(f"{where}: there is no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
    within = {folder: image_files(folder) for folder in folders}
    return {folder: images[0] if len(images) == 1 else folder for folder, images in within.items()}


def _nothing_fits(predictions: Path, truth: Path, predicted: Sequence[Path], true: Sequence[Path]) -> str:
    closest = _did_you_mean(scan_name(predicted[0]), [scan_name(path) for path in true])
    ours, theirs = (listed([path.name for path in paths]) for paths in (predicted, true))
    return (
        f"no file of {predictions} ({ours}) has the name of a file of {truth} ({theirs}); "
        f"name predictions like their truth, except for the extension or words like 'seg'. "
        f"First prediction: {scan_name(predicted[0])}{closest}"
    )


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    closest = get_close_matches(name, list(names), n=1)
    return f" (did you mean {closest[0]}?)" if closest else ""
