import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import NAMES, subject
from listening import Listening
from lowshot.errors import InputError, SettingsError
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.predict import predict
from lowshot.methods.multi_atlas import MultiAtlas
from lowshot.options import SegmentOptions
from lowshot.phantoms import brain_mr
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

SHAPE = (28, 32, 16)
QUICK = MultiAtlas(levels=((2, 30), (1, 10)))


def fitted(*seeds, method=QUICK):
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    return method.fit(LowShotTask(NAMES, [subject(seed, shape=SHAPE) for seed in seeds]), run)


def segmented(model, scan):
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    return predict(model, scan, run, SegmentOptions()).segmentation.labels


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
    assert all(found.alike is None for found in model.correspondences(prepared, run, SegmentOptions()))


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


def test_a_scan_of_another_size_is_told_though_it_can_be_laid():
    model, query = fitted(0), subject(7, shape=SHAPE).scan
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    for factor, told in ((1.0, []), (2.5, ["large"]), (0.4, ["small"])):
        scaled = replace(query, affine=np.diag([factor, factor, factor, 1.0]) @ query.affine)
        notes = " ".join(predict(model, scaled, run, SegmentOptions()).notes)
        assert re.findall(r"it is \d+ times as (large|small), in volume, as the annotated scan", notes) == told


def test_six_atlases_are_too_many():
    task = LowShotTask(NAMES, [subject(seed) for seed in range(6)])
    assert QUICK.problems(task) == ["needs one to 5 annotated scans, got 6"]


@pytest.mark.parametrize(
    "changes",
    [{"levels": ()}, {"levels": ((0, 1),)}, {"smoothness": 0.0}, {"intensity": "odd"}, {"intensity": "zscore"}],
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(SettingsError):
        MultiAtlas(**changes)


# Synthetic heads


def head(seed, shape=(48, 60, 48), spacing=None):
    return brain_mr.subject(seed, shape, spacing, variation=0.5)


@pytest.fixture(scope="module")
def heads():
    """Three to learn from and one to segment."""
    return [head(seed) for seed in (1, 2, 3, 4)]


def made_of(atlases, **settings):
    method = MultiAtlas(**settings)
    task = LowShotTask(atlases[0].truth.names, atlases)
    assert method.problems(task) == []
    return method.fit(task, Run(device="cpu", precision="float32", memory_format="contiguous", threads=1))


def scores(labels, truth, structures=None):
    """Dice of each structure, or of those that are asked for."""
    found = {}
    for k, name in enumerate(truth.names.foreground, start=1):
        one, other = labels == k, truth.labels == k
        if structures is None or name in structures:
            found[name] = float(2 * (one & other).sum() / (one.sum() + other.sum()).clamp(min=1))
    return found


def mean(dice):
    return sum(dice.values()) / len(dice)


def part(labelled, *slices):
    """A smaller field of view."""
    affine = labelled.scan.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [each.start or 0 for each in slices]
    scan = replace(labelled.scan, voxels=labelled.scan.voxels[(slice(None), *slices)], affine=affine)
    return LabelledScan(scan, replace(labelled.truth, labels=labelled.truth.labels[slices], affine=affine))


def test_one_head_is_laid_upon_another(heads):
    atlas, query = heads[0], heads[3]
    copied = mean(scores(atlas.truth.labels, query.truth))
    assert mean(scores(segmented(made_of([atlas]), query.scan), query.truth)) > max(0.7, copied + 0.2)


@pytest.mark.slow
def test_three_heads_know_more_than_each_of_them(heads):
    query, model = heads[3], made_of(heads[:3])
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)
    found = model.correspondences(model.preparation.apply(query.scan), run, SegmentOptions())

    def dice_by(atlases, correspondences):
        voting = replace(model, atlases=tuple(atlases))
        voting.correspondences = lambda *_: correspondences
        return mean(scores(segmented(voting, query.scan), query.truth))

    alone = [dice_by([atlas], [each]) for atlas, each in zip(model.atlases, found, strict=True)]
    majority, local = (
        dice_by(model.atlases, votes) for votes in ([replace(each, alike=None) for each in found], found)
    )
    assert min(majority, local) > max(alone)


def test_a_head_in_another_box_with_other_voxels(heads):
    query = head(4, (60, 50, 34), (3.2, 5.0, 5.5))
    assert mean(scores(segmented(made_of(heads[:1]), query.scan), query.truth)) > 0.65


@pytest.mark.parametrize(
    "slices",
    [
        (slice(None), slice(None), slice(0, 32)),
        (slice(None), slice(20, None), slice(None)),
        (slice(24, None), slice(None), slice(None)),
    ],
    ids=["without its top", "without its front", "one half"],
)
def test_what_is_left_of_a_head_is_segmented(heads, slices):
    whole, query = heads[3], part(heads[3], *slices)
    left = {
        name
        for k, name in enumerate(query.truth.names.foreground, start=1)
        if (query.truth.labels == k).sum() > 0.6 * (whole.truth.labels == k).sum()
    }
    assert len(left) >= 8
    assert mean(scores(segmented(made_of(heads[:1]), query.scan), query.truth, left)) > 0.65


def test_an_atlas_that_lacks_one_hemisphere_still_knows_the_other(heads):
    atlas, query = heads[0], heads[3]
    voxels, labels = atlas.scan.voxels.clone(), atlas.truth.labels.clone()
    voxels[:, 24:], labels[24:] = voxels.min(), 0
    half = LabelledScan(replace(atlas.scan, voxels=voxels), replace(atlas.truth, labels=labels))
    side = "left" if atlas.truth.names.index("left putamen") in labels.unique() else "right"
    known = {name for name in atlas.truth.names.foreground if name.startswith(side)}
    assert len(known) == 8
    assert mean(scores(segmented(made_of([half]), query.scan), query.truth, known)) > 0.6


def test_slices_are_laid_upon_slices_and_not_upon_heads(heads):
    atlas, query = (part(each, slice(None), slice(None), slice(24, 25)) for each in (heads[0], heads[3]))
    model = made_of([atlas])
    common = {
        name
        for k, name in enumerate(atlas.truth.names.foreground, start=1)
        if min((each.truth.labels == k).sum() for each in (atlas, query)) > 15
    }
    copied, found = (
        mean(scores(each, query.truth, common)) for each in (atlas.truth.labels, segmented(model, query.scan))
    )
    assert found > copied + 0.1
    with pytest.raises(InputError, match=r"is a single slice and .* a volume"):
        segmented(model, heads[3].scan)


def test_factors_that_do_not_divide_each_other_have_a_common_grid():
    model = fitted(0, method=MultiAtlas(levels=((3, 2), (2, 2))))
    assert all(size % 6 == 0 for size in model.settings.grid(model.atlases[0].picture).shape)
    segmented(model, subject(7, shape=SHAPE).scan)
    with pytest.raises(SettingsError, match="levels: expected factors with a common multiple up to 64"):
        MultiAtlas(levels=((9, 1), (8, 1)))


def test_steps_that_make_no_difference_are_told():
    heard = Listening()
    run = Run(device="cpu", precision="float32", memory_format="contiguous", budget=Budget(steps=3), progress=heard)
    QUICK.fit(LowShotTask(NAMES, [subject(0, shape=SHAPE)]), run)
    assert heard.warnings == ["nothing is trained here: steps and minutes make no difference"]
