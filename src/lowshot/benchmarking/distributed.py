"""A protocol of a public data set, arranged on the cases that are really there."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from lowshot.benchmarking.cases import Cases, made_once
from lowshot.choosing import choose
from lowshot.datasets.dataset import Dataset
from lowshot.datasets.export import export
from lowshot.datasets.prepared import UNKNOWN, prepared_cases
from lowshot.datasets.reader import find_cases
from lowshot.datasets.table import DATASETS
from lowshot.errors import InputError
from lowshot.phantoms.study import Study
from lowshot.progress import Progress
from lowshot.protocols.protocol import Distributed, Fold, Layout, Protocol

PLAIN_NAMES = ("names.txt", "labels.txt")


def arranged(protocol: Protocol, data: Path | None, folder: Path, progress: Progress) -> tuple[Protocol, Path | None]:
    """The protocol with its folds, and the folder of its prepared cases; any other protocol as it is.

    Without ``data`` the protocol's phantoms are written as the data set is distributed, and go the same way. A folder
    in the plain layout (``images/``, ``labels/``, ``names.txt``) is taken as prepared.

    Raises:
        InputError: no such data set there, or too few of its cases.
    """
    wanted = protocol.distributed
    if wanted is None:
        return protocol, data
    if data is None and protocol.study is None:
        raise InputError(f"{protocol.name} needs {wanted.dataset}: give its folder with --data")
    if data is not None and (data / "images").is_dir() and (data / "labels").is_dir():
        names = next((name for name in PLAIN_NAMES if (data / name).exists()), PLAIN_NAMES[0])
        prepared, layout = data, Layout(names=names)
    else:
        prepared, layout = _prepared(protocol, wanted, data, folder, progress), Layout(unknown=UNKNOWN)
    cases = Cases(prepared, layout)
    try:
        folds = wanted.arrange(cases.annotated)
    except ValueError as error:
        raise InputError(f"{prepared}: {protocol.name} {error}, found {len(cases.annotated)}") from None
    folds = tuple(_with_closest(fold, cases, folder, progress) if fold.closest else fold for fold in folds)
    return replace(protocol, folds=folds, layout=layout, study=None), prepared


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
    found = find_cases(dataset, data)
    for problem in found.problems.values():
        progress.warn(f"{data}: left out: {problem}")
    return prepared_cases(found, wanted.recipe, folder, progress)


def _export(dataset: Dataset, study: Study, folder: Path, progress: Progress) -> None:
    progress.note(f"writing {len(study)} phantoms as {dataset.title} is distributed")
    export(dataset, study, folder)
