from dataclasses import replace

from benchmarking.test_tables import cells_of, organ_record
from lowshot.benchmarking.comparison_table import comparison_table
from lowshot.benchmarking.document import protocol_tables
from lowshot.benchmarking.kinds import kinds
from lowshot.protocols.few_shot import GCN_DE_MODULES, MR

GRANTED = {"granted": True, "steps": 800, "minutes": None}
WHOLE = {"steps": 800, "minutes": None}


def records():
    granted = [organ_record(name, "liver", **GRANTED) for name in ("apscl", "panet")]
    whole = [organ_record(f"{name} whole volume", "liver", **WHOLE) for name in ("apscl", "panet", "se-net")]
    return [*whole, *granted]


def test_each_kind_has_its_own_reference_and_its_own_correction():
    (granted, own), (whole, others) = kinds(MR, records())
    assert (granted.name, granted.reference) == ("new-organ-mr, granted range", "apscl")
    assert (whole.name, whole.reference) == ("new-organ-mr, whole volume", "apscl whole volume")
    assert [row[0] for row in comparison_table(granted, own).rows] == ["panet"]
    table = comparison_table(whole, others)
    assert [row[0] for row in table.rows] == ["se-net whole volume", "panet whole volume"]
    assert "Dice − apscl whole volume" in cells_of(table, "panet whole volume")


def test_no_table_of_scores_mixes_them():
    *scores, costs = protocol_tables(MR, records())
    assert len(costs.rows) == 5
    for table in scores:
        assert len({str(row[0]).endswith("whole volume") for row in table.rows}) == 1
    titles = [table.title.partition("; ")[0] for table in scores]
    assert len(set(titles)) == len(titles)


def test_a_benchmark_of_one_kind_is_as_it_was():
    own = [organ_record("neither", "liver", granted=True)]
    assert list(kinds(GCN_DE_MODULES, own)) == [(replace(GCN_DE_MODULES), own)]


def test_of_a_method_that_is_no_row_the_kind_is_told():
    (_, (added, own)) = kinds(
        GCN_DE_MODULES, [organ_record("neither", "liver", granted=True), organ_record("x", "liver")]
    )
    assert (added.name, [record["system"] for record in own]) == ("gcn-de-modules, whole volume", ["x"])
    assert comparison_table(added, own) is None
