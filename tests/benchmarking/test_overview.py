from benchmarking.test_tables import cells_of, record
from lowshot.benchmarking.overview import overview_table
from lowshot.protocols.few_shot import MR


def on(fold, **about):
    return {**record("apscl", **about), "fold": {"name": fold}}


def test_each_fold_has_a_column_and_the_mean_is_over_folds():
    folds = ("liver A", "spleen A")
    records = [on("liver A", dice=((0.8, 0.8),)), on("spleen A", dice=((0.4, 0.2), (0.3, 0.3)))]
    found = cells_of(overview_table(MR, records, folds), "apscl")
    assert (found["liver A"], found["spleen A"], found["mean"]) == ("0.800", "0.300", "0.550")
    assert found["published mean"] == "0.855"  # the paper's over four organs


def test_a_system_that_lacks_a_fold_has_no_mean():
    found = cells_of(overview_table(MR, [on("liver A")], ("liver A", "spleen A")), "apscl")
    assert (found["spleen A"], found["mean"]) == ("–", "–")
