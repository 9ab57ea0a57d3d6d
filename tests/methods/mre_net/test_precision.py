"""bfloat16 and float32 give the same segmentations, within a stated Dice (docs/speed.md)."""

from itertools import islice

import pytest

import lowshot
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.study import Study

STUDY = Study(anatomy="abdomen-ct", subjects=2, shape=(48, 48, 32), variation=0.0, structures=("liver",))


@pytest.fixture(scope="module")
def scans():
    return list(islice(STUDY, 2))


@pytest.fixture(scope="module")
def exact(scans):
    """Trained and segmented in float32."""
    return segmented(trained(scans[0], "float32"), scans[1], "float32")


def trained(example, precision):
    task = lowshot.LowShotTask(example.truth.names, [example])
    return lowshot.fit(task, settings={"patch_voxels": 24**3}, steps=100, precision=precision, seed=4)


def segmented(fitted, query, precision):
    return fitted, lowshot.segment(fitted, query.scan, precision=precision).segmentation


def dice(found, reference):
    return evaluate_case(found, reference, "all structures").mean_dice


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_inference_agrees(scans, exact):
    fitted, found = exact
    _, rounded = segmented(fitted, scans[1], "bfloat16")
    assert dice(rounded, LabelledScan(scans[1].scan, found)) > 0.98


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.bfloat16
def test_training_agrees(scans, exact):
    _, found = exact
    _, rounded = segmented(trained(scans[0], "bfloat16"), scans[1], "bfloat16")
    assert dice(found, scans[1]) > 0.7  # else there is nothing to compare
    assert dice(rounded, scans[1]) == pytest.approx(dice(found, scans[1]), abs=0.05)
