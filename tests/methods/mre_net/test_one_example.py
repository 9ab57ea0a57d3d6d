"""The main promise, measured: one annotated scan, and the others come out well enough to be called segmentations."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import lowshot
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.phantoms.study import DEMO


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_phantom_is_enough_for_the_others():
    example, *queries = islice(DEMO, 3)
    fitted = lowshot.fit(lowshot.LowShotTask(example.truth.names, [example]), steps=240, threads=os.cpu_count())
    scores = [
        evaluate_case(lowshot.segment(fitted, query.scan).segmentation, query, query.scan.name) for query in queries
    ]
    assert np.mean([case.mean_dice for case in scores]) > 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("LOWSHOT_REAL_DATA" not in os.environ, reason="needs LOWSHOT_REAL_DATA")
def test_one_brain_is_enough_for_another():
    brain = Path(os.environ["LOWSHOT_REAL_DATA"]) / "brain"
    names = lowshot.read_names(brain / "tissues.txt")
    example, query = (
        lowshot.read_labelled(brain / f"images/{case}.nii.gz", brain / f"tissues/{case}.nii.gz", names=names)
        for case in (1000, 1001)
    )
    fitted = lowshot.fit(lowshot.LowShotTask(names, [example]), steps=240, threads=os.cpu_count())
    found = evaluate_case(lowshot.segment(fitted, query.scan).segmentation, query, "1001")
    # A few minutes of training; twenty reach more. About 1,000 voxels of cerebrospinal fluid are too few to score.
    six = [score.dice for score in found.scores if score.structure != "cerebrospinal fluid"]
    assert len(six) == 6
    assert np.mean(six) > 0.75
