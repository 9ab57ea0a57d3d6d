import numpy as np
import torch

from contract.studies import NAMES
from lowshot.imaging.grid import Grid
from lowshot.methods.ants.fusion import JointFusion, bounding_box, majority
from lowshot.methods.ants.registration import Moved, Placed, working
from methods.ants.bodies import affine, body, one_thread

FUSION = JointFusion(alpha=0.01, beta=4.0, patch_radius=1, search_radius=1)
SHAPE = (20, 20, 12)
BODY = body(affine((3, 3, 5), SHAPE), SHAPE)
SHIFTED = body(affine((3, 3, 5), SHAPE, centre=(9, 0, 0)), SHAPE)


def atlas(image, labels):
    return Moved(torch.tensor(image, dtype=torch.float32), torch.tensor(labels, dtype=torch.int16))


def decided(regions, shape, classes):
    scores = torch.zeros(classes, *shape)
    for region in regions:
        scores[(region.classes, *region.slices)] = region.scores
    assert scores.min() >= 0
    assert scores.sum(0).max() <= 1 + 1e-5
    return scores.argmax(0)


def test_most_votes_win():
    image = [[[0.0, 1.0, 2.0]]]
    voters = [atlas(image, [[[0, 1, 2]]]), atlas(image, [[[1, 1, 2]]]), atlas(image, [[[1, 2, 2]]])]
    assert decided(majority(voters, torch.tensor(image), 3), (1, 1, 3), 3).tolist() == [[[1, 1, 2]]]


def test_the_atlas_that_looks_like_the_scan_has_the_casting_vote():
    image = torch.tensor([[[0.0, 1.0, 2.0]]])
    unlike, like = atlas([[[2.0, 1.0, 0.0]]], [[[0, 0, 1]]]), atlas(image.tolist(), [[[2, 0, 2]]])
    for voters in ([unlike, like], [like, unlike]):
        assert decided(majority(voters, image, 3), (1, 1, 3), 3).tolist() == [[[2, 0, 2]]]
    blank = atlas([[[1.0, 1.0, 1.0]]], [[[1, 1, 1]]])  # correlates with nothing
    assert decided(majority([blank, like], image, 3), (1, 1, 3), 3).tolist() == [[[2, 0, 2]]]


def fused(moved, image):
    scan = Placed("scan", image, Grid(tuple(image.shape), np.eye(4)))
    with working(one_thread()) as folder:
        return decided(FUSION(moved, scan, folder), image.shape, len(NAMES))


def moved(labelled):
    return Moved(labelled.scan.voxels[0], labelled.truth.labels)


def test_joint_fusion_believes_the_atlas_that_looks_like_the_scan():
    labels = fused([moved(SHIFTED), moved(BODY)], BODY.scan.voxels[0])
    assert (labels == BODY.truth.labels).float().mean() > 0.98


def test_joint_fusion_of_pictures():
    flat = [Moved(one.scan.voxels[0, :, :, 6:7], one.truth.labels[:, :, 6:7]) for one in (SHIFTED, BODY)]
    assert (fused(flat, flat[1].image) == flat[1].labels).float().mean() > 0.98


def test_where_no_atlas_has_a_structure_is_background():
    nothing = torch.zeros(SHAPE, dtype=torch.int16)
    assert not fused([Moved(BODY.scan.voxels[0], nothing)] * 2, BODY.scan.voxels[0]).any()


def test_the_box_around_what_is_true():
    inside = torch.zeros(9, 8, 7, dtype=torch.bool)
    inside[4, 2, 6] = inside[5, 2, 6] = True
    assert bounding_box(inside, 2) == (slice(2, 8), slice(0, 5), slice(4, 9))
    assert np.shape(inside[bounding_box(inside, 2)]) == (6, 5, 3)
