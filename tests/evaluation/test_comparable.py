import numpy as np
import torch

from lowshot.evaluation.comparable import comparable_labels, with_blank_scan
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Segmentation

TRUTH_NAMES = Names.of({5: "liver", 9: "spleen"})
OTHER_NAMES = Names.of({1: "spleen", 2: "kidney", 3: "liver"})


def row(values, names):
    return Segmentation(torch.tensor(values, dtype=torch.int16)[:, None, None], names, np.eye(4))


def labelled(values, known=None, annotated=None):
    truth = row(values, TRUTH_NAMES)
    mask = None if known is None else torch.tensor(known)[:, None, None]
    return LabelledScan(with_blank_scan(truth, "a").scan, truth, mask, annotated)


def test_prediction_takes_the_truths_indices():
    predicted, true = comparable_labels(row([0, 1, 2, 3], OTHER_NAMES), labelled([0, 1, 2, 2]), "a")
    assert predicted.ravel().tolist() == [0, 2, 0, 1]
    assert true.ravel().tolist() == [0, 1, 2, 2]


def test_unknown_voxels_and_structures_nobody_looked_for_are_background_in_both():
    truth = labelled([1, 1, 2, 2], known=[True, False, True, True], annotated=frozenset({"liver"}))
    predicted, true = comparable_labels(row([3, 3, 3, 1], OTHER_NAMES), truth, "a")
    assert predicted.ravel().tolist() == [1, 0, 1, 0]
    assert true.ravel().tolist() == [1, 0, 0, 0]


def test_the_truth_itself_is_left_alone():
    truth = labelled([1, 1, 2, 2], known=[True, False, True, True])
    comparable_labels(None, truth, "a")
    assert truth.truth.labels.ravel().tolist() == [1, 1, 2, 2]


def test_a_missing_prediction_is_empty():
    predicted, _ = comparable_labels(None, labelled([1, 1, 2, 2]), "a")
    assert predicted.sum() == 0
