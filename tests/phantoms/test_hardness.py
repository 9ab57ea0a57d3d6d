"""Studies are hard enough to tell methods apart, and fair: what is learned from one subject carries over to others."""

from itertools import pairwise

import numpy as np
import pytest

from effort import smoothings
from lowshot.phantoms.study import ANATOMIES, DEMO, anatomy

# So coarse that it is quick, so fine that the smallest structure is seen.
COARSE = {
    "abdomen-ct": (48, 48, 36),
    "abdomen-mr": (48, 48, 36),
    "brain-mr": (56, 70, 56),
    "breast-us": (160, 128, 1),
    "cardiac-mr": (96, 96, 10),
}


@pytest.fixture(scope="module", params=sorted(ANATOMIES))
def subjects(request):
    return [anatomy(request.param)(seed, COARSE[request.param]) for seed in range(4)]


def voxels(scan):
    return scan.scan.voxels[0].numpy()


def mean_dice(prediction, scan):
    truth = scan.truth.labels.numpy()
    masks = [(prediction == k, truth == k) for k in range(1, len(scan.truth.names))]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in masks if a.any() or b.any()]))


def test_copied_labels_do_not_fit(subjects):
    scores = [mean_dice(support.truth.labels.numpy(), query) for support, query in pairwise(subjects)]
    assert max(scores) < 0.6
    if len(subjects[0].truth.names) > 2:  # a lesion may lie anywhere, organs have their places
        assert min(scores) > 0.05  # but all are human


def test_the_structure_of_nearest_mean_intensity_is_mostly_wrong(subjects):
    for support, query in pairwise(subjects):
        labels = support.truth.labels.numpy()
        levels = [voxels(support)[labels == k].mean() for k in range(len(support.truth.names))]
        nearest = np.abs(voxels(query)[..., None] - levels).argmin(axis=-1)
        assert mean_dice(nearest, query) < 0.5


def test_the_likeliest_structure_by_intensity_is_no_better(subjects):
    for support, query in pairwise(subjects):
        labels, bins = support.truth.labels.numpy(), np.linspace(voxels(support).min(), voxels(support).max(), 200)
        likelihood = [
            np.histogram(voxels(support)[labels == k], bins, density=True)[0] for k in range(labels.max() + 1)
        ]
        likeliest = np.argmax(likelihood, axis=0)[np.clip(np.digitize(voxels(query), bins) - 1, 0, len(bins) - 2)]
        assert mean_dice(likeliest, query) < 0.5


def test_the_demo_is_not_solved_by_copying_or_by_intensity():
    """That it is learned from one subject, over 0.8, is shown by tests/methods/mre_net/test_one_example.py."""
    support, *queries = DEMO
    labels, names = support.truth.labels.numpy(), support.truth.names
    levels = [voxels(support)[labels == k].mean() for k in range(len(names))]
    nearest = [np.abs(voxels(query)[..., None] - levels).argmin(axis=-1) for query in queries]
    assert np.mean([mean_dice(labels, query) for query in queries]) < 0.6
    assert max(mean_dice(guess, query) for guess, query in zip(nearest, queries, strict=True)) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ANATOMIES))
def test_a_subject_of_128_cubed_takes_a_few_seconds(name):
    # Run-time type checks included: 300 to 1,600 with them, which are 20 s at most on a server's core.
    assert smoothings(lambda: anatomy(name)(1, (128, 128, 128))) < 4000
