"""The main promise, measured: one annotated scan, and the others come out well enough to be called segmentations.

On real scans it is measured in ``test_one_brain.py``: a file of its own, so that both can run at once.
"""

import os
from itertools import islice

import numpy as np
import pytest

import lowshot
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.phantoms.study import DEMO

THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_phantom_is_enough_for_the_others():
    example, *queries = islice(DEMO, 3)
    fitted = lowshot.fit(lowshot.LowShotTask(example.truth.names, [example]), steps=240, threads=THREADS)
    scores = [
        evaluate_case(lowshot.segment(fitted, query.scan).segmentation, query, query.scan.name) for query in queries
    ]
    assert np.mean([case.mean_dice for case in scores]) > 0.8
