from dataclasses import replace

import numpy as np
import pytest
import torch

from listening import Listening
from lowshot.errors import ChannelMismatch, EmptySupport
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.progress import Silent
from lowshot.task import LowShotTask
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.slices import (
    Slices,
    annotated_and_pool,
    annotated_slices,
    has_pool,
    moved,
    placed,
    places,
    pool_of,
    problems_of_slices,
    sample_slices,
    together,
    toned,
)
from lowshot.transforms.spatial import SpatialRanges

NAMES = Names.of({1: "left", 2: "right"})
AS_STORED = Preparation(None, None, "none", "none", (12, 10, None))


def volume(slices=5, known=None, annotated=None):
    """Labels are what the image shows."""
    labels = torch.zeros(12, 10, slices, dtype=torch.int16)
    labels[2:6, 3:8], labels[6:9, 3:8] = 1, 2
    scan = Scan("case", labels[None].float(), np.eye(4))
    return LabelledScan(scan, Segmentation(labels, NAMES, np.eye(4)), known, annotated)


def only(slice_number, labelled):
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[..., slice_number] = True
    return replace(labelled, known=known)


def generator():
    return torch.Generator().manual_seed(0)


def test_of_one_annotated_slice_the_others_join_the_pool():
    labelled = only(3, volume())
    labelled.scan.voxels[..., 3] += 10
    slices, others = annotated_slices(labelled, AS_STORED)
    assert slices.image.shape == (1, 1, 12, 10)
    assert others.shape == (4, 1, 12, 10)
    assert slices.known.all()
    assert slices.image[0, 0].equal(labelled.scan.voxels[0, ..., 3])
    assert slices.labels[0].equal(labelled.truth.labels[..., 3])
    assert others.max() < 10


def test_of_a_volume_annotated_everywhere_nothing_joins_the_pool():
    slices, others = annotated_slices(volume(), AS_STORED)
    assert len(slices.image) == 5
    assert len(others) == 0


def test_a_structure_nobody_looked_for_may_hide_in_the_background():
    slices, _ = annotated_slices(volume(annotated=frozenset({"left"})), AS_STORED)
    assert slices.known.equal(slices.labels > 0)


def test_a_scan_of_which_nothing_is_known_is_refused():
    labelled = volume()
    with pytest.raises(EmptySupport, match="nothing of it is annotated"):
        annotated_slices(replace(labelled, known=torch.zeros_like(labelled.truth.labels, dtype=torch.bool)), AS_STORED)


def test_the_pool_keeps_scans_apart_and_slices_in_order():
    scans = [volume(n).scan for n in (3, 1)]
    scans[0].voxels[:] = torch.arange(3.0)
    stacks = pool_of(scans, AS_STORED, ("image",), (), Silent())
    assert [len(stack) for stack in stacks] == [3, 1]
    assert [float(each.mean()) for each in stacks[0]] == [0.0, 1.0, 2.0]
    with pytest.raises(ChannelMismatch, match="T1"):
        pool_of([replace(scans[0], channels=("T1",))], AS_STORED, ("image",), (), Silent())


def test_a_scan_of_the_pool_that_is_cut_in_another_plane_is_told():
    heard, axial = Listening(), volume()
    coronal = replace(axial.scan, name="coronal", affine=axial.scan.affine[:, [0, 2, 1, 3]])
    pool_of([axial.scan, coronal], AS_STORED, ("image",), [axial], heard)
    assert len(heard.warnings) == 1
    assert heard.warnings[0].startswith("coronal: its slices lie in another plane than those of the annotated")


def found(task, preparation=AS_STORED, **changes):
    how = {"needs_pool": False, "allow_missing": False, "progress": Silent()}
    return annotated_and_pool(task, preparation, **how | changes)


def ignored_in_every_slice():
    labelled = volume()
    known = torch.ones_like(labelled.truth.labels, dtype=torch.bool)
    known[0] = False
    return replace(labelled, known=known)


@pytest.mark.parametrize(
    ("labelled", "pool"),
    [
        (volume(), False),
        (only(3, volume()), True),
        (only(0, volume(1)), False),
        (ignored_in_every_slice(), False),
        (volume(annotated=frozenset({"left"})), False),
    ],
    ids=["annotated throughout", "one slice", "a picture", "an ignore value in every slice", "one structure"],
)
def test_a_pool_is_slices_of_which_nothing_is_known(labelled, pool):
    task = LowShotTask(NAMES, [labelled])
    assert has_pool(task) == pool
    assert has_pool(replace(task, unlabelled=[volume(1).scan]))
    slices, stacks = found(task, needs_pool=pool)
    assert len(slices.image) + sum(map(len, stacks)) == labelled.scan.voxels.shape[3]
    assert bool(stacks) == pool
    if not pool:
        with pytest.raises(EmptySupport, match="case: no slice without labels is left"):
            found(task, needs_pool=True)


def test_one_stack_for_each_scan_with_slices_without_labels():
    task = LowShotTask(NAMES, [volume(2), only(1, volume(4))], unlabelled=[volume(3).scan])
    slices, stacks = found(task, needs_pool=True)
    assert (len(slices.image), [len(stack) for stack in stacks]) == (3, [3, 3])


def test_structures_that_the_preparation_loses_are_told():
    labelled = volume()
    labelled.truth.labels.zero_()[5, 5] = 1
    with pytest.raises(EmptySupport, match=r"case: no annotated structure is left .*2×2 pixels"):
        found(LowShotTask(NAMES, [labelled]), Preparation(resize=(2, 2, None)))


def test_a_structure_that_is_lost_among_others_is_told_or_refused():
    heard, labelled = Listening(), volume()
    labelled.truth.labels.zero_()[:7, :7] = 1
    labelled.truth.labels[11, 9] = 2
    task, coarse = LowShotTask(NAMES, [labelled]), Preparation(resize=(2, 2, None))
    with pytest.raises(EmptySupport, match=r"case: right is lost where slices become 2×2 pixels.*--allow-missing"):
        found(task, coarse)
    slices, _ = found(task, coarse, allow_missing=True, progress=heard)
    assert set(slices.labels.unique().tolist()) == {0, 1}
    assert [warning.split(":")[1].split(",")[0] for warning in heard.warnings] == [
        " right is lost where slices become 2×2 pixels"
    ]


def test_a_slice_that_is_stored_across_the_third_axis_is_a_problem():
    labels = torch.ones(1, 10, 12, dtype=torch.int16)
    thin = LabelledScan(Scan("thin", labels[None].float(), np.eye(4)), Segmentation(labels, NAMES, np.eye(4)))
    assert "thin: has a single voxel along axis 0" in problems_of_slices([thin])[0]


def along(axis, index, labelled):
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known.select(axis, index)[:] = True
    return replace(labelled, known=known)


def test_an_annotated_slice_along_another_axis_is_a_problem():
    for axis in (0, 1):
        (problem,) = problems_of_slices([volume(), along(axis, 3, volume())])
        assert problem.startswith(f"case: the annotated slice lies along axis {axis}, and slices along axis 2")
        two = along(axis, 3, volume())
        two.known.select(axis, 5)[:] = True
        assert problems_of_slices([two]) == [problem]
    fine = [along(2, 3, volume()), volume(1), along(2, 0, volume(1)), along(0, 3, volume(1)), ignored_in_every_slice()]
    assert problems_of_slices(fine) == []


def exemplars(count=6):
    slices, _ = annotated_slices(volume(1), AS_STORED)
    return together([slices] * count)


def test_without_ranges_nothing_changes():
    slices = exemplars()
    assert moved(slices, SpatialRanges(), generator()) is slices
    assert toned(slices.image, IntensityRanges(), generator()).equal(slices.image)


def test_image_and_labels_move_together_each_slice_its_own_way():
    slices = moved(
        exemplars(), SpatialRanges(rotation_degrees=40.0, scale=0.3, shift_mm=20.0, elastic_mm=5.0), generator()
    )
    # Linear interpolation mixes neighbours, so they agree where the image is a whole number.
    whole = (slices.image[:, 0] - slices.image[:, 0].round()).abs() < 1e-3
    assert whole.float().mean() > 0.5
    assert slices.image[:, 0].round()[whole].equal(slices.labels.float()[whole])
    assert not slices.labels[0].equal(slices.labels[1])


def test_what_is_unknown_stays_unknown():
    slices = exemplars()
    slices.known[:, :6] = False
    turned = moved(slices, SpatialRanges(rotation_degrees=40.0), generator())
    assert 0.3 < turned.known.float().mean() < 0.7
    assert not turned.labels[~turned.known].any()


def test_what_is_mirrored_is_not_known():
    slices = exemplars(2)
    shifted = placed(slices, places(slices.image, SpatialRanges(), generator()) - torch.tensor([3.0, 0.0]))
    assert not shifted.known[:, :3].any()
    assert shifted.known[:, 3:].all()
    assert shifted.labels[:, 3:].equal(slices.labels[:, :-3])


def test_slices_are_sampled_at_their_own_indices():
    slices = torch.arange(2.0 * 3 * 4).reshape(2, 1, 3, 4)
    lines = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij"), dim=-1)
    indices = torch.stack([lines, lines + torch.tensor([1.0, 0.0])])
    found = sample_slices(slices, indices, "bilinear")
    torch.testing.assert_close(found[0], slices[0])
    torch.testing.assert_close(found[1, :, :2], slices[1, :, 1:])
    torch.testing.assert_close(found[1, :, 2], slices[1, :, 1])  # mirrored at the border


def test_batches_are_laid_one_after_the_other():
    first, second = exemplars(2), exemplars(3)
    every = together([first, Slices(second.image + 1, second.labels, ~second.known)])
    assert every.image.shape[0] == 5
    assert every.known.flatten(1).all(dim=1).tolist() == [True, True, False, False, False]
    assert every.of(torch.tensor([4, 0])).image.equal(torch.cat([second.image[2:] + 1, first.image[:1]]))
