"""The tables of structures: ours over queries, seeds and folds, and what papers print below."""

from dataclasses import replace

import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import record
from lowshot.benchmarking.structure_tables import structure_tables
from lowshot.protocols.protocol import Fold, Published

TURNS = (Fold("from a", ("a",), ("s1", "s2")), Fold("from b", ("b",), ("s1", "s2")))


def in_fold(name, made):
    return made | {"fold": {"name": name}}


def test_structures_have_a_column_for_each_system():
    (table,) = structure_tables(BALLS, [record(), record("unet", dice=((0.2, 0.1), (0.4, None)))], BALLS.folds)
    assert table.rows == (("left ball", pytest.approx(0.6), pytest.approx(0.3)), ("right ball", 0.6, 0.1))


def test_what_is_printed_for_a_structure_has_a_line_below_ours():
    row = replace(BALLS.systems["mre-net"], published={"": Published("VII", "mre-net", "1-shot")})
    protocol = replace(BALLS, systems={**BALLS.systems, "mre-net": row})
    records = [record(), record("unet")]
    for made in records:
        for case in made["cases"]:
            case["scores"][0]["structure"] = "ventricles"
    dice, hd95 = structure_tables(protocol, records, BALLS.folds)
    for table in (dice, hd95):
        assert [line[0] for line in table.rows] == ["ventricles", "published ventricles", "right ball"]
    assert (dice.rows[1][1:], hd95.rows[1][1:]) == (("0.906 ± 0.044", None), ("6.3 ± 1.2 mm", None))
    assert hd95.title == "balls, s0: HD95 (mm) per structure"
    others = [made | {"preset": "paper"} for made in records]
    (table,) = structure_tables(protocol, others, BALLS.folds)
    assert len(table.rows) == 2


def test_what_the_first_place_does_not_print_is_looked_for_in_the_others():
    modules = replace(BALLS.systems["mre-net"], published={"": Published("II", "mre-net[]")})
    also = replace(modules, also=(Published("VII", "u-net-3d", "1-shot"),))
    for row, lines in ((modules, 2), (also, 3)):
        made = record()
        for case in made["cases"]:
            case["scores"][0]["structure"] = "ventricles"
        table, *_ = structure_tables(replace(BALLS, systems={"mre-net": row}), [made], BALLS.folds)
        assert len(table.rows) == lines


def test_over_the_folds_of_one_setting_stand_mean_and_deviation_of_the_systems_that_have_all():
    row = replace(BALLS.systems["mre-net"], published={"": Published("VII", "mre-net", "1-shot")})
    protocol = replace(BALLS, folds=TURNS, systems={**BALLS.systems, "mre-net": row})
    records = [
        in_fold("from a", record(dice=((0.8, 0.6), (0.6, 0.6)))),
        in_fold("from b", record(dice=((0.9, 0.2), (0.9, 0.2)))),
        in_fold("from b", record("unet")),
    ]
    for made in records:
        for case in made["cases"]:
            case["scores"][0]["structure"] = "ventricles"
    table, *_ = structure_tables(protocol, records, TURNS)
    assert table.title == "balls, 1 annotated: Dice per structure, mean ± deviation over 2 folds"
    assert [column.heading for column in table.columns] == ["structure", "mre-net"]
    assert table.rows == (
        ("ventricles", "0.800 ± 0.141"),  # 0.7 and 0.9
        ("published ventricles", "0.906 ± 0.044"),
        ("right ball", "0.400 ± 0.283"),  # 0.6 and 0.2
    )


def test_a_mean_without_some_structures_comes_last_beside_the_printed_one():
    row = replace(BALLS.systems["mre-net"], published={"": Published("VII", "mre-net", "1-shot")})
    without = {"mean without wmh": ("right ball",), "mean without what nobody has": ("liver",)}
    protocol = replace(BALLS, systems={"mre-net": row}, partial_means=without)
    dice, _ = structure_tables(protocol, [record(dice=((0.8, 0.1), (0.4, 0.1)))], BALLS.folds)
    assert dice.rows[2:] == (
        ("mean without wmh", pytest.approx(0.6)),
        ("published mean without wmh", "0.812 ± 0.010"),
    )


def test_what_is_only_quoted_has_a_column_beside_what_it_is_printed_for():
    quoted = {
        "U-Net (quoted)": {"": Published("VII", "u-net-3d", "non-low-shot")},
        "other": {"s1": Published("X", "a")},
    }
    made = record()
    for case in made["cases"]:
        case["scores"][0]["structure"] = "ventricles"
    dice, hd95 = structure_tables(replace(BALLS, quoted=quoted), [made], BALLS.folds)
    assert [column.heading for column in dice.columns] == ["structure", "mre-net", "U-Net (quoted)"]
    assert [line[0] for line in dice.rows] == ["ventricles", "published ventricles", "right ball"]
    assert [line[2] for line in dice.rows] == [None, "0.931", None]
    assert hd95.rows[1] == ("published ventricles", None, "2.8 mm")
    nothing_printed, *_ = structure_tables(replace(BALLS, quoted=quoted), [record()], BALLS.folds)
    assert [column.heading for column in nothing_printed.columns] == ["structure", "mre-net"]
