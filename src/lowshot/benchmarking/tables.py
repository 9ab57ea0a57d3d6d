"""The tables of a benchmark: systems against each other, beside what the papers print; structures; time and memory."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.comparison import Comparison, compare
from lowshot.benchmarking.measures import MEASURES, Quantity
from lowshot.benchmarking.results import rows
from lowshot.benchmarking.scans import by_scan
from lowshot.benchmarking.selection import by_device, by_system, of_fold, present
from lowshot.evaluation.statistics import Interval, Summary, interval_over_scans, rank_correlation
from lowshot.protocols.protocol import Measure, Protocol, Published, System
from lowshot.protocols.published import Figure, published
from lowshot.reporting.tables import Cell, Column, Table, mean_and_spread

HOST = ("cpu", "mps")
"""Devices that compute in the process's own memory."""
UNITS: dict[Quantity, str] = {"distance": "hd95_unit", "volume": "volume_unit"}
OF_VOXELS: dict[Quantity, str] = {"distance": "voxels", "volume": "1,000 voxels"}
"""Of voxels that are taken to be 1 mm wide, as many as make 1 ml."""
PUBLISHED_COSTS = {"training-minutes": "training (min)", "gpu-memory-gb": "training (GB)", "seconds": "seconds a scan"}


def main_table(protocol: Protocol, records: Sequence[Record], fold: str) -> Table:
    """The protocol's measures of every system on one fold, the published figures beside them."""
    here = of_fold(records, fold)
    own = by_system(protocol, here)
    against = compare(here, protocol.reference, protocol.patient_of)
    ours, theirs = measure_columns(protocol, here), published_columns(protocol)
    columns = (
        *(Column("system", numeric=False), Column("seeds", 0), Column("steps", 0), Column("minutes", 1)),
        *(*ours, Column(f"Dice − {protocol.reference}"), Column("p (Holm)"), *theirs),
        *(Column("expected Dice"), Column("expected ~ true Dice", 2), Column("expected ~ true, scans", 2)),
        *(Column("not found", 0), Column("left out", 0)),
    )
    lines = [
        _main_row(protocol, system, name, own[name], against.get(name), fold)
        for name, system in present(protocol, here).items()
    ]
    quoted = (_quoted_row(protocol, where, name, here, fold) for name, where in protocol.quoted_on(fold).items())
    pairs = {comparison.pairs for comparison in against.values()}
    tested = f"; differences over common seeds, {_list(pairs)} pairs of scan and structure" if pairs else ""
    pool = ", transductive (the pool holds the queries)" if protocol.fold(fold).transductive else ""
    title = f"{protocol.name}, {fold}{pool}: mean ± deviation over seeds{tested}"
    return Table(columns, (*lines, *filter(None, quoted)), title).without_empty(
        *(column.heading for column in columns[4 + len(ours) : -2])
    )


def measure_columns(protocol: Protocol, records: Sequence[Record]) -> list[Column]:
    """One for each of the protocol's measures, with the unit of these records."""
    shown = [MEASURES[measure] for measure in protocol.measures]
    units = [f" ({unit_of(protocol, records, each.unit)})" if each.unit else "" for each in shown]
    return [Column(each.heading + unit, digits=each.digits) for each, unit in zip(shown, units, strict=True)]


def unit_of(protocol: Protocol, records: Sequence[Record], quantity: Quantity) -> str:
    """Of these records' distances or volumes; voxels where their size is but pretended to be known."""
    if protocol.voxels_of_1_mm:
        return OF_VOXELS[quantity]
    units = {score.get(UNITS[quantity], "ml") for score in _scores(records)}
    return str(units.pop()) if len(units) == 1 else "mixed"


def published_columns(protocol: Protocol) -> list[Column]:
    """One for each of the protocol's measures, as papers print it."""
    return [Column(f"published {MEASURES[measure].heading}") for measure in protocol.measures]


def scan_table(protocol: Protocol, records: Sequence[Record], fold: str) -> Table:
    """How Dice, as the mean over structures and seeds, differs between scans; and how many voxels are folded.

    Missing are the predictions of cells that are not finished.
    """
    here = of_fold(records, fold)
    own = by_system(protocol, here)
    columns = (
        *(Column("system", numeric=False), Column("scans", 0), Column("Dice"), Column("lowest"), Column("highest")),
        Column("95 % interval"),
        *(Column("published Dice"), Column("published lowest"), Column("published highest"), Column("folded (%)", 2)),
        Column("missing", 0),
    )
    lines = [_scan_row(protocol, system, name, own[name], fold) for name, system in present(protocol, here).items()]
    table = Table(columns, tuple(lines), f"{protocol.name}, {fold}: mean ± deviation over scans")
    return table.without_empty(*(column.heading for column in columns[5:]))


def _scan_row(protocol: Protocol, system: System, name: str, records: Sequence[Record], fold: str) -> tuple[Cell, ...]:
    dice = by_scan(rows(records))
    means = list(dice.values())
    scans, interval = Summary.of(means), interval_over_scans(means, list(map(protocol.patient_of, dice)))
    theirs = published_figure(protocol, system, records, fold, "dice")
    printed: tuple[Cell, ...] = (None, None, None)
    if theirs is not None and theirs.min is not None:  # else its spread is over something else
        printed = (_printed(theirs, 3), as_part(theirs, theirs.min), as_part(theirs, theirs.max))
    folded = [100 * case["folded"] for record in records for case in record["cases"] if "folded" in case]
    return (
        *(name, scans.n, mean_and_spread(scans.mean, scans.std), scans.minimum, scans.maximum),
        *(shown_interval(interval), *printed, _mean(folded)),
        len(unfinished_seeds(system, records)) * len(protocol.fold(fold).queries),
    )


def cost_table(protocol: Protocol, records: Sequence[Record]) -> Table:
    """What training and segmenting took; memory is the most that the whole process held.

    Cells of one system that were computed on several devices have a line for each.
    """
    columns = (
        *(Column("system", numeric=False), Column("on", numeric=False), Column("cells", 0)),
        Column("computed in", numeric=False),
        *(Column("threads", 0), Column("steps", 0), Column("training (min)", 1)),
        *(Column("seconds a step", 2), Column("training (GB)", 2)),
        *(Column("seconds a scan", 1), Column("segmenting (GB)", 2)),
        *(Column(f"published {what}", 1) for what in PUBLISHED_COSTS.values()),
    )
    devices, of_system = list(by_device(records)), by_system(protocol, records)
    lines = [
        (
            *_cost_row(name, device if len(devices) > 1 else None, own),
            *(
                _published_cost(protocol, system, metric) if is_as_compared(protocol, own[0]) else None
                for metric in PUBLISHED_COSTS
            ),
        )
        for name, system in present(protocol, records).items()
        for device, own in by_device(of_system[name]).items()
    ]
    table = Table(columns, tuple(lines), f"{protocol.name}: time and memory")
    return table.without_empty("on", *(column.heading for column in columns[-len(PUBLISHED_COSTS) :]))


def _main_row(
    protocol: Protocol, system: System, name: str, records: Sequence[Record], against: Comparison | None, fold: str
) -> tuple[Cell, ...]:
    return (
        *(name, len(records), _steps(records), _minutes(records)),
        *(_over_seeds(records, measure) for measure in protocol.measures),
        *((None, None) if against is None else (f"{against.difference:+.3f}", shown_p(against.p))),
        *(
            published_text(published_figure(protocol, system, records, fold, measure), measure)
            for measure in protocol.measures
        ),
        Summary.of(list(by_scan(rows(records), "expected_dice").values())).mean,
        rank_correlation(*zip(*((row.expected_dice, row.dice) for row in rows(records)), strict=True)),
        _mean([_correlation_of_scans(protocol, record) for record in records]),
        sum(score["empty"] == "prediction" for score in _scores(records)),
        sum(score["empty"] == "both" for score in _scores(records)),
    )


def _quoted_row(
    protocol: Protocol, where: Published, name: str, records: Sequence[Record], fold: str
) -> tuple[Cell, ...] | None:
    """What is printed of a system that is only quoted; nothing, where that is for structures alone."""
    looked_for = _looked_for(protocol, records, fold)
    theirs = [first_printed(protocol, [where], measure, looked_for) for measure in protocol.measures]
    if not any(theirs):
        return None
    texts = (published_text(figure, measure) for figure, measure in zip(theirs, protocol.measures, strict=True))
    return name, *[None] * (5 + len(theirs)), *texts, *[None] * 5


def _over_seeds(records: Sequence[Record], measure: Measure) -> Cell:
    """Mean and deviation."""
    each = _of_seeds(records, measure)
    return mean_and_spread(each.mean, each.std, MEASURES[measure].digits)


def mean_over_seeds(records: Sequence[Record], measure: Measure) -> float:
    """Of cells of one fold; NaN for none."""
    return _of_seeds(records, measure).mean


def _of_seeds(records: Sequence[Record], measure: Measure) -> Summary:
    """Of each seed the mean over scans."""
    return Summary.of([Summary.of(list(by_scan(rows([record]), measure).values())).mean for record in records])


def published_text(theirs: Figure | None, measure: Measure) -> str | None:
    """A published mean and spread as tables show it, a distance with its unit."""
    shown = MEASURES[measure]
    if theirs is None:
        return None
    return _printed(theirs, shown.digits) + (f" {theirs.unit}" if shown.unit else "")


def published_figure(
    protocol: Protocol, system: System, records: Sequence[Record], fold: str, measure: Measure
) -> Figure | None:
    """What the paper prints for this row, where ours is as it was chosen for the comparison."""
    looked_for = _looked_for(protocol, records, fold)
    return first_printed(protocol, places_of(protocol, system, records, fold), measure, looked_for)


def _looked_for(protocol: Protocol, records: Sequence[Record], fold: str) -> list[str]:
    """What is printed for the structure of these records, where there is but one, or else for the mean over structures.

    But not for the mean where others are new in other folds, which it is over.
    """
    structures = {score["structure"] for score in _scores(records)}
    alone = structures if len(structures) == 1 else set()
    return [*alone, *(() if alone and protocol.fold(fold).new else protocol.means)]


def first_printed(
    protocol: Protocol, places: Sequence[Published], measure: Measure, structures: Sequence[str]
) -> Figure | None:
    """What is printed for the first of these structures, or means, that any of the places has."""
    every = product(structures, places, MEASURES[measure].printed_as)
    found = (published(protocol, where, metric, structure) for structure, where, metric in every)
    return next(filter(None, found), None)


def in_common(figures: Iterable[Figure | None]) -> Figure | None:
    """What is printed for all folds of a setting; nothing, where they differ."""
    different = set(figures)
    return different.pop() if len(different) == 1 else None


def places_of(protocol: Protocol, system: System, records: Sequence[Record], fold: str) -> Sequence[Published]:
    """Where a row is printed, the first place that counts first; nowhere where ours is not as it was chosen for it."""
    where = system.published.get(fold) or system.published.get("")
    compared = where is not None and all(is_as_compared(protocol, record) for record in records)
    return (where, *system.also) if where is not None and compared else ()


def is_as_compared(protocol: Protocol, record: Record) -> bool:
    """Whether a cell has the preset for which its published row was chosen."""
    system = protocol.systems.get(record["system"])
    wanted = protocol.preset if system is None else protocol.preset_of(system, protocol.preset)
    return bool(record["preset"] == wanted)


def _correlation_of_scans(protocol: Protocol, record: Record) -> float:
    """Of the mean expected Dice of a scan with its mean true Dice; scans of one patient count as one."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows([record]):
        if not math.isnan(row.expected_dice + row.dice):
            pairs[protocol.patient_of(row.case)].append((row.expected_dice, row.dice))
    means = [np.mean(each, axis=0) for each in pairs.values()]
    return rank_correlation([mean[0] for mean in means], [mean[1] for mean in means])


def _printed(figure: Figure, digits: int) -> str:
    """A published mean and spread; per cent become parts of one."""
    mean, std = as_part(figure, figure.mean), as_part(figure, figure.std)
    return mean_and_spread(mean, std, digits)


def as_part(figure: Figure, value: float | None) -> float:
    """A published value; per cent become parts of one."""
    return math.nan if value is None else value / 100 if figure.unit == "%" else value


def _scores(records: Sequence[Record]) -> Iterator[Record]:
    return (score for record in records for case in record["cases"] for score in case["scores"])


def _list(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values)))


def _minutes(records: Sequence[Record]) -> Cell:
    """Of training, on average; where several devices computed, from the fastest to the slowest."""
    means = sorted(_mean([each["training"]["seconds"] / 60 for each in own]) for own in by_device(records).values())
    return means[0] if len(means) == 1 else f"{means[0]:.1f}–{means[-1]:.1f}"


def _cost_row(name: str, device: str | None, records: Sequence[Record]) -> tuple[Cell, ...]:
    minutes = _mean([record["training"]["seconds"] / 60 for record in records])
    cases = [case for record in records for case in record["cases"]]
    plans = [record["provenance"]["plan"] for record in records]
    steps = _steps(records)
    return (
        *(name, device, len(records)),
        *(_list({plan[key] for plan in plans}) for key in ("precision", "threads")),
        *(steps, minutes, 60 * minutes / steps if isinstance(steps, int) and steps else None),
        _gigabytes((record["training"], _device(record)) for record in records),
        float(np.median([case["seconds"] for case in cases])),
        _gigabytes((case, _device(case.get("segmented", record))) for record in records for case in record["cases"]),
    )


def _published_cost(protocol: Protocol, system: System, metric: str) -> float | None:
    found = [figure for where in system.costs if (figure := published(protocol, where, metric, structure=""))]
    return found[0].mean if found else None


def unfinished_seeds(system: System, records: Sequence[Record]) -> list[int]:
    """The seeds of a row of which these cells, all of one fold, have none: failed, stopped or not begun."""
    return sorted(set(system.seeds) - {record["seed"] for record in records})


def _steps(records: Sequence[Record]) -> Cell:
    found = {sum(stage["steps"] for stage in record["provenance"]["plan"]["stages"].values()) for record in records}
    return found.pop() if len(found) == 1 else f"{min(found)}–{max(found)}"


def _device(made: Record) -> str:
    """Of a training, or of a segmented scan; older cells tell it of the training alone."""
    device: str = made.get("provenance", made)["machine"]["device"]
    return device


def _gigabytes(costs: Iterable[tuple[Record, str]]) -> float:
    """The most of a device's memory: the process's, or a GPU's own, which older cells did not measure."""
    peaks = [cost.get("peak_bytes" if device in HOST else "peak_gpu_bytes") for cost, device in costs]
    return max((peak for peak in peaks if peak is not None), default=math.nan) / 1e9


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def shown_interval(interval: Interval, sign: str = "") -> Cell:
    """From where to where, with ``sign="+"`` of differences; nothing where it is not defined."""
    return None if math.isnan(interval.low) else f"{interval.low:{sign}.3f} to {interval.high:{sign}.3f}"


def shown_p(p: float) -> str:
    """Three decimals, or that it is smaller than those can say."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
