"""The protocols that need no data, every row of them from end to end."""

from dataclasses import replace

import pytest

from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.compute import Machine
from lowshot.benchmarking.runner import cells, run
from lowshot.benchmarking.tables import main_table
from lowshot.progress import Silent
from lowshot.protocols.registry import PROTOCOLS

# None: as large as they are.
SHAPES = {
    "atlas-phantom-abdomen": (32, 32, 32),
    "atlas-phantom-brain": (32, 32, 32),
    "phantom-one-slice": None,
    "phantom-ultrasound": None,
}


@pytest.mark.slow
@pytest.mark.usefixtures("brief_alignment")
@pytest.mark.parametrize("name", SHAPES)
def test_every_row_trains_and_is_scored(name, tmp_path):
    one = PROTOCOLS[name]
    fold = replace(one.folds[0], queries=one.folds[0].queries[:1], unlabelled=one.folds[0].unlabelled[:2])
    one = replace(one, folds=(fold,), study=replace(one.study, shape=SHAPES[name] or one.study.shape))
    cases = cases_of(one, None, tmp_path, Silent())
    how = Machine(preset="compact", steps=2, device="cpu", precision="float32", threads=1)
    asked = cells(one, one.systems, one.folds, None)
    records, failed = run(asked, cases, tmp_path, how, restart=False, progress=Silent())
    assert failed == []
    assert sorted(record["system"] for record in records) == sorted(one.systems)
    for record in records:
        (case,) = record["cases"]
        assert case["case"] == fold.queries[0]
        assert {score["structure"] for score in case["scores"]} == set(cases.task(fold, 1).names.foreground)
    assert len(main_table(one, records, fold.name).rows) == len(one.systems)
