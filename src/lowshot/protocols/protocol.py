"""What a benchmark is: which scans teach, which are segmented, which systems are compared, and with which figures.

A protocol is data. ``lowshot.benchmarking`` runs it; a new one is a file beside this one and an entry in
``registry.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lowshot.datasets.recipe import Recipe
from lowshot.errors import SettingsError
from lowshot.phantoms.study import Study

Measure = Literal[
    "dice",
    "hd95",
    "hd95_in_plane",
    "hd95_pooled_voxels",
    "hd95_legacy_empty",
    "dice_of_slices",
    "dice_legacy_empty",
    "radial_error",
    "true_positive_ratio",
    "false_positive_ratio",
    "volume_elsewhere",
]
"""A score, by its name in ``lowshot.evaluation.scores.Score``."""
VARIANTS: tuple[Measure, ...] = (
    "hd95_in_plane",
    "hd95_pooled_voxels",
    "hd95_legacy_empty",
    "dice_of_slices",
    "dice_legacy_empty",
)
"""Scores as some papers' scorers compute them; they are computed where a protocol asks for one."""


@dataclass(frozen=True)
class Fold:
    """Which cases teach and which are segmented. Their truth reaches nothing but the scores."""

    name: str
    support: tuple[str, ...]
    queries: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    drawn: int | None = None
    """How many of the support a cell learns from, drawn by its seed; None: all. The others are not used."""
    one_slice: bool = False
    """Whether of the support a single slice is annotated, drawn by the cell's seed among those of all its scans that
    show every structure. The rest of that scan joins the pool."""
    closest: bool = False
    """Whether of the support only the scan closest to the average of all is annotated, which is looked for when the
    scans are there; it is then neither a query nor in the pool."""
    base: tuple[str, ...] = ()
    """Cases annotated for the other structures, where one is new."""
    new: str = ""
    """The structure that is new: of the support it alone is annotated, it alone is scored, and in the base it is
    background (setting 1 of the few-shot literature)."""
    hidden: tuple[str, ...] = ()
    """Structures of which the base shows no slice (its setting 2)."""

    def with_atlas(self, case: str) -> "Fold":
        """The fold where of its support this case alone is annotated."""
        queries = tuple(each for each in self.queries if each != case)
        pool = tuple(each for each in self.unlabelled if each != case)
        return replace(self, support=(case,), queries=queries, unlabelled=pool, closest=False)

    @property
    def shots(self) -> int:
        """How many annotated scans a cell learns from."""
        return len(self.support) if self.drawn is None else self.drawn

    @property
    def transductive(self) -> bool:
        """Whether a system may see the very scans (not their labels) that it will segment."""
        return bool(set(self.unlabelled) & set(self.queries))


@dataclass(frozen=True)
class Published:
    """Where a system's figures stand in ``published.csv``, within the protocol's paper and data set."""

    table: str
    method: str
    setting: str | None = None
    """Needed where one table prints a method under several settings."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of a table: a method of the catalogue with these changes to its preset."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    """Instead of the one asked for."""
    seeds: tuple[int, ...] = (0,)
    published: Mapping[str, Published] = field(default_factory=dict)
    """By fold; under "" for all folds."""
    also: tuple[Published, ...] = ()
    """Where else figures of a published row stand, on all folds: what the first place does not print counts there."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What is chosen when it segments."""
    model_of: str | None = None
    """The row whose model this one segments with, instead of training its own."""
    as_long_as: str | None = None
    """The row as many steps as whose this one trains, where a benchmark counts minutes: it differs from that one in
    what it learns, not in how long."""
    granted: bool = False
    """Whether a query is cut to the slices that show the new structure before it is segmented, as published few-shot
    protocols do. Only a benchmark can know them."""
    costs: tuple[Published, ...] = ()
    """Where its published time and memory stand; the first that prints a figure counts."""
    folds: tuple[str, ...] = ()
    """Those on which it is run; none: all."""

    def runs_on(self, fold: str) -> bool:
        """Whether the row has cells on this fold."""
        return not self.folds or fold in self.folds


@dataclass(frozen=True)
class Layout:
    """Where a folder of data keeps things: ``images/CASE.*``, ``labels/CASE.*``, and what label values mean."""

    images: str = "images"
    labels: str = "labels"
    names: str = "names.txt"
    structures: Mapping[int, str] | None = None
    """What label values mean, where no file of the folder says it as the label maps have them."""
    unknown: int | None = None
    """The value of voxels whose label is not known."""


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """Cases of a public data set as it is distributed, of which the folds depend on those that are there."""

    dataset: str
    """In ``lowshot.datasets.table``."""
    recipe: Recipe
    arrange: Callable[[tuple[str, ...]], tuple[Fold, ...]]
    """Folds of the identifiers that were found, in the order of their numbers: those of the paper where all are there,
    smaller ones in proportion on a subset. Raises a ``ValueError`` that says how many it needs."""
    structures: tuple[str, ...] = ()
    """Those that are looked at; the others are background. None: all."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A benchmark."""

    name: str
    summary: str
    folds: tuple[Fold, ...]
    systems: Mapping[str, System]
    """By the name that the tables show."""
    reference: str
    """The system that the others are tested against."""
    layout: Layout = Layout()
    distributed: Distributed | None = None
    """Where the cases come from, if from a public data set; ``folds`` are then arranged when it has been found."""
    study: Study | None = None
    """A phantom study that stands in where no data is given; None: real scans are needed."""
    preset: str = "compact"
    variant: str = ""
    """Which form of a preset its images or its table need: "btcv" makes "paper" "paper-btcv", of methods that have
    that."""
    steps: int | None = None
    """Of every training, so that rows are compared at equal steps; None: the method's own."""
    minutes: float | None = None
    """Of every fit instead, where steps of different methods cost too differently to be compared."""
    scored: tuple[str, ...] = ()
    """The structures that are scored, where more are learned; none: all."""
    granted_above: int = 0
    """Pixels of the new structure that a slice has more of, to be in a range that is granted."""
    merge_sides: bool = False
    """Whether left and right twins are one row of the table of structures."""
    patient_until: str = ""
    """What ends the patient's part of a case's name, where there are several scans of one: they are not independent."""
    voxels_of_1_mm: bool = False
    """Whether the files' millimetres are made up, one for each voxel: distances are then in voxels."""
    measures: tuple[Measure, ...] = ("dice", "hd95")
    """The columns of the main table; what papers print stands beside them. Systems are compared by Dice."""
    paper: str = ""
    """Whose figures stand beside ours, as ``published.csv`` names it."""
    dataset: str = ""
    means: tuple[str, ...] = ("mean",)
    """What the paper calls its means over the structures that ours are over; the first that is printed counts."""
    partial_means: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other means of the paper, by what it calls them: the structures that each leaves out."""
    quoted: Mapping[str, Mapping[str, Published]] = field(default_factory=dict)
    """Rows without cells of ours: what stands in the paper's tables of systems that learn from many scans, or from
    others. By the name that the tables show, then by fold; under "" for all folds."""
    differs: tuple[str, ...] = ()
    """What is not as in the paper, one sentence each."""

    def quoted_on(self, fold: str) -> dict[str, Published]:
        """Where the figures stand that are quoted beside this fold."""
        found = {name: places.get(fold) or places.get("") for name, places in self.quoted.items()}
        return {name: where for name, where in found.items() if where is not None}

    def patient_of(self, case: str) -> str:
        """Whose scan a case is."""
        return case.partition(self.patient_until)[0] if self.patient_until else case

    def chosen(self, names: tuple[str, ...] | None) -> dict[str, System]:
        """The systems of these names, in their order; all of them for None.

        A method of the catalogue that is no row of the protocol is a row as it is.

        Raises:
            SettingsError: no such system.
        """
        from lowshot import catalogue

        if names is None:
            return dict(self.systems)
        found = {}
        for name in names:
            if name not in self.systems and name not in catalogue.CATALOGUE:
                raise SettingsError(
                    f"{self.name} has no system {name!r}, nor has the catalogue; there are: {', '.join(self.systems)}"
                )
            found[name] = self.systems.get(name) or System(method=name)
        return found

    def preset_of(self, system: System, asked: str) -> str:
        """The preset of a row, where this one is asked for."""
        from lowshot import catalogue

        if system.preset is not None:
            return system.preset
        form = f"{asked}-{self.variant}"
        return form if self.variant and form in catalogue.presets(system.method) else asked

    def fold(self, name: str) -> Fold:
        """The fold of this name.

        Raises:
            SettingsError: no such fold.
        """
        for fold in self.folds:
            if fold.name == name:
                return fold
        raise SettingsError(f"{self.name} has no fold {name!r}; there are: {', '.join(f.name for f in self.folds)}")
