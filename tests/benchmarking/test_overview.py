from dataclasses import replace

import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import cells_of, organ_record, record
from lowshot.benchmarking.overview import overview_table, setting_tables, settings_of
from lowshot.protocols.breast import sizes
from lowshot.protocols.btcv import bounds, pools
from lowshot.protocols.candi import several_atlases
from lowshot.protocols.few_shot import GCN_DE_MODULES, MR, ORGANS
from lowshot.protocols.five_folds import five_folds
from lowshot.protocols.lt_net import SUPERVISED
from lowshot.protocols.mrbrains import ONE_SHOT, SHOTS, drawn_shots, each_in_turn
from lowshot.protocols.protocol import Fold

CASES = tuple(str(number) for number in range(1, 28))


def on(fold, **about):
    return {**record(**about), "fold": {"name": fold}}


def title(table):
    return table.title.partition(": ")[0].partition("overview of ")[2]


@pytest.mark.parametrize(
    ("folds", "sizes_of_settings"),
    [
        (each_in_turn(CASES[:7]), [7]),
        (drawn_shots(CASES[:7]), [7, 7]),
        (bounds(CASES), [7, 1]),
        (bounds(CASES[:13]), [7, 1]),  # six others teach, as six of the seven do, but other scans are segmented
        (pools(CASES), [1, 1, 1]),
        (several_atlases(CASES), [1, 1, 1, 1]),
        (sizes(CASES * 12), [1, 1, 1, 1]),
        (five_folds(CASES[:22], ORGANS, "last"), [5, 5, 5, 5]),
        (MR.folds, [2, 2, 2, 2]),
        (SUPERVISED.folds, [2]),  # a cross-validation, from five and from four
    ],
)
def test_folds_of_one_setting_are_together(folds, sizes_of_settings):
    assert [len(group) for group in settings_of(folds)] == sizes_of_settings


def test_every_fold_of_the_protocol_has_a_column_whether_it_was_computed_or_not():
    table = overview_table(MR, [on("liver A", system="apscl", dice=((0.4, 0.2), (0.3, 0.3)))])
    assert [column.heading for column in table.columns[1:]] == [fold.name for fold in MR.folds]
    found = cells_of(table, "apscl")
    assert (found["liver A"], found["spleen A"]) == ("0.300", "–")
    assert "mean" not in found


def of_brains(protocol, arrange):
    return replace(protocol, folds=arrange(CASES[:7]))


def test_seven_folds_have_a_mean_and_a_deviation_beside_the_published_ones():
    protocol = of_brains(ONE_SHOT, each_in_turn)
    records = [
        on(fold.name, dice=((0.5 + number / 10, 0.5 + number / 10),)) | {"preset": "paper"}
        for number, fold in enumerate(protocol.folds)
    ]
    for number, made in enumerate(records):
        for score in made["cases"][0]["scores"]:
            score["hd95_in_plane"] = float(number)
    (table,) = setting_tables(protocol, records)
    assert "overview of 1 annotated: mean ± deviation over 7 folds" in table.title
    found = cells_of(table, "mre-net")
    assert (found["Dice"], found["HD95 in planes (mm)"]) == ("0.800 ± 0.216", "3.0 ± 2.2")
    assert (found["published Dice"], found["published HD95 in planes"]) == ("0.784 ± 0.011", "6.3 ± 1.7 mm")


def test_seeds_are_averaged_before_folds():
    protocol = replace(BALLS, folds=(Fold("a", ("s0",), ("s1",)), Fold("b", ("s1",), ("s0",))))
    records = [on("a", dice=((0.8, 0.8),)), on("a", seed=1, dice=((0.6, 0.6),)), on("b", dice=((0.9, 0.9),))]
    (table,) = setting_tables(protocol, records)
    assert cells_of(table, "mre-net")["Dice"] == "0.800 ± 0.141"


def test_each_setting_stands_beside_its_own_published_figures():
    protocol = of_brains(SHOTS, drawn_shots)
    records = [on(fold.name) | {"preset": "paper"} for fold in protocol.folds]
    tables = {title(table): table for table in setting_tables(protocol, records)}
    printed = {name: cells_of(table, "mre-net")["published Dice"] for name, table in tables.items()}
    assert printed == {"2 annotated": "0.805 ± 0.013", "3 annotated": "0.820 ± 0.011"}


def test_a_system_that_lacks_a_fold_has_no_mean():
    protocol = of_brains(ONE_SHOT, each_in_turn)
    lacking = [on(fold.name) for fold in protocol.folds[1:]]
    assert list(setting_tables(protocol, lacking)) == []
    whole = [on(fold.name, system="unet") for fold in protocol.folds]
    (table,) = setting_tables(protocol, [*lacking, *whole])
    assert [row[0] for row in table.rows] == ["unet"]


def of_organs(protocol, left_out=()):
    return [
        organ_record("apscl", fold.new, fold={"name": fold.name})
        for fold in protocol.folds
        if fold.name not in left_out
    ]


def test_organs_have_means_over_their_folds_and_one_over_all_of_them():
    tables = list(setting_tables(MR, of_organs(MR)))
    assert "overview: mean over 4 structures, each the mean over its folds" in tables[0].title
    found = cells_of(tables[0], "apscl")
    assert (found["Dice"], found["published Dice"]) == ("0.700", "0.855")  # the paper's over four organs
    assert [title(table) for table in tables[1:]] == list(ORGANS)
    liver = cells_of(tables[1], "apscl")
    assert (liver["Dice"], liver["published Dice"]) == ("0.700 ± 0.000", "0.867")


def test_without_one_organ_there_is_no_mean_over_organs():
    assert list(setting_tables(GCN_DE_MODULES, of_organs(GCN_DE_MODULES, ["liver A"]))) == []
