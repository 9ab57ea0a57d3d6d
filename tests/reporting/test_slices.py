import numpy as np
import pytest
import torch

from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.reporting.slices import most_telling, telling_slices, zoom

NAMES = Names.of({1: "liver", 2: "spleen"})


def labels(shape, boxes):
    volume = np.zeros(shape, dtype=np.int16)
    for index, box in boxes:
        volume[box] = index
    return volume


def labelled(volume, affine=None, spacing_known=True, image=None, **more):
    affine = np.eye(4) if affine is None else affine
    volume = torch.from_numpy(volume)
    voxels = torch.zeros(1, *volume.shape) if image is None else image[None]
    return LabelledScan(
        Scan("a", voxels, affine, spacing_known=spacing_known), Segmentation(volume, NAMES, affine), **more
    )


def test_the_slice_where_most_dice_is_lost():
    """The liver (4³) has lost one voxel of 64, the spleen (2³) one of 8: the spleen's costs more."""
    true = labels((40, 40, 40), [(1, np.s_[2:6, 2:6, 2:6]), (2, np.s_[30:32, 32:34, 34:36])])
    predicted = true.copy()
    predicted[3, 3, 3] = predicted[30, 33, 34] = 0
    assert most_telling(true, predicted) == (30, 33, 34)


def test_one_odd_slice_does_not_outweigh_many():
    """9 voxels lost in slice 2; 8 in each of the slices 18 to 22."""
    true = labels((10, 10, 40), [(1, np.s_[0:9, 0:9, 0:30])])
    predicted = true.copy()
    predicted[0:9, 0, 2] = 0
    predicted[0:8, 0, 18:23] = 0
    assert most_telling(true, predicted)[2] == 20


def test_without_a_mistake_the_middle_of_the_structures():
    true = labels((20, 20, 20), [(1, np.s_[2:5, 10:13, 16:19])])
    assert most_telling(true, true) == (3, 11, 17)
    nothing = np.zeros((20, 10, 4), dtype=np.int16)
    assert most_telling(nothing, nothing) == (10, 5, 2)


def test_the_box_keeps_an_equal_margin_in_millimetres():
    """Structure of 20 mm in a scan of 80 mm: geometric mean 40 mm, margin 6 mm, which is 6, 6 and 3 voxels."""
    mask = np.zeros((80, 80, 40), dtype=bool)
    mask[30:50, 2:10, 20:24] = True
    assert zoom(mask, np.array([1.0, 1.0, 2.0])) == (slice(24, 56), slice(0, 16), slice(17, 27))
    assert zoom(np.zeros((4, 4, 4), dtype=bool), np.ones(3)) == (slice(None),) * 3


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_right_is_left_front_and_head_are_up_however_the_file_keeps_its_axes(flips, order):
    """Grey values that grow by 1 towards the right, by 100 towards the front and by 10,000 towards the head."""
    right, front, head = np.meshgrid(*[np.arange(12)] * 3, indexing="ij")
    grey = np.transpose(right + 100 * front + 10_000 * head, order)[tuple(slice(None, None, flip) for flip in flips)]
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, world in enumerate(order):
        affine[world, axis] = flips[axis]
    image = torch.tensor(grey.copy(), dtype=torch.float32)
    slices = telling_slices(labelled(labels((12, 12, 12), [(1, np.s_[4:8, 4:8, 4:8])]), affine, image=image), None)
    assert [each.view for each in slices] == ["axial", "coronal", "sagittal"]
    assert [each.letters for each in slices] == ["RLPA", "RLIS", "APIS"]
    steps = [(np.unique(np.diff(each.image, axis=0)), np.unique(np.diff(each.image, axis=1))) for each in slices]
    assert steps == [(-100, -1), (-10_000, -1), (-10_000, -100)]


def test_thick_slices_keep_their_millimetres():
    thick = np.diag([1.0, 2.0, 5.0, 1.0])
    axial, coronal, sagittal = telling_slices(labelled(labels((20, 10, 4), [(1, np.s_[:, :, :])]), thick), None)
    assert [each.size_mm for each in (axial, coronal, sagittal)] == [(20, 20), (20, 20), (20, 20)]
    assert [each.truth.shape for each in (axial, coronal, sagittal)] == [(10, 20), (4, 20), (4, 10)]


def test_slices_are_counted_from_one():
    true = labels((20, 20, 20), [(1, np.s_[3:4, 5:6, 7:8])])
    axial, coronal, sagittal = telling_slices(labelled(true), None)
    assert [(each.number, each.count) for each in (axial, coronal, sagittal)] == [(8, 20), (6, 20), (4, 20)]
    assert [each.counted_from for each in (axial, sagittal)] == ["the feet", "the patient's left"]


def test_a_flat_image_of_any_plane_gives_one_slice():
    sagittal = np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    [each] = telling_slices(labelled(np.zeros((20, 24, 1), dtype=np.int16), sagittal), None)
    assert (each.view, each.size_mm) == ("sagittal", (20, 24))


def test_nothing_is_said_of_orientation_where_the_file_tells_none():
    [each] = telling_slices(labelled(np.zeros((8, 8, 1), dtype=np.int16), spacing_known=False), None)
    assert (each.view, each.letters, each.counted_from) == ("picture", "", "")


def test_unknown_voxels_and_other_structures_are_not_shown():
    volume = labels((20, 20, 1), [(1, np.s_[4:8, 4:8]), (2, np.s_[12:16, 12:16])])
    truth = labelled(volume, annotated=frozenset({"spleen"}))
    [each] = telling_slices(truth, truth.truth)
    assert set(np.unique(each.truth)) == set(np.unique(each.prediction)) == {0, 2}


def test_voxels_without_a_number_do_not_spoil_the_picture():
    image = torch.full((8, 8, 1), float("nan"))
    image[2] = 5
    [each] = telling_slices(labelled(np.zeros((8, 8, 1), dtype=np.int16), image=image), None)
    assert set(np.unique(each.image)) == {0, 5}
