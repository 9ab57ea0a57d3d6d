"""A protocol of a public data set, arranged on the cases that are really there."""

import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lowshot.benchmarking.cases import Cases, made_once
from lowshot.benchmarking.new_structure import without
from lowshot.choosing import choose
from lowshot.datasets.dataset import Dataset
from lowshot.datasets.export import export
from lowshot.datasets.layouts import find_in_any_layout
from lowshot.datasets.prepared import UNKNOWN, prepared_cases
from lowshot.datasets.reader import natural
from lowshot.datasets.table import DATASETS
from lowshot.errors import InputError
from lowshot.imaging.files import write_segmentation
from lowshot.inputs.table import TABLE
from lowshot.phantoms.study import Study
from lowshot.progress import Progress
from lowshot.protocols.protocol import Distributed, Fold, Layout, Protocol

PLAIN_NAMES = ("names.txt", "labels.txt")


def arranged(protocol: Protocol, data: Path | None, folder: Path, progress: Progress) -> tuple[Protocol, Path | None]:
    """The protocol with its folds, and the folder of its prepared cases; any other protocol with its own folds.

    Without ``data`` the protocol's phantoms are written as the data set is distributed, and go the same way, but no
    published figure stands beside them. A folder in the plain layout (``images/``, ``labels/``, ``names.txt``) is taken
    as prepared. Which it was, and how many cases, is told in what differs. Where data is given no phantoms stand in.

    Raises:
        InputError: no such data set there, or too few of its cases.
    """
    wanted, given = protocol.distributed, data is not None
    if given:
        protocol = replace(protocol, study=None)
    if wanted is None:
        return protocol, data
    if data is None and protocol.study is None:
        raise InputError(f"{protocol.name} needs {wanted.dataset}: give its folder with --data")
    plain = data is not None and (data / "images").is_dir() and (data / "labels").is_dir()
    if data is not None and plain:
        names = next((name for name in PLAIN_NAMES if (data / name).exists()), PLAIN_NAMES[0])
        prepared, layout = _only(wanted.structures, Cases(data, Layout(names=names)), folder)
    else:
        prepared, layout = _prepared(protocol, wanted, data, folder, progress), Layout(unknown=UNKNOWN)
    cases = Cases(prepared, layout)
    try:
        folds = wanted.arrange(tuple(sorted(cases.annotated, key=natural)))
    except ValueError as error:
        raise InputError(f"{prepared}: {protocol.name} {error}, found {len(cases.annotated)}") from None
    folds = tuple(_with_closest(fold, cases, folder, progress) if fold.closest else fold for fold in folds)
    differs = (*protocol.differs, *_data_differs(wanted, len(cases.annotated), given=given, plain=plain))
    return replace(
        protocol, folds=folds, layout=layout, differs=differs, paper=protocol.paper if given else ""
    ), prepared


def _data_differs(wanted: Distributed, cases: int, *, given: bool, plain: bool) -> Iterator[str]:
    """What the cases are, unless they are all of the data set's."""
    dataset = DATASETS[wanted.dataset]
    if not given:
        yield f"data: {cases} phantoms, written as {dataset.title} is distributed; nothing published stands beside them"
    elif plain:
        yield f"data: {cases} cases that are taken as prepared; {dataset.title} as it is distributed would be prepared"
    elif dataset.cases is not None and cases < dataset.cases:
        yield f"data: {cases} of the {dataset.cases} cases of {dataset.title}"


def _only(structures: tuple[str, ...], cases: Cases, folder: Path) -> tuple[Path, Layout]:
    """The cases where these structures alone are annotated, none meaning all; label maps are written where need be.

    Raises:
        InputError: some structure has no name there.
    """
    there = cases.names.foreground
    missing = [name for name in structures if name not in there]
    if missing:
        where = cases.folder / cases.layout.names
        raise InputError(f"{where}: expected {', '.join(structures)}; of these it lacks {', '.join(missing)}")
    others = set(there) - set(structures)
    if not structures or not others or not cases.annotated:
        return cases.folder, cases.layout
    made = folder / "some-structures"
    what = repr((structures, str(cases.folder.resolve()), cases.digest_of_names, cases.digests(cases.annotated)))
    made_once(made, what, partial(_write_without, others, cases, made))
    return made, Layout()


def _write_without(structures: Collection[str], cases: Cases, folder: Path) -> None:
    """Label maps, names and a table; images stay where they are."""
    rows = []
    for scan in cases.scans(cases.annotated):
        labels = f"labels/{scan.name}.nii.gz"
        write_segmentation(without(cases.query(scan.name), structures).truth, folder / labels)
        channels = scan.paths if isinstance(scan.paths, Mapping) else {"image": scan.paths}
        images = {channel: str(path.resolve()) for channel, path in channels.items()}
        rows.append({"name": scan.name, **images, "labels": labels})
    named = zip(cases.names.values, cases.names.names, strict=True)
    kept = (f"{value}\t{name}\n" for value, name in named if name not in structures)
    (folder / Layout().names).write_text("".join(kept), encoding="utf-8")
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _with_closest(fold: Fold, cases: Cases, folder: Path, progress: Progress) -> Fold:
    """The fold with the most typical scan of its support as the atlas; it is looked for once."""
    found = folder / "closest-to-the-average"
    candidates = fold.support

    def look() -> None:
        ranking = choose(cases.scans(candidates), progress=progress).ranking
        (found / "case").write_text(ranking[0].scan)

    made_once(found, repr(cases.digests(candidates, labels=False)), look)
    return fold.with_atlas((found / "case").read_text())


def _prepared(protocol: Protocol, wanted: Distributed, data: Path | None, folder: Path, progress: Progress) -> Path:
    dataset = DATASETS[wanted.dataset]
    if wanted.structures:
        dataset = dataset.only(wanted.structures)
    if data is None and protocol.study is not None:
        data = folder / "as-distributed"
        write = partial(_export, dataset, protocol.study, data, progress)
        made_once(data, repr((dataset, protocol.study)), write)
    assert data is not None  # noqa: S101 (for mypy: refused above)
    found = find_in_any_layout(dataset, data)
    if found.dataset.title != dataset.title:
        progress.note(f"{data}: read as {found.dataset.title}")
    for problem in found.problems.values():
        progress.warn(f"{data}: left out: {problem}")
    return prepared_cases(found, wanted.recipe, folder, progress)


def _export(dataset: Dataset, study: Study, folder: Path, progress: Progress) -> None:
    progress.note(f"writing {len(study)} phantoms as {dataset.title} is distributed")
    export(dataset, study, folder)
