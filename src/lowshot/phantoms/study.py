"""Studies: any number of synthetic subjects of one anatomy with known truth, from one seed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lowshot.atomic import atomic_path
from lowshot.errors import SettingsError
from lowshot.imaging import nifti
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms import abdomen_ct, abdomen_mr, brain_mr, breast_us, cardiac_mr


class Anatomy(Protocol):
    """Makes one subject: equal arguments, equal voxels. They are whole numbers that fit 16 bits, as scanners store."""

    def __call__(
        self,
        seed: int,
        shape: tuple[int, int, int] = ...,
        spacing_mm: tuple[float, float, float] | None = ...,
        variation: float = ...,
        structures: Sequence[str] | None = ...,
    ) -> LabelledScan: ...


ANATOMIES: dict[str, Anatomy] = {
    "abdomen-ct": abdomen_ct.subject,
    "abdomen-mr": abdomen_mr.subject,
    "brain-mr": brain_mr.subject,
    "breast-us": breast_us.subject,
    "cardiac-mr": cardiac_mr.subject,
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study consists of. Iterating makes its subjects, one after the other, anew each time."""

    anatomy: str = "abdomen-ct"
    subjects: int = 6
    seed: int = 0
    """A subject depends on this and on its place in the study, not on how many there are."""
    shape: tuple[int, int, int] = (128, 128, 96)
    spacing_mm: tuple[float, float, float] | None = None
    """None: the field of view usual for the anatomy, shared by the voxels."""
    variation: float = 1.0
    """How much subjects differ from each other. 1: as adults do, some of whom are ill; from 0.5 down nobody is."""
    structures: tuple[str, ...] | None = None
    """What is annotated; None: everything the anatomy knows."""

    def __post_init__(self) -> None:
        if self.anatomy not in ANATOMIES:
            raise SettingsError(f"no anatomy named {self.anatomy!r}; there are: {', '.join(ANATOMIES)}")

    def __len__(self) -> int:
        return self.subjects

    def __iter__(self) -> Iterator[LabelledScan]:
        for number in range(self.subjects):
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            subject = ANATOMIES[self.anatomy](seed, self.shape, self.spacing_mm, self.variation, self.structures)
            yield replace(subject, scan=replace(subject.scan, name=f"subject-{number + 1:02d}"))


DEMO = Study(
    shape=(96, 80, 64),
    spacing_mm=(4.0, 4.0, 4.0),
    variation=0.5,
    structures=("spleen", "right kidney", "left kidney", "liver", "stomach", "aorta"),
)
"""Small and mild enough to be learned in two minutes by two cores, nobody ill: one to annotate, five to segment."""


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
