"""``docs/results.md``: every result file of a folder as a page. What it says is a function of those files alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.comparison_table import comparison_table
from lowshot.benchmarking.kinds import kinds
from lowshot.benchmarking.overview import overview_table, setting_tables, settings_of
from lowshot.benchmarking.results import of_the_present, read_results
from lowshot.benchmarking.selection import by_budget, by_device, by_system, of_fold, present
from lowshot.benchmarking.structure_tables import structure_tables
from lowshot.benchmarking.tables import (
    cost_table,
    is_as_compared,
    main_table,
    scan_table,
    unfinished_seeds,
)
from lowshot.protocols.protocol import Protocol
from lowshot.protocols.published import notes_of
from lowshot.protocols.registry import PROTOCOLS, protocol
from lowshot.reporting.tables import Table, to_markdown

DIRTY = "-dirty"
"""How git marks the commit of code that was changed since."""
HEAD = """# Results

Made by `make results` from the files in `docs/results/`, which `lowshot bench` wrote; CI refuses a page that is older
than they are. Each file holds, line by line, one cell: settings, seed, plan, machine, versions, SHA-256 of the scans,
every score, and the commit that trained it (since 27 November also the machine and the commit that segmented: before,
what a row does without training, such as `--refine`, may be of a later commit than the one that is named).

HD95 is the larger of the two directed 95th percentiles; where a structure was not found, Dice is 0 and HD95 the image's
diagonal. Left out: neither prediction nor truth has it. Means over everything are those of each scan over its
structures, then over scans, then over seeds. p: Wilcoxon's signed-rank test over pairs of scan and structure, against
the row that the heading names, corrected by Holm for the number of rows, over the seeds that both rows have. Expected
Dice: the mean of what the model itself expected, to be compared with the Dice that it reached. Expected ~ true Dice:
Spearman's correlation of what the model itself expected with what it reached, over all pairs of scan and structure, and
over the means of scans (of patients, where they have several scans): the latter would tell which of several to check.
Rows that lay a single annotated scan upon others expect nothing any more; what stands there is of 27 November or
before. What networks on patches expect is calibrated since 28 November, and `gcn-de` of new organs; cells of before are
not. Minutes count training steps alone. They, and the median of the seconds that a scan takes, depend on what else the
machine did. Missing: predictions of cells of the protocol that are not finished.

Overviews: folds of one setting (as many annotated scans, or the same new organ) are averaged, of the rows that have all
of them. Rows in granted slices and rows of whole volumes are never compared with each other.

Differences stand in one table over all folds. 95 % interval, of them and of means over scans: percentiles of 9,999
bootstrap resamples of scans, each with all of its structures, as these are not independent of each other. For the same
reason the tests over pairs of scan and structure promise too much, and one over the means of scans stands beside them.
Of few scans the intervals are too narrow: simulated for normal scores, they hold the mean in 74 of 100 cases for three
scans, 84 for five, 88 for seven, 89 for ten and 93 for twenty.
Smallest p possible: what the correction leaves of 2 / 2ⁿ, the least that n pairs, or n scans, allow Wilcoxon's test;
where it is above 0.05, the test cannot tell the systems apart, whatever they do. None of it covers the choice of the
annotated scan. A row of fewer folds than another cannot be set against it there. `lowshot bench` writes both tests,
Wilcoxon's and the paired t-test, with both corrections into files.
"""


def results_page(folder: Path) -> str:
    """The page for every ``PROTOCOL.jsonl`` of a folder, in the order of the registry."""
    files = {protocol(path.stem).name: read_results(path) for path in folder.glob("*.jsonl")}
    shown = [
        (each, records)
        for name, each in PROTOCOLS.items()
        for records in by_budget(of_the_present(each, files.get(name, []), each.preset)).values()
    ]
    return "\n".join([HEAD, *contents(shown), *(section(each, records) for each, records in shown)])


def contents(shown: Sequence[tuple[Protocol, Sequence[Record]]]) -> list[str]:
    """A line for each section, which leads to it; a protocol with cells of several budgets has several."""
    lines, seen = list[str](), list[str]()
    for each, records in shown:
        place = f"{each.name}-{seen.count(each.name)}".removesuffix("-0")  # how GitHub tells equal headings apart
        lines.append(f"- [{each.name}](#{place}){_words_of_the_budget(each, records)}: {each.summary}")
        seen.append(each.name)
    return ["\n".join(lines) + "\n"] if lines else []


def protocol_tables(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    """All tables of one protocol: those of scores for each kind of its rows, time and memory of all."""
    scores = [table for part, own in kinds(protocol, records) for table in _score_tables(part, own)]
    return [*scores, cost_table(protocol, records)]


def _score_tables(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    """Of rows of one kind."""
    folds = [fold.name for fold in protocol.folds if any(r["fold"]["name"] == fold.name for r in records)]
    main = [main_table(protocol, records, fold) for fold in folds]
    scans = [scan_table(protocol, records, fold) for fold in folds]
    settings = settings_of([fold for fold in map(protocol.fold, folds) if not fold.new])
    structures = [table for group in settings for table in structure_tables(protocol, records, group)]
    overview = [overview_table(protocol, records)] if len(folds) > 1 else []
    differences = comparison_table(protocol, records)
    compared = [] if differences is None else [differences]
    return [*overview, *setting_tables(protocol, records), *main, *compared, *scans, *structures]


def section(protocol: Protocol, records: Sequence[Record]) -> str:
    """What a protocol is, how its tables are made again, what differs from the paper, and the tables.

    All records are of one budget and one preset.
    """
    differs = "".join(f"- {sentence}\n" for sentence in what_differs(protocol, records))
    tables = "\n".join(map(to_markdown, protocol_tables(protocol, records)))
    head = f"## {protocol.name}\n\n{protocol.summary}.\n\n```text\n{command(protocol, records)}\n```"
    return f"{head}\n\n{differs}\n{tables}\n{origin(records)}\n"


def command(protocol: Protocol, records: Sequence[Record]) -> str:
    """What makes the tables again."""
    data = "" if protocol.study else " --data DATA"
    preset = "".join(f" --preset {each}" for each in _asked_presets(protocol, records) if each != protocol.preset)
    threads = {record["provenance"]["plan"]["threads"] for record in records}
    words = f" --threads {threads.pop()}" if len(threads) == 1 else ""  # minutes, and with them steps, depend on it
    return f"lowshot bench {protocol.name}{data}{preset}{_words_of_the_budget(protocol, records)}{words} -o FOLDER"


def _asked_presets(protocol: Protocol, records: Sequence[Record]) -> list[str]:
    """What was asked for, which is one, without the form that the images need; rows with their own do not tell."""
    own = {name for name, system in protocol.systems.items() if system.preset is not None}
    form = f"-{protocol.variant}" if protocol.variant else ""
    return sorted({record["preset"].removesuffix(form) for record in records if record["system"] not in own})


def what_differs(protocol: Protocol, records: Sequence[Record]) -> list[str]:
    """What is not as in the paper or as the protocol would have it, one sentence each."""
    own = [*_preset(protocol, records), _budget(records), *_unfinished(protocol, records)]
    return [*protocol.differs, *_quoted(protocol), *own]


def _words_of_the_budget(protocol: Protocol, records: Sequence[Record]) -> str:
    """The options that made the cells, where that is not what the protocol has."""
    ((steps, minutes),) = by_budget(records)
    if (steps, minutes) == (protocol.steps, protocol.minutes):
        return ""
    return f" --steps {steps}" if steps is not None else "" if minutes is None else f" --minutes {minutes:g}"


def _preset(protocol: Protocol, records: Sequence[Record]) -> Iterator[str]:
    """Another preset than the protocol's, of which its own sentences say nothing."""
    others = {record["preset"] for record in records if not is_as_compared(protocol, record)}
    if others:
        yield f"preset: {', '.join(sorted(others))} instead of {protocol.preset}, so that no published row is the same"


def _quoted(protocol: Protocol) -> Iterator[str]:
    """What the paper says of figures that it quotes itself."""
    for name, places in protocol.quoted.items():
        notes = {note for where in places.values() for note in notes_of(protocol, where)}
        if notes:
            yield f"{name}: {'; '.join(sorted(notes))}"


def _budget(records: Sequence[Record]) -> str:
    """How long was trained."""
    found = by_device(records)
    told = []
    for device, own in found.items():
        minutes = sorted({round(record["training"]["seconds"] / 60) for record in own})
        how_long = f"{minutes[0]}" if len(minutes) == 1 else f"{minutes[0]} to {minutes[-1]}"
        told.append(f"{how_long} minutes of training on {'this machine' if len(found) == 1 else device}")
    return f"budget: {', '.join(told)}"


def _unfinished(protocol: Protocol, records: Sequence[Record]) -> Iterator[str]:
    """How many of the protocol's cells are not there; rows without any are named."""
    there = present(protocol, records)
    by_fold = {fold.name: by_system(protocol, of_fold(records, fold.name)) for fold in protocol.folds}
    unfinished = sum(
        len(unfinished_seeds(system, own.get(name, [])))
        for name, system in protocol.systems.items()
        for fold, own in by_fold.items()
        if system.runs_on(fold)
    )
    if unfinished:
        every = sum(len(each.seeds) * sum(map(each.runs_on, by_fold)) for each in protocol.systems.values())
        nothing = [name for name in protocol.systems if name not in there]
        rows = f"; no cell of {', '.join(nothing)}" if nothing else ""
        yield f"missing: {unfinished} of the protocol's {every} cells are not finished{rows}"


def origin(records: Sequence[Record]) -> str:
    """Where the figures come from."""
    segmented = [(record, case["segmented"]) for record in records for case in record["cases"] if "segmented" in case]
    machines = {_machine(record, record["provenance"]["machine"]) for record in records}
    machines |= {_machine(record, made["machine"]) for record, made in segmented}
    commits = {commit for record in records for commit in _commits(record)}
    dates = sorted(record["provenance"]["date"][:10] for record in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    made = f"Computed {when} on {'; '.join(sorted(machines))}; commits {', '.join(sorted(commits))}."
    return made + _uncommitted(records)


def _uncommitted(records: Sequence[Record]) -> str:
    """A sentence where code that no commit has, computed cells."""
    changed = [record for record in records if any(commit.endswith(DIRTY) for commit in _commits(record))]
    if not changed:
        return ""
    whose = ", ".join(sorted({record["system"] for record in changed}))
    return (
        f" Where a commit ends in {DIRTY}, the code had changes that are in no commit: {len(changed)} of "
        f"{len(records)} cells ({whose})."
    )


def _commits(record: Record) -> set[str]:
    """Those that trained and segmented a cell, where that is known."""
    segmented = {str(case["segmented"]["commit"]) for case in record["cases"] if "segmented" in case}
    return {str(record["training"]["commit"])} | segmented


def _machine(record: Record, machine: Record) -> str:
    version = record["provenance"]["versions"]["torch"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, PyTorch {version}"
