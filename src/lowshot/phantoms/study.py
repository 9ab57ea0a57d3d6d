"""Studies: any number of synthetic subjects of one anatomy with known truth, from one seed."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lowshot.errors import SettingsError

if TYPE_CHECKING:  # protocols name studies, and are listed without loading torch
    import lowshot.imaging.scan


@runtime_checkable
class Anatomy(Protocol):
    """Makes one subject: equal arguments, equal voxels. They are whole numbers that fit 16 bits, as scanners store."""

    def __call__(
        self,
        seed: int,
        shape: tuple[int, int, int] = ...,
        spacing_mm: tuple[float, float, float] | None = ...,
        variation: float = ...,
        structures: Sequence[str] | None = ...,
    ) -> "lowshot.imaging.scan.LabelledScan": ...


ANATOMIES = {
    "abdomen-ct": "lowshot.phantoms.abdomen_ct",
    "abdomen-mr": "lowshot.phantoms.abdomen_mr",
    "brain-mr": "lowshot.phantoms.brain_mr",
    "breast-us": "lowshot.phantoms.breast_us",
    "cardiac-mr": "lowshot.phantoms.cardiac_mr",
}
"""The module of each, whose ``subject`` is an ``Anatomy``."""


def anatomy(name: str) -> Anatomy:
    """Load one of ``ANATOMIES``."""
    subject: Anatomy = importlib.import_module(ANATOMIES[name]).subject
    return subject


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

    def __iter__(self) -> Iterator["lowshot.imaging.scan.LabelledScan"]:
        import numpy as np

        subject_of = anatomy(self.anatomy)
        for number in range(self.subjects):
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            subject = subject_of(seed, self.shape, self.spacing_mm, self.variation, self.structures)
            yield replace(subject, scan=replace(subject.scan, name=f"subject-{number + 1:02d}"))


DEMO = Study(
    shape=(96, 80, 64),
    spacing_mm=(4.0, 4.0, 4.0),
    variation=0.5,
    structures=("spleen", "right kidney", "left kidney", "liver", "stomach", "aorta"),
)
"""Small and mild enough to be learned in two minutes by two cores, nobody ill: one to annotate, five to segment."""
