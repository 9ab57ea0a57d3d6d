import json
from dataclasses import replace

import pytest

from benchmarking.test_tables import record
from lowshot.benchmarking.document import command, origin, results_page, what_differs
from lowshot.catalogue import settings
from lowshot.errors import SettingsError
from lowshot.protocols.mre_net import ONE_SHOT
from lowshot.protocols.protocol import Fold
from lowshot.protocols.registry import PROTOCOLS

(FOLD,) = [{"name": fold.name, "support": fold.support, "queries": fold.queries} for fold in ONE_SHOT.folds]


def cell(**changes):
    machine = {"processor": "Some CPU", "cores": 2, "device": "cpu"}
    made = record(**changes)
    made |= {"protocol": "brain-one-shot", "preset": "compact", "settings": settings("mre-net"), "fold": FOLD}
    made |= {"steps": 60, "minutes": None}
    made["training"]["commit"] = "abc"
    made["provenance"] |= {"machine": machine, "versions": {"torch": "2.13.0"}, "date": "2026-11-21T01:02:03+00:00"}
    return made


def test_the_page_is_a_function_of_the_files(tmp_path):
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(cell()) + "\n")
    page = results_page(tmp_path)
    assert page == results_page(tmp_path)
    assert "## brain-one-shot" in page
    assert "| mre-net | 1 | 60 | 2.0 | 0.550 |" in page
    assert "lowshot bench brain-one-shot --data DATA --steps 60 --threads 2 -o FOLDER" in page
    assert "- budget: 2 minutes of training on this machine" in page
    assert "Computed 2026-11-21 on Some CPU, 2 cores, cpu, PyTorch 2.13.0; commits abc." in page


def test_cells_that_the_protocol_would_no_longer_compute_are_history(tmp_path):
    other_settings = cell() | {"settings": settings("mre-net", changes={"modes": 2})}
    other_scans = cell() | {"fold": {**FOLD, "queries": ["1001"]}}
    gone = cell() | {"system": "a row that is no more"}
    for history in (other_settings, other_scans, gone, cell() | {"protocol": "brain-shots"}):
        (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(history) + "\n")
        assert "##" not in results_page(tmp_path)


def test_cells_that_were_segmented_with_other_options_are_history(tmp_path):
    for options, shown in (({"one_piece": False}, True), ({"one_piece": True}, False)):
        (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(cell() | {"segmented_with": options}) + "\n")
        assert ("## brain-one-shot" in results_page(tmp_path)) is shown


def test_who_segmented_is_told_beside_who_trained(tmp_path):
    made = cell()
    made["cases"][0]["segmented"] = {
        "commit": "def",
        "threads": 1,
        "machine": {**made["provenance"]["machine"], "processor": "Another CPU"},
    }
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(made) + "\n")
    page = results_page(tmp_path)
    assert "commits abc, def." in page
    assert "on Another CPU, 2 cores, cpu, PyTorch 2.13.0; Some CPU, 2 cores, cpu, PyTorch 2.13.0;" in page


def test_code_that_no_commit_has_is_told():
    clean, changed = cell(), cell(system="unet")
    changed["training"]["commit"] = "97661e155202-dirty"
    assert origin([clean, clean]).endswith("commits abc.")
    assert origin([clean, changed]).endswith(
        "commits 97661e155202-dirty, abc. Where a commit ends in -dirty, the code had changes that are in no commit: "
        "1 of 2 cells (unet)."
    )
    clean["cases"][0]["segmented"] = {"commit": "def-dirty", "machine": clean["provenance"]["machine"]}
    assert "1 of 1 cells (mre-net)" in origin([clean])


def test_the_command_tells_the_preset_that_was_asked_for():
    assert command(ONE_SHOT, [cell()]) == "lowshot bench brain-one-shot --data DATA --steps 60 --threads 2 -o FOLDER"
    paper = cell() | {"preset": "paper"}
    assert "--data DATA --preset paper --steps 60" in command(ONE_SHOT, [paper])
    own = cell(system="ants SyN") | {"preset": "paper"}
    (one, btcv) = (PROTOCOLS[name] for name in ("mrbrains-one-shot", "btcv-one-shot"))
    assert "--preset compact --steps" in command(replace(one, study=None), [own, cell()])
    assert "--preset" not in command(btcv, [cell() | {"preset": "paper-btcv"}])
    assert "--preset compact " in command(btcv, [cell() | {"preset": "compact-btcv"}])


def test_cells_of_other_budgets_stand_in_tables_of_their_own(tmp_path):
    longer = cell(seed=1) | {"steps": 500}
    (tmp_path / "brain-one-shot.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (longer, cell())))
    page = results_page(tmp_path)
    assert page.count("| mre-net | 1 | 60 | 2.0 | 0.550 |") == 2  # the plan of both says 60
    assert "lowshot bench brain-one-shot --data DATA --threads 2 -o FOLDER" in page
    assert "lowshot bench brain-one-shot --data DATA --steps 60 --threads 2 -o FOLDER" in page
    assert f"- [brain-one-shot](#brain-one-shot): {ONE_SHOT.summary}" in page
    assert f"- [brain-one-shot](#brain-one-shot-1) --steps 60: {ONE_SHOT.summary}" in page


def test_cells_of_another_preset_are_not_on_the_page(tmp_path):
    paper = cell() | {"preset": "paper", "settings": settings("mre-net", "paper")}
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(paper) + "\n")
    assert "##" not in results_page(tmp_path)


def test_defaults_of_the_method_may_be_left_out_of_a_record(tmp_path):
    spelt_out = cell() | {"settings": settings("mre-net") | {"modes": 3}}
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(spelt_out) + "\n")
    assert "## brain-one-shot" in results_page(tmp_path)


def test_a_file_of_no_protocol_is_refused(tmp_path):
    (tmp_path / "brains.jsonl").write_text("")
    with pytest.raises(SettingsError, match="brains"):
        results_page(tmp_path)


def test_without_files_there_is_only_the_head(tmp_path):
    assert "##" not in results_page(tmp_path)


def test_cells_that_are_not_finished_are_told(tmp_path):
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(cell()) + "\n")
    cells = sum(len(system.seeds) for system in ONE_SHOT.systems.values())
    page = results_page(tmp_path)
    assert f"- missing: {cells - 1} of the protocol's {cells} cells are not finished; no cell of unet" in page


def test_cells_on_folds_that_a_row_is_not_meant_for_are_not_missing():
    row = replace(ONE_SHOT.systems["unet"], folds=("elsewhere",))
    several = len(row.seeds)
    for system, missing in ((row, several), (replace(row, folds=()), 2 * several)):
        one = replace(ONE_SHOT, systems={"unet": system}, folds=(*ONE_SHOT.folds, Fold("elsewhere", ("a",), ("b",))))
        assert f"missing: {missing} of the protocol's {missing} cells" in " ".join(what_differs(one, [cell()]))


def test_what_is_said_of_quoted_figures_stands_beside_them():
    many = "U-Net from many scans (quoted): quoted from the U-Net authors; other test set and testing scheme"
    assert many in what_differs(ONE_SHOT, [cell()])


def test_differences_have_a_table_where_there_is_something_to_compare(tmp_path):
    row = ONE_SHOT.systems["unet"]
    chosen = row.preset or "compact"
    made_by = {"method": row.method, "preset": chosen, "settings": settings(row.method, chosen, row.settings)}
    unet = cell(system="unet") | made_by
    (tmp_path / "brain-one-shot.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (cell(), unet)))
    assert "differences from mre-net over common folds" in results_page(tmp_path)
    (tmp_path / "brain-one-shot.jsonl").write_text(json.dumps(cell()) + "\n")
    assert "differences from mre-net over common folds" not in results_page(tmp_path)
