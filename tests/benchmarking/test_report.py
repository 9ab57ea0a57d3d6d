from dataclasses import replace

import pytest

from ball_files import write_ball_files
from benchmarking.balls import BALLS, bench
from contract import tiny
from listening import Listening
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.document import protocol_tables
from lowshot.benchmarking.report import further_tables, write_report
from lowshot.benchmarking.write import write_tables
from lowshot.progress import Silent
from lowshot.protocols.protocol import Fold, System

PANET = System(method="panet", settings=tiny.SETTINGS["panet"], granted=True)
FOLD = Fold("middle ball s0", ("s0",), ("s1", "s3"), base=("s2",), new="middle ball")
PROTOCOL = replace(
    BALLS,
    folds=(FOLD,),
    systems={
        "panet": PANET,
        "again": replace(PANET, model_of="panet"),
        "whole volume": replace(PANET, model_of="panet", granted=False),
    },
    reference="panet",
    summary="One <ball> is new",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"), count=4)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    records, failed = bench(data, root, PROTOCOL)
    assert not failed
    return root, records


def written(data, root, records):
    heard = Listening()
    cases = cases_of(PROTOCOL, data, root, Silent())
    tables = [*(protocol_tables(PROTOCOL, records) if records else ()), *further_tables(PROTOCOL, records)]
    if records:
        write_tables("", tables, root)
    return write_report(PROTOCOL, records, tables, cases, root, heard), heard.warnings


def test_a_new_structure_has_its_page_its_tables_and_its_figures(data, finished):
    root, records = finished
    files, warnings = written(data, root, records)
    assert warnings == []
    assert files == {"page": f"{root}/tables.html", "LaTeX": f"{root}/tables.tex", "figures": f"{root}/figures"}
    made = {path.name for path in (root / "figures").iterdir()}
    assert made >= {"training.svg", "queries.png"}
    for kind in ("granted-range", "whole-volume"):
        assert made >= {f"dice-middle-ball-s0-{kind}.svg", f"dice-over-minutes-middle-ball-s0-{kind}.svg"}
    page = (root / "tables.html").read_text()
    assert page.count("<img ") == len(made)
    assert "One &lt;ball&gt; is new." in page
    assert "lowshot bench balls --data DATA --threads 1 -o FOLDER" in page
    assert "spread over scans per structure" in page
    assert "paired tests against panet" in page
    tables = len(protocol_tables(PROTOCOL, records)) + 1 + 2  # tests; spread in granted ranges, and in whole volumes
    assert (root / "tables.tex").read_text().count(r"\toprule") == tables
    tests = (root / "tables" / "balls-granted-range-paired-tests-against-panet.csv").read_text()
    assert len(tests.splitlines()) == 1 + 4
    for kind, rows in (("granted-range", 2), ("whole-volume", 1)):
        spread = root / "tables" / f"balls-{kind}-middle-ball-s0-spread-over-scans-per-structure.csv"
        assert len(spread.read_text().splitlines()) == 1 + rows


def test_the_same_records_give_the_same_files(data, finished):
    root, records = finished
    written(data, root, records)
    first = {path: path.read_bytes() for path in root.rglob("*") if path.suffix in {".html", ".tex", ".svg", ".png"}}
    written(data, root, records)
    assert first == {path: path.read_bytes() for path in first}


def test_a_system_whose_predictions_are_gone_is_told(data, finished):
    root, records = finished
    for path in (root / "cells" / "whole-volume").rglob("*.nii.gz"):
        path.rename(path.with_suffix(".gone"))
    _, (warning,) = written(data, root, records)
    assert "whole volume: not in the picture of queries" in warning
    for path in (root / "cells" / "whole-volume").rglob("*.gone"):
        path.rename(path.with_suffix(".gz"))


def test_without_a_finished_cell_nothing_is_written(data, tmp_path):
    assert written(data, tmp_path, [])[0] == {}
    assert not list(tmp_path.iterdir())
