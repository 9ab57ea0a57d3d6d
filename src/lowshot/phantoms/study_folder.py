"""A study on disk, in the layout that most commands read."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lowshot.atomic import atomic_path
from lowshot.imaging import nifti
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan


def write_study(subjects: Iterable[LabelledScan], folder: Path | str) -> None:
    """Write ``images/NAME.nii.gz``, ``labels/NAME.nii.gz`` and ``names.txt`` (value, tab, name).

    Raises:
        OutputError: full disk, no permission.
    """
    folder = Path(folder)
    for subject in subjects:
        file = f"{subject.scan.name}.nii.gz"
        with atomic_path(folder / "images" / file) as temporary:
            stored = subject.scan.voxels[0].numpy().astype(np.int16)
            nifti.write(stored, subject.scan.affine, temporary, source=None, labels=False)
        write_segmentation(subject.truth, folder / "labels" / file)
        _write_names(subject.truth.names, folder / "names.txt")


def _write_names(names: Names, path: Path) -> None:
    rows = zip(names.values[1:], names.foreground, strict=True)  # background goes without saying
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{value}\t{name}\n" for value, name in rows), encoding="utf-8")
