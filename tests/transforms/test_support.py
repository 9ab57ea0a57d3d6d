from dataclasses import replace

import numpy as np
import pytest
import torch

from listening import Listening
from lowshot.errors import EmptySupport, GridMismatch
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.atlas_model import prepare_atlases
from lowshot.training.run import Run
from lowshot.transforms.support import annotated_planes, class_counts, known_voxels, prepare_support

NAMES = Names(("background", "liver", "spleen"), (0, 1, 2))


def labelled(shape=(12, 10, 8), spacing=(1.0, 1.0, 1.0), known=None, annotated=None, seed=0):
    random = torch.Generator().manual_seed(seed)
    affine = np.diag([*spacing, 1.0])
    labels = torch.zeros(shape, dtype=torch.int16)
    labels[2:5, 2:5, 2:5], labels[6:9, 6:9, 3:6] = 1, 2
    scan = Scan("case", torch.randn(1, *shape, generator=random), affine)
    return LabelledScan(scan, Segmentation(labels, NAMES, affine), known, annotated)


def test_volumes_are_the_prepared_scans():
    case = labelled()
    preparation, (volume,) = prepare_support([case], Preparation(), None, run=Run())
    assert preparation.spacing == (1.0, 1.0, 1.0)
    torch.testing.assert_close(volume.image, preparation.apply(case.scan).voxels)
    assert torch.equal(volume.labels, case.truth.labels)
    assert volume.known.all()


def test_all_scans_come_to_the_spacing_of_the_first():
    preparation, volumes = prepare_support(
        [labelled(spacing=(1.0, 1.0, 2.0)), labelled()], Preparation(), None, run=Run()
    )
    assert preparation.spacing == (1.0, 1.0, 2.0)
    assert [volume.spacing for volume in volumes] == [(1.0, 1.0, 2.0)] * 2
    assert volumes[1].labels.shape == (12, 10, 4)


def test_large_scans_become_coarser_for_all():
    cases = [labelled(), labelled((24, 20, 16))]
    preparation, volumes = prepare_support(cases, Preparation(), most_voxels=960, run=Run())
    assert preparation.spacing == pytest.approx((2.0, 2.0, 2.0), rel=1e-3)
    assert all(volume.labels.numel() <= 1.1 * 960 for volume in volumes)


@pytest.mark.parametrize("size", [(600, 400), (60, 40)])
def test_a_picture_of_unknown_size_is_augmented_alike_however_many_pixels_it_has(size):
    affine, labels = np.eye(4), torch.zeros(*size, 1, dtype=torch.int16)
    labels[:20] = 1
    scan = Scan("picture", torch.randn(1, *size, 1), affine, spacing_known=False)
    case = LabelledScan(scan, Segmentation(labels, NAMES, affine))
    _, (volume,) = prepare_support([case], Preparation(resize=(128, 64, 1)), None, run=Run())
    assert volume.spacing == (200 / 128,) * 3
    millimetres = replace(case, scan=replace(scan, spacing_known=True))
    _, (volume,) = prepare_support([millimetres], Preparation(resize=(128, 64, 1)), None, run=Run())
    assert volume.spacing == pytest.approx((size[0] / 128, size[1] / 64, 1.0))


def test_a_given_spacing_is_kept():
    preparation, _ = prepare_support([labelled()], Preparation(spacing=(2.0, 2.0, 2.0)), most_voxels=1, run=Run())
    assert preparation.spacing == (2.0, 2.0, 2.0)


def test_unknown_voxels_stay_unknown():
    known = torch.zeros(12, 10, 8, dtype=torch.bool)
    known[:, :, 3] = True
    _, (volume,) = prepare_support([labelled(known=known)], Preparation(), None, run=Run())
    assert torch.equal(volume.known, known)


def test_what_a_crop_adds_is_unknown():
    _, (volume,) = prepare_support([labelled()], Preparation(crop=(16, 10, 8)), None, run=Run())
    assert volume.known[2:14].all()
    assert not volume.known[:2].any()
    assert not volume.known[14:].any()


def test_where_only_some_structures_were_looked_for_background_is_unknown():
    case = labelled(annotated=frozenset({"liver"}))
    assert torch.equal(known_voxels(case), case.truth.labels > 0)
    assert known_voxels(labelled(annotated=frozenset({"liver", "spleen"}))) is None
    known = torch.zeros(12, 10, 8, dtype=torch.bool)
    known[:, :, 3] = True
    both = known_voxels(labelled(known=known, annotated=frozenset({"liver"})))
    assert torch.equal(both, known & (case.truth.labels > 0))


@pytest.mark.parametrize("how", ["nothing known", "cropped away", "nothing drawn"])
def test_a_support_without_structures_is_refused(how):
    case, crop = labelled(), "none"
    if how == "nothing known":
        case = labelled(known=torch.zeros(12, 10, 8, dtype=torch.bool))
    elif how == "cropped away":
        crop = (1, 1, 1)
    else:
        case.truth.labels.zero_()
    with pytest.raises(EmptySupport, match=r"case: no annotated structure is left .* check the label map"):
        prepare_support([case], Preparation(crop=crop), None, run=Run())


def test_one_scan_without_structures_is_fine_beside_another():
    empty = labelled()
    empty.truth.labels.zero_()
    _, volumes = prepare_support([empty, labelled()], Preparation(), None, run=Run())
    assert len(volumes) == 2


def test_classes_are_counted_where_they_are_known():
    known = torch.ones(12, 10, 8, dtype=torch.bool)
    known[:5] = False
    _, volumes = prepare_support([labelled(), labelled(known=known)], Preparation(), None, run=Run())
    assert class_counts(volumes, 4).tolist() == [960 - 54 + 7 * 80 - 27, 27, 54, 0]


def test_pictures_keep_their_pixels():
    case = labelled()
    picture = replace(case, scan=replace(case.scan, spacing_known=False))
    preparation, _ = prepare_support([picture], Preparation(), None, run=Run())
    assert preparation.spacing is None
    with pytest.raises(GridMismatch, match="one kind"):
        prepare_support([picture, labelled()], Preparation(), None, run=Run())


def test_a_crop_that_leaves_labels_out_says_so():
    learning, copying = Listening(), Listening()
    prepare_support([labelled()], Preparation(crop=(4, 4, 4)), None, run=Run(progress=learning))
    prepare_atlases([labelled()], Preparation(crop=(4, 4, 4)), copying)
    assert learning.warnings[0] == copying.warnings[0]
    assert "leaves out" in learning.warnings[0]


def test_planes_of_which_nothing_is_known_are_left_out():
    known = torch.zeros(12, 10, 8, dtype=torch.bool)
    known[..., 3], known[2:4, ..., 5] = True, True
    _, (volume,) = prepare_support([labelled(known=known)], Preparation(), None, run=Run())
    planes = annotated_planes(volume)
    assert planes.known.shape == planes.labels.shape == (12, 10, 2)
    assert torch.equal(planes.image, volume.image[..., [3, 5]])
    assert planes.known.flatten(0, 1).any(dim=0).all()
