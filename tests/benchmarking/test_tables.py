import math
from dataclasses import replace

from benchmarking.balls import BALLS
from lowshot.benchmarking.results import rows, to_csv
from lowshot.benchmarking.tables import cost_table, main_table, scan_table
from lowshot.protocols.few_shot import MR
from lowshot.protocols.protocol import VARIANTS, Published

COSINE = "distance cosine"
STRUCTURES = ("left ball", "right ball")


def record(system="mre-net", seed=0, dice=((0.8, 0.6), (0.4, None)), hd95=2.0, seconds=120.0, device="cpu"):
    """One cell: ``dice`` by case and structure; None where both are empty."""
    return {
        "protocol": "balls",
        "system": system,
        "method": "mre-net",
        "preset": "compact",
        "fold": {"name": "s0"},
        "seed": seed,
        "training": {"seconds": seconds, "peak_bytes": 2_000_000_000},
        "provenance": {
            "plan": {"precision": "bfloat16", "threads": 2, "stages": {"training": {"steps": 60}}},
            "machine": {"device": device},
        },
        "cases": [
            {
                "case": f"s{number}",
                "seconds": 3.0,
                "peak_bytes": 1_000_000_000,
                "scores": [
                    {
                        "structure": name,
                        "dice": value,
                        "hd95": None if value is None else hd95,
                        "hd95_unit": "mm",
                        "empty": "both" if value is None else "none",
                        "expected_dice": None if value is None else value / 2,
                    }
                    for name, value in zip(STRUCTURES, values, strict=True)
                ],
            }
            for number, values in enumerate(dice, start=1)
        ],
    }


def cells_of(table, name):
    (row,) = [row for row in table.text if row[0] == name]
    return dict(zip([column.heading for column in table.columns], row, strict=True))


def test_the_mean_is_over_structures_that_are_defined_then_over_scans_then_over_seeds():
    records = [record(), record(seed=1, dice=((0.9, 0.9), (0.9, None)))]
    found = cells_of(main_table(BALLS, records, "s0"), "mre-net")
    assert found["Dice"] == "0.725 ± 0.247"  # ((0.8 + 0.6) / 2 + 0.4) / 2 = 0.55, and 0.9
    assert (found["seeds"], found["steps"], found["minutes"], found["HD95 (mm)"]) == ("2", "60", "2.0", "2.0 ± 0.0")


def test_what_was_expected_stands_as_a_mean_beside_what_was_reached():
    made = record()
    for case in made["cases"]:
        for score in case["scores"]:
            score["expected_dice"] = 0.75 if case["case"] == "s1" else None
    assert cells_of(main_table(BALLS, [made], "s0"), "mre-net")["expected Dice"] == "0.750"


def test_published_figures_stand_beside_ours():
    found = cells_of(main_table(BALLS, [record()], "s0"), "mre-net")
    assert found["published Dice"] == "0.784 ± 0.011"
    assert found["published HD95"] == "6.3 ± 1.7 mm"


def test_published_fractions_stay_fractions():
    """ELNet's papers print Dice from 0 to 1 and distances in voxels."""
    elnet = replace(BALLS.systems["mre-net"], published={"": Published("1", "u-net")})
    protocol = replace(BALLS, systems={"mre-net": elnet}, paper="elnet", dataset="acdc")
    found = cells_of(main_table(protocol, [record()], "s0"), "mre-net")
    assert (found["published Dice"], found["published HD95"]) == ("0.142", "43.3 voxel")


def test_what_is_only_quoted_has_a_row_on_its_fold_where_a_mean_is_printed():
    scs = {"SCS (reported)": {"s0": Published("XII", "scs", "220 images reported")}}
    protocol = replace(BALLS, dataset="bus", means=("lesion",), quoted=scs)
    found = cells_of(main_table(protocol, [record()], "s0"), "SCS (reported)")
    assert found.pop("published Dice") == "0.900 ± 0.041"
    assert set(found.values()) <= {"SCS (reported)", "–"}
    elsewhere = {"SCS (reported)": {"s1": Published("XII", "scs", "220 images reported")}}
    for quoted, means in ((elsewhere, ("lesion",)), (scs, ("mean",))):
        table = main_table(replace(protocol, quoted=quoted, means=means), [record()], "s0")
        assert [row[0] for row in table.rows] == ["mre-net"]


def test_what_was_not_found_and_what_was_left_out_is_counted():
    made = record()
    made["cases"][0]["scores"][0]["empty"] = "prediction"
    found = cells_of(main_table(BALLS, [made], "s0"), "mre-net")
    assert (found["not found"], found["left out"]) == ("1", "1")


def test_a_pool_that_holds_queries_is_told_in_the_title():
    fold = replace(BALLS.folds[0], unlabelled=("s1",))
    assert "transductive" in main_table(replace(BALLS, folds=(fold,)), [record()], "s0").title


def test_what_the_model_expected_is_ranked_against_what_came():
    assert cells_of(main_table(BALLS, [record()], "s0"), "mre-net")["expected ~ true Dice"] == "1.00"


def test_predictions_of_cells_that_are_not_finished_are_counted():
    """mre-net has two seeds and two queries, unet one seed."""
    table = scan_table(BALLS, [record(), record("unet")], "s0")
    assert (cells_of(table, "mre-net")["missing"], cells_of(table, "unet")["missing"]) == ("2", "0")


def test_an_interval_stands_beside_the_mean_over_scans_where_there_are_three():
    scans = record(dice=((0.5, 0.5), (0.6, 0.6), (0.7, 0.7)))
    found = cells_of(scan_table(BALLS, [scans], "s0"), "mre-net")
    assert (found["Dice"], found["95 % interval"]) == ("0.600 ± 0.100", "0.500 to 0.700")
    assert "95 % interval" not in cells_of(scan_table(BALLS, [record()], "s0"), "mre-net")


def test_a_published_mean_is_over_what_ours_is_over():
    row = replace(BALLS.systems["mre-net"], published={"": Published("VII", "mre-net", "1-shot")})
    protocol = replace(BALLS, systems={"mre-net": row})
    for means, printed in ((("mean",), "0.784 ± 0.011"), (("mean without wmh", "mean"), "0.812 ± 0.010")):
        found = cells_of(main_table(replace(protocol, means=means), [record()], "s0"), "mre-net")
        assert found["published Dice"] == printed


def test_costs():
    (row,) = cost_table(BALLS, [record()]).rows
    assert row == ("mre-net", 1, "bfloat16", "2", 60, 2.0, 2.0, 2.0, 3.0, 1.0)


def test_what_several_devices_took_is_not_averaged():
    slow, fast = record(), record(seed=1, seconds=12.0, device="a GPU")
    table = cost_table(BALLS, [slow, fast])
    assert [(row[0], row[1], row[2], row[6]) for row in table.rows] == [
        ("mre-net", "cpu", 1, 2.0),
        ("mre-net", "a GPU", 1, 0.2),
    ]
    assert cells_of(main_table(BALLS, [slow, fast], "s0"), "mre-net")["minutes"] == "0.2–2.0"


def test_memory_is_the_device_s_own_and_missing_where_a_gpu_s_was_not_measured():
    old, new = record(device="H100"), record(seed=1, device="H100")
    assert (cells_of(cost_table(BALLS, [old]), "mre-net"))["training (GB)"] == "–"
    new["training"]["peak_gpu_bytes"] = 30_000_000_000
    new["cases"][0] |= {"peak_gpu_bytes": 4_000_000_000, "segmented": {"machine": {"device": "H100"}}}
    found = cells_of(cost_table(BALLS, [old, new]), "mre-net")
    assert (found["training (GB)"], found["segmenting (GB)"]) == ("30.00", "4.00")


def test_published_costs_stand_beside_ours_where_some_row_has_them():
    system = replace(BALLS.systems["mre-net"], costs=(Published("IX", "mre-net"), Published("VI", "mre-net", COSINE)))
    found = cells_of(cost_table(replace(BALLS, systems={"mre-net": system}), [record()]), "mre-net")
    told = found["published training (min)"], found["published training (GB)"], found["published seconds a scan"]
    assert told == ("150.0", "10.2", "4.0")


def test_methods_that_are_no_row_come_last():
    table = main_table(BALLS, [record("another"), record("unet"), record()], "s0")
    assert [row[0] for row in table.rows] == ["mre-net", "unet", "another"]


def test_without_the_reference_nothing_is_tested():
    table = main_table(replace(BALLS, reference="nobody"), [record()], "s0")
    assert "pairs" not in table.title


def test_the_tidy_file_has_a_line_for_each_score():
    lines = to_csv([record()]).splitlines()
    assert len(lines) == 1 + 4
    assert lines[0].startswith("protocol,system,fold,seed,case,seconds")
    assert lines[1].startswith("balls,mre-net,s0,0,s1,3.0,1000000000,left ball,0.8,2.0,mm")


def test_none_is_nan():
    assert math.isnan(rows([record()])[3].dice)


def test_published_figures_are_of_the_protocols_preset_alone():
    other = record() | {"preset": "paper"}
    assert "published Dice" not in cells_of(main_table(BALLS, [other], "s0"), "mre-net")
    costs = replace(BALLS.systems["mre-net"], costs=(Published("IX", "mre-net"),))
    told = cells_of(cost_table(replace(BALLS, systems={"mre-net": costs}), [other]), "mre-net")
    assert "published training (min)" not in told


def test_whether_the_model_knew_its_worst_scan_is_told_apart_from_its_hard_structures():
    made = record(dice=((0.9, 0.2), (0.8, 0.1), (0.7, 0.0)))
    for case, expected in zip(made["cases"], (0.4, 0.5, 0.6), strict=True):
        case["scores"][0]["expected_dice"] = expected
        case["scores"][1]["expected_dice"] = expected - 0.3
    found = cells_of(main_table(BALLS, [made], "s0"), "mre-net")
    assert float(found["expected ~ true Dice"]) > 0
    assert found["expected ~ true, scans"] == "-1.00"


ULTRASOUND = replace(
    BALLS,
    systems={"mre-net": replace(BALLS.systems["mre-net"], published={"": Published("XII", "mre-net", "2 images")})},
    dataset="bus",
    measures=("dice", "radial_error", "true_positive_ratio", "false_positive_ratio"),
)


def flat_record(radial_errors, **ratios):
    """Cases of one structure, lesion, with these radial errors."""
    made = record(dice=((0.9, None),) * len(radial_errors))
    for case, error in zip(made["cases"], radial_errors, strict=True):
        case["scores"] = [case["scores"][0] | {"structure": "lesion", "radial_error": error, **ratios}]
    return made


def test_a_protocol_chooses_its_measures():
    ratios = {"true_positive_ratio": 0.9, "false_positive_ratio": None}
    made = [flat_record((0.1, 0.3, None), **ratios), flat_record((0.4,), **ratios) | {"seed": 1}]
    found = cells_of(main_table(ULTRASOUND, made, "s0"), "mre-net")
    assert (found["Dice"], found["radial error"]) == ("0.900 ± 0.000", "0.300 ± 0.141")
    assert (found["true positives"], found["false positives"]) == ("0.900 ± 0.000", "–")
    assert not any("HD95" in heading for heading in found)
    printed = [found[f"published {name}"] for name in ("Dice", "radial error", "true positives", "false positives")]
    assert printed == ["0.897 ± 0.035", "0.160 ± 0.143", "0.875 ± 0.056", "0.078 ± 0.095"]


def test_distances_are_in_voxels_where_millimetres_are_made_up():
    headings = [column.heading for column in main_table(replace(BALLS, voxels_of_1_mm=True), [record()], "s0").columns]
    assert "HD95 (voxels)" in headings


def test_what_is_printed_for_one_structure_stands_beside_no_mean_over_several():
    assert "published Dice" not in cells_of(main_table(ULTRASOUND, [record()], "s0"), "mre-net")


def test_records_older_than_a_score_are_read():
    (row, *_) = rows([record()])
    assert math.isnan(row.radial_error + row.true_positive_ratio + row.false_positive_ratio + row.volume_elsewhere)
    assert cells_of(main_table(ULTRASOUND, [record()], "s0"), "mre-net")["radial error"] == "–"
    header, line, *_ = to_csv([record()]).splitlines()
    assert header.endswith(",".join(["radial_error", "volume_elsewhere", *VARIANTS]))
    assert line.endswith("," * (3 + 1 + len(VARIANTS)))
    assert to_csv([flat_record((0.25,))]).splitlines()[1].endswith(",0.25," + "," * len(VARIANTS))


def organ_record(system, structure, **changes):
    """A cell in which one organ is new: three scans, 1.25 ml on slices without it on average."""
    made = record(system, dice=((0.6, None), (0.7, None), (0.8, None)))
    for case, elsewhere in zip(made["cases"], (0.5, 1.25, 2.0), strict=True):
        case["scores"] = [case["scores"][0] | {"structure": structure, "volume_elsewhere": elsewhere}]
    return made | {"protocol": MR.name, "fold": {"name": f"{structure} A"}} | changes


def test_beside_a_single_structure_stands_what_is_printed_for_it_and_not_the_mean():
    for structure, printed in (("liver", "0.474"), ("left kidney", "0.543")):
        table = main_table(MR, [organ_record("panet", structure)], f"{structure} A")
        assert cells_of(table, "panet")["published Dice"] == printed
    over_all = organ_record("panet", "liver", cases=record(dice=((0.6, 0.7),))["cases"])
    assert cells_of(main_table(MR, [over_all], "liver A"), "panet")["published Dice"] == "0.487"


def test_the_mean_over_structures_stands_beside_a_single_one_but_where_others_are_new_in_other_folds():
    records = [organ_record("panet", "gallbladder", fold={"name": "liver A"})]
    assert "published Dice" not in cells_of(main_table(MR, records, "liver A"), "panet")
    none_new = replace(MR, folds=tuple(replace(fold, new="") for fold in MR.folds))
    assert cells_of(main_table(none_new, records, "liver A"), "panet")["published Dice"] == "0.487"


def test_beside_a_row_on_whole_volumes_nothing_published_stands():
    whole = organ_record("panet whole volume", "liver", model_of="panet")
    table = main_table(MR, [organ_record("panet", "liver", granted=True), whole], "liver A")
    assert cells_of(table, "panet")["published Dice"] == "0.474"
    assert cells_of(table, "panet whole volume")["published Dice"] == "–"
    assert cells_of(table, "panet whole volume")["volume on slices without (ml)"].startswith("1.2")
