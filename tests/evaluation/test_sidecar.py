import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.contract import Quality, Result
from lowshot.evaluation.sidecar import Sidecar, read_sidecar, write_sidecar
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

NAMES = Names.of({5: "liver", 9: "spleen"})


@pytest.fixture
def result():
    labels = torch.zeros(10, 10, 10, dtype=torch.int16)
    labels[:5] = 1
    segmentation = Segmentation(labels, NAMES, np.diag([2.0, 1.0, 1.0, 1.0]))
    return Result(segmentation, {"liver": Quality(0.91), "spleen": None}, ("no spleen here",))


def test_round_trip(tmp_path, result):
    write_sidecar(tmp_path / "a.nii.gz", result, {"method": "mre-net", "support": ["1000"]}, sha256="abc")
    assert read_sidecar(tmp_path / "a.nii.gz") == Sidecar(
        {"liver": 0.91, "spleen": None},
        ("no spleen here",),
        {"method": "mre-net", "support": ["1000"]},
        {"liver": 5, "spleen": 9},
        "a.nii.gz",
        "abc",
    )


def test_an_older_file_tells_no_values_and_is_none_the_worse(tmp_path):
    (tmp_path / "a.json").write_text('{"structures": {"liver": {"expected_dice": 0.5}}}')
    assert read_sidecar(tmp_path / "a.nii.gz") == Sidecar({"liver": 0.5})


def test_what_stands_in_the_file(tmp_path, result):
    write_sidecar(tmp_path / "a.nii.gz", result, {})
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["case"] == "a"
    assert content["structures"] == {
        "liver": {"value": 5, "expected_dice": 0.91, "volume_ml": 1.0, "voxels": 500},
        "spleen": {"value": 9, "expected_dice": None, "volume_ml": 0.0, "voxels": 0},
    }


def test_folds_are_told_where_something_was_deformed(tmp_path, result):
    write_sidecar(tmp_path / "a.nii.gz", result, {})
    assert "folded" not in json.loads((tmp_path / "a.json").read_text())
    write_sidecar(tmp_path / "a.nii.gz", replace(result, folded=0.25), {})
    assert json.loads((tmp_path / "a.json").read_text())["folded"] == 0.25


def test_no_millilitres_without_spacing(tmp_path, result):
    write_sidecar(tmp_path / "a.png", result, {}, spacing_known=False)
    assert json.loads((tmp_path / "a.json").read_text())["structures"]["liver"]["volume_ml"] is None


def test_no_sidecar_is_normal(tmp_path):
    assert read_sidecar(tmp_path / "a.nii.gz") == Sidecar()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "\0\xff", '{"structures": 4}'),
        '{"structures": {"liver": {"expected_dice": "high"}}}',
        '{"structures": {"liver": {"value": "six", "expected_dice": 0.5}}}',
    ],
)
def test_a_damaged_sidecar_is_a_note(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    sidecar = read_sidecar(tmp_path / "a.nii.gz")
    assert sidecar.expected_dice == {}
    assert "a.json" in sidecar.notes[0]


@pytest.mark.parametrize(("model", "support"), [({"support": ["1000"]}, ("1000",)), ({"support": None}, ()), ({}, ())])
def test_examples_of_the_model(model, support):
    assert Sidecar(model=model).support == support
