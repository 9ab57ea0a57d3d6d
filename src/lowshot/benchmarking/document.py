"""``docs/results.md``: every result file of a folder as a page. What it says is a function of those files alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.overview import overview_table
from lowshot.benchmarking.results import by_budget, of_the_present, read_results
from lowshot.benchmarking.tables import cost_table, is_as_compared, main_table, scan_table, structure_table
from lowshot.protocols.protocol import Protocol
from lowshot.protocols.registry import PROTOCOLS, protocol
from lowshot.reporting.tables import Table, to_markdown

HEAD = """# Results

Made by `make results` from the files in `docs/results/`, which `lowshot bench` wrote; CI refuses a page that is older
than they are. Each file holds, line by line, one cell: settings, seed, plan, machine, versions, SHA-256 of the scans,
every score, and the commit that computed it.

HD95 is the larger of the two directed 95th percentiles; where a structure was not found, Dice is 0 and HD95 the
image's diagonal. Left out: neither prediction nor truth has it. p: Wilcoxon's signed-rank test over pairs of scan and
structure, against the row that the heading names, corrected by Holm for the number of rows, over the seeds that both
rows have. Expected ~ true Dice: Spearman's correlation of what the model itself expected with what it reached, over all
pairs of scan and structure, and over the means of scans: the latter would tell which of several scans to check. Minutes
count training steps alone. They, and the median of the seconds that a scan takes, depend on what else the machine did.
"""


def results_page(folder: Path) -> str:
    """The page for every ``PROTOCOL.jsonl`` of a folder, in the order of the registry."""
    files = {protocol(path.stem).name: read_results(path) for path in folder.glob("*.jsonl")}
    sections = [
        section(each, records)
        for name, each in PROTOCOLS.items()
        for records in by_budget(of_the_present(each, files.get(name, []), each.preset)).values()
    ]
    return "\n".join([HEAD, *sections])


def protocol_tables(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    """All tables of one protocol."""
    folds = [fold.name for fold in protocol.folds if any(r["fold"]["name"] == fold.name for r in records)]
    main = [main_table(protocol, records, fold) for fold in folds]
    scans = [scan_table(protocol, records, fold) for fold in folds]
    several = [fold for fold in folds if not protocol.fold(fold).new]
    structures = [structure_table(protocol, records, fold) for fold in several]
    overview = [overview_table(protocol, records, folds)] if len(folds) > 1 else []
    return [*overview, *main, *scans, *structures, cost_table(protocol, records)]


def section(protocol: Protocol, records: Sequence[Record]) -> str:
    """What a protocol is, how its tables are made again, what differs from the paper, and the tables.

    All records are of one budget and one preset.
    """
    differs = "".join(
        f"- {sentence}\n" for sentence in (*protocol.differs, *_preset(protocol, records), _budget(records))
    )
    tables = "\n".join(map(to_markdown, protocol_tables(protocol, records)))
    data, budget = "" if protocol.study else " --data DATA", _words_of_the_budget(protocol, records)
    command = f"lowshot bench {protocol.name}{data}{budget} -o FOLDER"
    head = f"## {protocol.name}\n\n{protocol.summary}.\n\n```text\n{command}\n```"
    return f"{head}\n\n{differs}\n{tables}\n{_origin(records)}\n"


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


def _budget(records: Sequence[Record]) -> str:
    """How long was trained."""
    minutes = sorted({round(record["training"]["seconds"] / 60) for record in records})
    how_long = f"{minutes[0]}" if len(minutes) == 1 else f"{minutes[0]} to {minutes[-1]}"
    return f"budget: {how_long} minutes of training on this machine"


def _origin(records: Sequence[Record]) -> str:
    """Where the figures come from."""
    machines = {_machine(record) for record in records}
    commits = {str(record["training"]["commit"]) for record in records}
    dates = sorted(record["provenance"]["date"][:10] for record in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"Computed {when} on {'; '.join(sorted(machines))}; commits {', '.join(sorted(commits))}."


def _machine(record: Record) -> str:
    machine, versions = record["provenance"]["machine"], record["provenance"]["versions"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, PyTorch {versions['torch']}"
