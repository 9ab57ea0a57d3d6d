import errno
import json
import shutil
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from ball_files import AFFINE, NAMES, SHAPE, write_ball_files
from benchmarking.balls import BALLS, HOW, bench
from lowshot.atomic import atomic_path
from lowshot.benchmarking import runner
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.cell import MODEL, slug
from lowshot.benchmarking.results import read_results
from lowshot.benchmarking.runner import cells
from lowshot.benchmarking.tables import main_table
from lowshot.errors import InputError, OutputError
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.scan import Segmentation
from lowshot.progress import Silent
from lowshot.protocols.protocol import Fold, System

RECORDS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    records, failed = bench(data, root)
    assert not failed
    return root, records


def scores(records, system, seed):
    return [
        case["scores"]
        for record in records
        if (record["system"], record["seed"]) == (system, seed)
        for case in record["cases"]
    ]


def test_every_cell_has_a_record_with_all_that_a_reader_may_ask(finished):
    _, records = finished
    assert {(record["system"], record["seed"]) for record in records} == {("mre-net", 0), ("mre-net", 1), ("unet", 0)}
    for record in records:
        assert [case["case"] for case in record["cases"]] == ["s1", "s2"]
        assert len(record["cases"][0]["scores"]) == 3
        assert record["provenance"]["plan"]["stages"]["training"]["steps"] == record["steps"] == 3
        assert set(record["data"]) == {f"s{n} {what}" for n in range(3) for what in ("image", "labels")}
        assert record["training"]["seconds"] > 0
        assert {"machine", "versions", "date"} <= record["provenance"].keys()


def test_seeds_differ(finished):
    _, records = finished
    assert scores(records, "mre-net", 0) != scores(records, "mre-net", 1)


def test_a_record_tells_what_segmented_each_scan(finished):
    _, records = finished
    for record in records:
        assert record["segmented_with"]["one_piece"] is False
        for case in record["cases"]:
            assert case["segmented"]["machine"] == record["provenance"]["machine"]
            assert case["segmented"]["commit"] == record["training"]["commit"]


def test_finished_cells_are_not_computed_again(finished, data):
    root, records = finished
    before = {path: path.stat().st_mtime_ns for path in root.glob("cells/**/*") if path.is_file()}
    again, _ = bench(data, root)
    assert again == records
    assert before == {path: path.stat().st_mtime_ns for path in root.glob("cells/**/*") if path.is_file()}


def test_a_cell_of_other_settings_is_refused_unless_restarted(finished, data, tmp_path):
    root, _ = finished
    records, failed = bench(data, root, how=replace(HOW, steps=4))
    assert len(failed) == RECORDS
    assert "steps was 3, is now 4" in failed[0]
    assert "--restart" in failed[0]
    assert records == []
    one = replace(BALLS, systems={"unet": BALLS.systems["unet"]})
    bench(data, tmp_path, one)
    records, failed = bench(data, tmp_path, one, replace(HOW, steps=4), restart=True)
    assert not failed
    assert records[0]["provenance"]["plan"]["stages"]["training"]["steps"] == 4


def test_another_truth_is_another_cell(tmp_path):
    data = write_ball_files(tmp_path / "data")
    one = replace(BALLS, systems={"unet": BALLS.systems["unet"]})
    bench(data, tmp_path / "bench", one)
    (data / "labels" / "s2.nii.gz").write_bytes((data / "labels" / "s1.nii.gz").read_bytes())
    _, failed = bench(data, tmp_path / "bench", one)
    assert "s2 labels has changed" in failed[0]


def test_a_cell_that_another_process_computes_is_left_to_it(data, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    with FileLock(locks / "unet--s0--seed-0"):
        records, failed = bench(data, tmp_path)
    assert not failed
    assert {record["system"] for record in records} == {"mre-net"}


def test_a_cell_that_another_computes_with_another_budget_is_left_to_it_too(data, tmp_path):
    """Both would be in one folder, and --restart takes away what lies there."""
    locks = tmp_path / "locks"
    locks.mkdir()
    with FileLock(locks / "unet--s0--seed-0"):
        records, failed = bench(
            data, tmp_path, how=replace(HOW, steps=None, minutes=0.01), systems=("unet",), restart=True
        )
    assert (records, failed) == ([], [])


def test_folds_that_differ_in_their_pool_share_what_does_not_look_at_it(data, tmp_path):
    pools = tuple(Fold(f"{n} unlabelled", ("s0",), ("s1",), unlabelled=("s1", "s2")[:n]) for n in (1, 2))
    protocol = replace(BALLS, folds=pools, systems={"unet": BALLS.systems["unet"]}, reference="unet")
    records, failed = bench(data, tmp_path, protocol)
    assert failed == []
    assert len(list(tmp_path.glob("cells/**/model.safetensors"))) == 1
    one, two = records
    assert one["fold"]["name"] != two["fold"]["name"]
    assert one["cases"][0]["scores"] == two["cases"][0]["scores"]


def test_seeds_whose_minutes_become_steps_wait_for_each_other(data, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    with FileLock(locks / "mre-net--s0"):
        records, failed = bench(data, tmp_path, how=replace(HOW, steps=None, minutes=0.05))
    assert not failed
    assert {record["system"] for record in records} == {"unet"}


def test_cells_of_another_budget_are_not_compared(finished, data):
    root, _ = finished
    one = replace(BALLS, systems={"mre-net": BALLS.systems["mre-net"]})
    records, _ = bench(data, root, one, replace(HOW, steps=4))
    assert records == []


def test_minutes_that_have_changed_take_no_steps_from_an_older_plan(data, tmp_path):
    one = replace(BALLS, systems={"mre-net": BALLS.systems["mre-net"]})
    bench(data, tmp_path, one)
    records, failed = bench(data, tmp_path, one, replace(HOW, steps=None, minutes=0.05), restart=True)
    assert not failed
    stages = [record["provenance"]["plan"]["stages"]["training"] for record in records]
    assert len({stage["steps"] for stage in stages}) == 1
    assert all(stage["seconds"] is not None for stage in stages)  # from minutes; a busy machine may take as many steps


def test_other_names_are_another_cell(tmp_path):
    data = write_ball_files(tmp_path / "data")
    one = replace(BALLS, systems={"unet": BALLS.systems["unet"]})
    bench(data, tmp_path / "bench", one)
    (data / "names.txt").write_text((data / "names.txt").read_text().replace("left ball", "leftmost ball"))
    _, failed = bench(data, tmp_path / "bench", one)
    assert "names has changed" in failed[0]
    records, failed = bench(data, tmp_path / "bench", one, restart=True)
    assert not failed
    assert records[0]["cases"][0]["scores"][0]["structure"] == "leftmost ball"


def test_what_nobody_foresaw_ends_one_cell_alone(data, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "compute", broken_at(1, RuntimeError("out of memory")))
    records, failed = bench(data, tmp_path)
    assert failed == ["mre-net, s0, seed 0: RuntimeError: out of memory"]
    assert len(records) == RECORDS - 1


def test_a_full_disk_ends_the_run_and_leaves_the_results_so_far(data, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "compute", broken_at(2, OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        bench(data, tmp_path)
    (record,) = read_results(tmp_path / "results.jsonl")
    assert (record["system"], record["seed"]) == ("mre-net", 0)


def test_nothing_asked_is_nothing_computed(data, tmp_path):
    assert bench(data, tmp_path, replace(BALLS, systems={})) == ([], [])


def broken_at(number, error):
    """``compute``, but its ``number``-th call fails while it writes."""
    calls, compute = [], runner.compute

    def compute_or_break(cell, cases, root, *words, **options):
        calls.append(cell)
        if len(calls) == number:
            with atomic_path(root / "broken"):
                raise error
        return compute(cell, cases, root, *words, **options)

    return compute_or_break


def test_a_system_that_fails_does_not_stop_the_others(data, tmp_path):
    broken = replace(BALLS.systems["unet"], settings={"widths": (1, 2)})
    records, failed = bench(data, tmp_path, replace(BALLS, systems={"broken": broken, **BALLS.systems}))
    assert len(records) == RECORDS
    assert len(failed) == 1
    assert failed[0].startswith("broken, s0, seed 0:")


def test_first_seeds_come_first():
    order = [(cell.name, cell.seed) for cell in cells(BALLS, BALLS.systems, BALLS.folds, None)]
    assert order == [("mre-net", 0), ("unet", 0), ("mre-net", 1)]


def test_a_row_that_is_meant_for_some_folds_has_cells_on_these_unless_one_is_named():
    folds = (*BALLS.folds, replace(BALLS.folds[0], name="s1"))
    protocol = replace(BALLS, folds=folds, systems={"unet": replace(BALLS.systems["unet"], folds=("s1",))})
    assert [cell.fold.name for cell in cells(protocol, protocol.systems, folds, None)] == ["s1"]
    assert [cell.fold.name for cell in cells(protocol, protocol.systems, folds[:1], None)] == ["s0"]


def test_the_case_that_is_missing_is_named(data, tmp_path):
    protocol = replace(BALLS, folds=(Fold("s0", ("s0",), ("s1", "s9")),))
    with pytest.raises(InputError, match=r"images.*needs s9"):
        cases_of(protocol, data, tmp_path, Silent())
    with pytest.raises(InputError, match="--data"):
        cases_of(BALLS, None, tmp_path, Silent())


def test_minutes_become_steps_once_for_all_seeds(data, tmp_path):
    one = replace(BALLS, systems={"mre-net": BALLS.systems["mre-net"]})
    records, failed = bench(data, tmp_path, one, replace(HOW, steps=None, minutes=0.05))
    assert not failed
    steps = [record["provenance"]["plan"]["stages"]["training"]["steps"] for record in records]
    assert len(steps) == 2
    assert len(set(steps)) == 1


def test_a_row_as_long_as_another_takes_its_steps(data, tmp_path):
    longer = replace(BALLS.systems["mre-net"], seeds=(0,))
    pace = replace(longer, settings={**longer.settings, "metric_learning": False}, as_long_as="mre-net")
    two = replace(BALLS, systems={"mre-net": longer, "without": pace})
    how = replace(HOW, steps=None, minutes=0.05)
    _, (failure,) = bench(data, tmp_path, two, how, systems=("without",))
    assert "trains as long as mre-net, of which no model is there yet" in failure
    bench(data, tmp_path, two, how, systems=("mre-net",))
    plan = cell(tmp_path, "mre-net", "s0") / "training" / "plan.json"
    told = json.loads(plan.read_text())
    told["stages"]["training"]["steps"] = 3  # which no measurement would find
    plan.write_text(json.dumps(told))
    records, failed = bench(data, tmp_path, two, how)
    assert not failed
    steps = {each["system"]: each["provenance"]["plan"]["stages"]["training"]["steps"] for each in records}
    assert steps["without"] == 3


CHUNKS = {"pairing": "chunks"}
LEARNED = {"size": (32, 32), "width": 0.0625}
NEW = replace(
    BALLS,
    folds=(Fold("left ball A", ("s0",), ("s1",), base=("s2", "s3"), new="left ball"),),
    systems={
        "copied": System(method="copied-mask", settings={"size": (24, 24)}, options=CHUNKS, granted=True),
        "copied whole": System(method="copied-mask", settings={"size": (24, 24)}, model_of="copied"),
        "panet": System(method="panet", settings=LEARNED, options=CHUNKS, granted=True),
        "panet whole": System(method="panet", settings=LEARNED, model_of="panet"),
    },
    reference="copied",
    measures=("dice", "hd95_pooled_voxels", "volume_elsewhere"),
)


@pytest.fixture(scope="module")
def new_structure(tmp_path_factory):
    """Data, and a folder of finished cells that segment a structure that is new."""
    data, root = write_ball_files(tmp_path_factory.mktemp("balls"), count=4), tmp_path_factory.mktemp("bench")
    records, failed = bench(data, root, NEW)
    assert not failed
    return data, root, records


def cell(root, system, fold="left-ball-a"):
    return root / "cells" / slug(system) / fold / "seed-0"


def found(root, system):
    return read_labels(cell(root, system) / "predictions" / "s1.nii.gz", NAMES)[0].labels


def test_more_may_be_learned_than_is_scored(data, tmp_path):
    (record,), failed = bench(data, tmp_path, replace(BALLS, scored=("left ball",)), systems=("unet",))
    assert not failed
    assert {score["structure"] for case in record["cases"] for score in case["scores"]} == {"left ball"}
    assert record["scored"] == ["left ball"]


def test_which_slices_are_granted_is_part_of_a_cell(new_structure, tmp_path):
    data, _, _ = new_structure
    one = replace(NEW, granted_above=21)
    records, failed = bench(data, tmp_path, one, systems=("copied", "copied whole"))
    assert not failed
    assert [record.get("granted_above") for record in records] == [21, None]
    truth = read_labels(data / "labels" / "s1.nii.gz", NAMES)[0].labels == NAMES.index("left ball")
    enough = truth.flatten(0, 1).sum(dim=0) > 21
    assert not enough.equal(truth.flatten(0, 1).any(dim=0))  # or this would show nothing
    assert not found(tmp_path, "copied")[..., ~enough].any()


def test_rows_with_and_without_a_granted_range_share_one_model(new_structure):
    _, root, records = new_structure
    by_name = {record["system"]: record for record in records}
    for name in ("copied", "panet"):
        granted, whole = by_name[name], by_name[f"{name} whole"]
        assert (granted["granted"], granted["options"]) == (True, CHUNKS)
        assert (whole["model_of"], "granted" in whole, "options" in whole) == (name, False, False)
        assert granted["training"] == whole["training"]
        assert (cell(root, name) / MODEL).exists()
        assert not (cell(root, f"{name} whole") / MODEL).exists()


def test_the_new_structure_alone_is_found_and_scored(new_structure):
    _, root, records = new_structure
    for record in records:
        assert [score["structure"] for case in record["cases"] for score in case["scores"]] == ["left ball"]
        assert set(found(root, record["system"]).flatten().tolist()) <= {0, NAMES.index("left ball")}


def test_a_variant_of_hd95_is_computed_where_it_is_asked_for(new_structure):
    _, _, records = new_structure
    scores = [score for record in records for case in record["cases"] for score in case["scores"]]
    assert all(score["hd95_pooled_voxels"] is not None and "hd95_in_plane" not in score for score in scores)
    headings = [column.heading for column in main_table(NEW, records, NEW.folds[0].name).columns]
    assert "HD95 pooled (voxels)" in headings
    assert "HD95 (mm)" not in headings


def test_in_a_granted_range_nothing_is_found_beyond_it(new_structure):
    data, root, records = new_structure
    truth = read_labels(data / "labels" / "s1.nii.gz", NAMES)[0].labels == NAMES.index("left ball")
    slices = truth.flatten(0, 1).any(dim=0)
    assert not found(root, "copied")[..., ~slices].any()
    assert found(root, "copied")[..., slices].flatten(0, 1).any(dim=0).all()
    assert not found(root, "panet")[..., ~slices].any()
    elsewhere = {record["system"]: record["cases"][0]["scores"][0]["volume_elsewhere"] for record in records}
    assert elsewhere["copied"] == elsewhere["panet"] == 0
    beyond = int((found(root, "copied whole")[..., ~slices] > 0).sum())
    assert elsewhere["copied whole"] == pytest.approx(beyond * 1.5 / 1000, abs=1e-6)


def test_the_query_s_truth_makes_no_difference_where_nothing_is_granted(new_structure, tmp_path):
    """Rubbish in its place, on the same grid, changes granted ranges and scores, and nothing else."""
    data, root, _ = new_structure
    poisoned = tmp_path / "data"
    shutil.copytree(data, poisoned)
    rubbish = torch.randint(0, 4, SHAPE, generator=torch.Generator().manual_seed(0)).to(torch.int16)
    write_segmentation(Segmentation(rubbish, NAMES, AFFINE), poisoned / "labels" / "s1.nii.gz")
    _, failed = bench(poisoned, tmp_path / "bench", NEW)
    assert not failed
    for name in ("copied", "panet"):
        assert found(tmp_path / "bench", f"{name} whole").equal(found(root, f"{name} whole"))
    assert found(root, "copied whole").any()
    assert not found(tmp_path / "bench", "copied").equal(found(root, "copied"))


def test_both_kinds_of_rows_stand_in_the_table(new_structure):
    table = main_table(NEW, new_structure[2], "left ball A")
    assert [row[0] for row in table.text] == list(NEW.systems)
    headings = [column.heading for column in table.columns]
    assert [row[headings.index("volume on slices without (ml)")] for row in table.text][::2] == ["0.0", "0.0"]
