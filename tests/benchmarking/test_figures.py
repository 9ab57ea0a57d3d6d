from dataclasses import replace

import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import record
from lowshot.benchmarking.figures import COMMON, _volumes, chart_pictures, comparable_parts, read_curves
from lowshot.benchmarking.results import rows
from lowshot.protocols.protocol import Fold

LOG = "stage,step,seconds,term,value\ntraining,10,1.5,loss,0.9\ntraining,20,3.0,loss,0.5\ntraining,20,3.0,dice,0.4\n"


def on(fold, system="mre-net", **about):
    made = record(system, **about)
    for case in made["cases"]:
        for score in case["scores"]:
            score |= {"volume_prediction": 11.0, "volume_truth": 10.0, "volume_unit": "ml"}
    return {**made, "fold": {"name": fold}}


def folds(*names, **changes):
    return replace(BALLS, folds=tuple(replace(BALLS.folds[0], name=name, **changes) for name in names))


def test_a_benchmark_of_one_fold_has_its_figures(tmp_path):
    log = tmp_path / "cells" / "unet" / "s0" / "seed-0" / "training" / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text(LOG)
    found = {each.name: each for each in chart_pictures(BALLS, [on("s0"), on("s0", "unet")], tmp_path)}
    assert list(found) == [
        *("dice-s0.svg", "dice-over-minutes-s0.svg", "volumes-mre-net.svg", "volumes-unet.svg", "training.svg"),
    ]
    assert all(each.data.startswith(b"<?xml") for each in found.values())
    assert b"left ball" in found["dice-s0.svg"].data


def test_figures_are_the_same_each_time(tmp_path):
    first, second = (list(chart_pictures(BALLS, [on("s0")], tmp_path)) for _ in range(2))
    assert first == second


def test_records_without_volumes_or_logs_have_no_such_figures(tmp_path):
    found = [each.name for each in chart_pictures(BALLS, [record()], tmp_path)]
    assert found == ["dice-s0.svg", "dice-over-minutes-s0.svg"]


def test_what_one_seed_alone_finds_where_there_is_nothing_is_averaged_over_all():
    def made(seed, predicted, true):
        one = on("s0", seed=seed, dice=((0.8, 0.6),))
        for score in one["cases"][0]["scores"]:
            score |= {"volume_prediction": predicted, "volume_truth": true}
        return one

    found = _volumes(rows([made(0, 0.0, 0.0), made(1, 6.0, 0.0), made(2, 0.0, 0.0)]))
    assert set(map(tuple, found.values())) == {((2.0, 0.0),)}
    assert _volumes(rows([made(0, 0.0, 0.0)])) == {}


def test_shots_are_compared_where_folds_differ_in_them(tmp_path):
    one, two = BALLS.folds[0], Fold("two", ("s0", "s3"), ("s1", "s2"))
    drawn = replace(two, name="drawn", drawn=1)
    found = chart_pictures(replace(BALLS, folds=(one, two)), [on("s0"), on("two")], tmp_path)
    assert "dice-over-shots.svg" in {each.name for each in found}
    found = chart_pictures(replace(BALLS, folds=(one, drawn)), [on("s0"), on("drawn")], tmp_path)
    assert "dice-over-shots.svg" not in {each.name for each in found}


def test_new_structures_are_pooled_over_the_folds_that_all_systems_have():
    records = [on("a"), on("b"), on("c"), on("a", "unet"), on("b", "unet")]
    parts = comparable_parts(folds("a", "b", "c", new="left ball"), records)
    assert {title: [r["fold"]["name"] for r in part] for title, part in parts.items()} == {COMMON: ["a", "a", "b", "b"]}
    assert list(comparable_parts(folds("a", "b", "c"), records)) == ["a", "b", "c"]


def test_curves_are_read_by_stage_and_term(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    loss, dice = read_curves(tmp_path / "log.csv")
    assert (loss.term, loss.steps, loss.values) == ("loss", (10, 20), pytest.approx((0.9, 0.5)))
    assert (dice.term, dice.steps) == ("dice", (20,))
    assert read_curves(tmp_path / "nothing.csv") == []


def test_rows_in_granted_slices_and_of_whole_volumes_stand_in_figures_of_their_own(tmp_path):
    systems = {"granted": replace(BALLS.systems["unet"], granted=True), "whole": BALLS.systems["unet"]}
    records = [{**on("s0", "granted"), "granted": True}, on("s0", "whole")]
    found = {each.name: each for each in chart_pictures(replace(BALLS, systems=systems), records, tmp_path)}
    assert list(found)[:4] == [
        *("dice-s0-granted-range.svg", "dice-over-minutes-s0-granted-range.svg"),
        *("dice-s0-whole-volume.svg", "dice-over-minutes-s0-whole-volume.svg"),
    ]
    assert b">whole<" not in found["dice-s0-granted-range.svg"].data


def test_scores_of_which_none_is_defined_have_no_boxes(tmp_path):
    made = on("s0")
    for case in made["cases"]:
        for score in case["scores"]:
            score["dice"] = None
    assert "dice-s0.svg" not in [each.name for each in chart_pictures(BALLS, [made], tmp_path)]


def test_volumes_of_voxels_whose_size_is_pretended_are_in_voxels(tmp_path):
    found = {each.name: each for each in chart_pictures(replace(BALLS, voxels_of_1_mm=True), [on("s0")], tmp_path)}
    assert b"1,000 voxels" in found["volumes-mre-net.svg"].data
    assert b"(ml)" not in found["volumes-mre-net.svg"].data
