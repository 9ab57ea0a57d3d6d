from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import NAMES, subject
from lowshot.contract import NoOptions
from lowshot.errors import SettingsError
from lowshot.inference.predict import predict
from lowshot.methods.multi_atlas import MultiAtlas
from lowshot.task import LowShotTask
from lowshot.training.run import Run

SHAPE = (28, 32, 16)
QUICK = MultiAtlas(levels=((2, 30), (1, 10)))


def fitted(*seeds, method=QUICK):
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    return method.fit(LowShotTask(NAMES, [subject(seed, shape=SHAPE) for seed in seeds]), run)


def segmented(model, scan):
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    return predict(model, scan, run, NoOptions()).segmentation.labels


def dice(labels, truth):
    each = [2 * ((labels == k) & (truth == k)).sum() / ((labels == k).sum() + (truth == k).sum()) for k in range(1, 4)]
    return float(torch.stack(each).mean())


def test_one_atlas_is_carried_over():
    query = subject(7, shape=SHAPE)
    copied = dice(subject(0, shape=SHAPE).truth.labels, query.truth.labels)
    assert dice(segmented(fitted(0), query.scan), query.truth.labels) > max(0.85, copied + 0.03)


def test_several_atlases_are_at_least_as_good():
    query = subject(7, shape=SHAPE)
    three = dice(segmented(fitted(0, 1, 2), query.scan), query.truth.labels)
    assert three > dice(segmented(fitted(0), query.scan), query.truth.labels) - 0.02


def test_a_majority_counts_all_alike():
    model = fitted(0, 1, method=replace(QUICK, vote="majority"))
    prepared = model.preparation.apply(subject(7, shape=SHAPE).scan)
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    assert all(found.alike is None for found in model.correspondences(prepared, run, NoOptions()))


def test_where_a_scan_lies_and_how_it_is_stored_does_not_matter():
    model, query = fitted(0), subject(7, shape=SHAPE)
    plain = segmented(model, query.scan)
    elsewhere = query.scan.affine.copy()
    elsewhere[:3, 3] += (900.0, -400.0, 250.0)
    far = segmented(model, replace(query.scan, affine=elsewhere))
    assert (far == plain).float().mean() > 0.99
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = SHAPE[0] - 1
    flipped = replace(query.scan, voxels=query.scan.voxels.flip(1), affine=query.scan.affine @ flip)
    assert torch.equal(segmented(model, flipped).flip(0), plain)


def test_a_cut_field_of_view_keeps_what_is_left():
    model, query = fitted(0), subject(7, shape=SHAPE)
    cut = replace(query.scan, voxels=query.scan.voxels[:, :, :, :12])
    assert dice(segmented(model, cut), query.truth.labels[:, :, :12]) > 0.7


def test_six_atlases_are_too_many():
    task = LowShotTask(NAMES, [subject(seed) for seed in range(6)])
    assert QUICK.problems(task) == ["needs one to 5 annotated scans, got 6"]


@pytest.mark.parametrize("changes", [{"levels": ()}, {"levels": ((0, 1),)}, {"smoothness": 0.0}, {"intensity": "odd"}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(SettingsError):
        MultiAtlas(**changes)
