"""What a correspondence says of ANTs's transforms is what ANTs did with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from contract.studies import NAMES
from lowshot.benchmarking.warped import warped
from lowshot.contract import Deforms
from lowshot.inference.predict import predict
from lowshot.methods.ants.method import Ants
from lowshot.methods.ants.registration import move, working
from lowshot.task import LowShotTask
from methods.ants.bodies import AFFINE, SYN, affine, as_placed, body, one_thread, placed

SHAPE, OTHER = (45, 45, 40), (50, 26, 22)
ATLAS = body(affine((1.4, 1.4, 1.6), SHAPE, centre=(20, 0, -9)), SHAPE, name="atlas", place=placed(shift=(20, 0, -9)))
TURN = Rotation.from_euler("xyz", (5, 0, -15), degrees=True).as_matrix()
PERMUTED = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""Stored from left to right, from head to feet, from front to back, and the like."""
SHEAR = np.array([[1, 0.15, 0], [0, 1, 0.1], [0, 0, 1]])
PLACE = placed(turn=(3, -4, 6), stretch=(1.1, 0.95, 1.0), shift=(4, -3, 5))
GRIDS = {"turned": TURN, "permuted": TURN @ PERMUTED, "sheared": SHEAR, "permuted and sheared": PERMUTED @ SHEAR}
FLAT = body(affine((1, 1, 1), (60, 60, 1)), (60, 60, 1))
# Two pictures whose files say that they lie far from each other, in planes that do not meet.
FAR = affine((1, 1.3, 7), (70, 50, 1), PERMUTED, centre=(300, 20, -80))
THERE = body(affine((1, 1.3, 7), (70, 50, 1)), (70, 50, 1), place=placed(turn=(0, 0, 8), shift=(4, 3, 0)))
THERE = replace(THERE, scan=replace(THERE.scan, affine=FAR), truth=replace(THERE.truth, affine=FAR))


def moved_to(query, alignment, of=ATLAS):
    with working(one_thread()) as folder:
        return move(as_placed(of), of.truth.labels, as_placed(query), alignment, folder)


def assert_told(query, found, of=ATLAS):
    """The atlas sampled where its points are said to be, and as ANTs moved it."""
    from_zero = replace(of, scan=replace(of.scan, voxels=of.scan.voxels - of.scan.voxels.min()))
    sampled, moved = warped(from_zero, query, found)[0], found.moved.image
    inside = slice(2, -2)  # at its faces ANTs goes on by half a voxel
    if sampled.shape[2] > 1:
        sampled, moved = (each[inside, inside, inside] for each in (sampled, moved))
    assert torch.corrcoef(torch.stack([sampled.flatten(), moved.flatten()]))[0, 1] > 0.995
    assert (sampled - moved).abs().mean() < 0.01 * moved.max()


@pytest.mark.parametrize("linear", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("alignment", [AFFINE, SYN], ids=lambda each: each.transform)
def test_it_tells_where_ants_found_each_point(alignment, linear):
    query = body(affine((1.5, 2.5, 3), OTHER, linear, centre=(3, 2, 1)), OTHER, place=PLACE)
    found = moved_to(query, alignment)
    assert_told(query, found)
    assert found.moved.image.std() > 10  # something was there to be found


@pytest.mark.parametrize("alignment", [AFFINE, SYN], ids=lambda each: each.transform)
def test_pictures(alignment):
    found = moved_to(THERE, alignment, of=FLAT)
    assert_told(THERE, found, of=FLAT)
    assert found.folded_share() == 0


def test_without_a_deformation_a_matrix_says_everything():
    query = body(affine((1.4, 1.4, 1.4), SHAPE), SHAPE, place=PLACE)
    found = moved_to(query, AFFINE)
    assert not found.field_mm.any()
    assert found.folded_share() == 0
    ends = np.array([[15, 0, 0, 1], [0, 15, 0, 1], [0, 0, 15, 1], [-15, -15, -15, 1]]).T
    expected = placed(shift=(20, 0, -9)) @ np.linalg.inv(PLACE)
    np.testing.assert_allclose(found.world @ ends, expected @ ends, atol=3)


def test_a_deformation_is_told_and_hardly_folds():
    query = body(affine((1.4, 1.4, 1.4), SHAPE), SHAPE, place=PLACE)
    found = moved_to(query, SYN)
    assert found.field_mm.shape == (3, *SHAPE)
    assert found.field_mm.abs().max() > 0.1
    assert found.folded_share() < 0.01


@pytest.mark.parametrize(("method", "shots"), [(Ants(), 1), (Ants(transform="affine"), 2)], ids=["syn", "affine"])
def test_noise_does_not_look_like_the_annotated_scan_and_a_body_does(method, shots):
    model = method.fit(LowShotTask(NAMES, [ATLAS, body(affine((2, 2, 2), SHAPE), SHAPE)][:shots]), one_thread())
    assert isinstance(model, Deforms)
    scan = body(affine((1.5, 1.7, 1.5), SHAPE, PERMUTED), SHAPE, name="query", place=placed(turn=(0, 4, 3))).scan
    noise = torch.rand(scan.voxels.shape, generator=torch.Generator().manual_seed(0))
    seen, unseen = (
        predict(model, each, one_thread(), method.Options()) for each in (scan, replace(scan, voxels=noise))
    )
    assert seen.folded == 0
    assert not any("does not look like" in note for note in seen.notes)
    assert any("does not look like the annotated scan" in note for note in unseen.notes)
