from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lowshot.contract import State
from lowshot.errors import ModelFileError
from lowshot.fewshot import examples
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.calibration import UNCHANGED, Calibration
from lowshot.inference.few_shot_calibration import SLICES, calibrated
from lowshot.inference.few_shot_model import FewShotLearner, Knowledge, restore
from lowshot.inference.predict import predict
from lowshot.training.run import Run

SIZE = (24, 20)
PREPARATION = Preparation(None, None, "none", "none", (*SIZE, None))
NAMES, RENAMED = Names.of({3: "organ"}), Names.of({1: "other", 7: "organ"})
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
TOO_SURE = 3.0
"""By how much the network's logits are too large."""


class Grey(nn.Module):
    """A query's grey values are the logits, whatever the example."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.slices = 0

    def forward(self, support, masks, query):
        self.slices += 0 if query.is_meta else len(query)
        return self.gain * query[:, 0]


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """Scans of noise cannot be laid upon each other."""
    monkeypatch.setattr(examples, "lay", lambda query, example: None)


def scan(seed, names=NAMES, *, slices=6, known=None, annotated=None):
    """Labels come as often as sigmoid(grey / TOO_SURE − 1) says."""
    generator = torch.Generator().manual_seed(seed)
    image = 6 * torch.randn(1, *SIZE, slices, generator=generator)
    inside = torch.rand(*SIZE, slices, generator=generator) < torch.sigmoid(image[0] / TOO_SURE - 1)
    labels = torch.where(inside, names.index("organ"), 0).to(torch.int16)
    truth = Segmentation(labels, names, np.eye(4))
    return LabelledScan(Scan(f"scan {seed}", image, np.eye(4)), truth, known, annotated)


def learner():
    return FewShotLearner(Grey(), Knowledge(("image",), PREPARATION, ("organ",)))


def calibration(*base):
    return calibrated(learner(), base, RUN).knowledge.calibration


def test_how_sure_it_may_be_is_learned_from_scans_that_are_examples_for_each_other():
    found = calibration(scan(0), scan(1, RENAMED), scan(2))
    assert found.temperature == pytest.approx(TOO_SURE, rel=0.2)
    assert found.offsets == pytest.approx((0.0, -1.0), abs=0.2)
    assert found == calibration(scan(0), scan(1, RENAMED), scan(2))


def test_without_two_scans_that_share_a_structure_nothing_changes():
    elsewhere = scan(1, RENAMED, annotated=frozenset({"other"}))  # nobody looked for the organ
    elsewhere.truth.labels.zero_()
    assert calibration() == calibration(scan(0)) == calibration(scan(0), elsewhere) == UNCHANGED


def test_what_is_unknown_tells_nothing():
    wrong = scan(1)
    wrong.truth.labels[:12] = 1
    half = torch.zeros(wrong.truth.labels.shape, dtype=torch.bool)
    half[12:] = True
    found = calibration(scan(0, known=half), replace(wrong, known=half))
    assert found.temperature == pytest.approx(TOO_SURE, rel=0.3)


def test_where_nothing_is_known_nothing_changes():
    nowhere = torch.zeros(*SIZE, 6, dtype=torch.bool)
    made = FewShotLearner(Grey(), Knowledge(("image",), PREPARATION, ("organ",)))
    here = scan(0, known=nowhere)
    assert calibrated(made, [here, here], RUN).knowledge.calibration == UNCHANGED
    absent = scan(1)
    absent.truth.labels.zero_()
    found = calibration(scan(0), absent)
    assert found.temperature > 0


def test_of_a_long_scan_some_slices_are_looked_at():
    made = learner()
    calibrated(made, [scan(0, slices=60), scan(1, slices=60)], RUN)
    assert made.network.slices == 2 * SLICES


def adapted(sure):
    made = learner()
    made.knowledge = replace(made.knowledge, calibration=sure)
    return made.adapt([scan(0)], NAMES, RUN)


@pytest.mark.parametrize(("options", "changes"), [({}, True), ({"pairing": "chunks"}, False)])
def test_the_calibration_changes_what_is_expected_in_whole_volumes_and_no_label(options, changes):
    before, after = (
        predict(adapted(sure), scan(9).scan, RUN, PairingOptions(**options))
        for sure in (UNCHANGED, Calibration(TOO_SURE, (0.0, -1.0)))
    )
    assert torch.equal(before.segmentation.labels, after.segmentation.labels)
    assert (before.quality["organ"] != after.quality["organ"]) == changes


def test_the_expected_dice_is_near_the_true_one():
    made, query = calibrated(learner(), [scan(0), scan(1)], RUN).adapt([scan(2)], NAMES, RUN), scan(9)
    result = predict(made, query.scan, RUN, PairingOptions())
    found, truth = result.segmentation.labels == 1, query.truth.labels == 1
    dice = 2 * int((found & truth).sum()) / int(found.sum() + truth.sum())
    assert result.quality["organ"].expected_dice == pytest.approx(dice, abs=0.03)


def test_it_is_stored_and_models_of_before_have_none():
    sure = Calibration(2.0, (0.0, 0.5))
    state = adapted(sure).state()
    assert restore(lambda channels: Grey(), state).learner.knowledge.calibration == sure
    older = {name: value for name, value in state.header.items() if name != "calibration"}
    assert restore(lambda channels: Grey(), State(older, state.tensors)).learner.knowledge.calibration == UNCHANGED
    three = {**state.header, "calibration": {"temperature": 1.0, "offsets": [0.0, 1.0, 2.0]}}
    with pytest.raises(ModelFileError, match="expected 2 offsets, got 3"):
        restore(lambda channels: Grey(), State(three, state.tensors))
