"""bfloat16 and float32 give the same segmentations, within a stated Dice (docs/speed.md)."""

from itertools import islice

import pytest

import lowshot
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.study import Study

STUDY = Study(anatomy="abdomen-ct", subjects=2, shape=(48, 48, 32), variation=0.0, structures=("liver",))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_and_inference_in_bfloat16_agree_with_float32():
    example, query = islice(STUDY, 2)
    task = lowshot.LowShotTask(example.truth.names, [example])
    dice = {}
    for precision in ("float32", "bfloat16"):
        fitted = lowshot.fit(task, settings={"patch_voxels": 24**3}, steps=100, precision=precision, seed=4)
        found = lowshot.segment(fitted, query.scan, precision=precision).segmentation
        dice[precision] = evaluate_case(found, query, precision).mean_dice
    assert min(dice.values()) > 0.7  # else there is nothing to compare
    assert dice["bfloat16"] == pytest.approx(dice["float32"], abs=0.05)

    exact = lowshot.segment(fitted, query.scan, precision="float32").segmentation
    assert evaluate_case(found, LabelledScan(query.scan, exact), "same weights").mean_dice > 0.98
