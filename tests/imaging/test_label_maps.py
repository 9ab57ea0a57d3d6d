"""What ``read_labels`` and ``read_labelled`` make of label values, and of maps that know only a part."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from imaging.stored_images import OBLIQUE, SHAPE, SHIFTED, VOLUMES, image_array, save_nifti, segmentation, with_forms
from lowshot.errors import BadVoxels, GridMismatch, InputError, UnknownLabel
from lowshot.imaging.files import read_scan, write_segmentation
from lowshot.imaging.label_maps import read_labelled, read_labels
from lowshot.imaging.names import Names


def moved(*steps):
    """Voxel indices of a box to those of the whole."""
    matrix = np.eye(4)
    matrix[:3, 3] = steps
    return matrix


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ((0, 63, 126, 189, 252), np.uint8),
        ((0, 200, 500, 600), np.int16),
        ((0, 255), np.uint8),
        ((0, -1, -7, 3), np.int16),
        ((0, 40_000, 1_000_000), np.int32),
        ((-1024, 5), np.int16),
    ],
    ids=str,
)
def test_any_integers_come_back(tmp_path, values, stored, suffix):
    written = segmentation(values)
    write_segmentation(written, tmp_path / f"labels{suffix}")
    back, _ = read_labels(tmp_path / f"labels{suffix}", background=values[0])
    assert back.names.values == (values[0], *sorted(values[1:]))
    np.testing.assert_array_equal(back.names.decode(back.labels.numpy()), written.names.decode(written.labels.numpy()))
    if suffix == ".nii":
        assert nibabel.load(tmp_path / "labels.nii").get_data_dtype() == stored


def test_values_beyond_32_bits(tmp_path):
    write_segmentation(segmentation((0, 2**40)), tmp_path / "labels.nii.gz")
    back, _ = read_labels(tmp_path / "labels.nii.gz")
    assert back.names.values == (0, 2**40)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    array = np.where(image_array() > 50, 600, 0).astype(dtype)
    labels, _ = read_labels(save_nifti(tmp_path / "labels.nii.gz", array))
    assert labels.names.values == (0, 600)


def test_fractions_are_no_labels(tmp_path):
    array = image_array().astype(np.float32)
    array[0, 0, :2] = 0.25, np.nan
    with pytest.raises(BadVoxels, match=r"labels\.nii: expected integer label values, got 0\.25 and 1 others"):
        read_labels(save_nifti(tmp_path / "labels.nii", array))


def test_nan_is_told_by_its_name(tmp_path):
    array = np.ones(SHAPE, np.float32)
    array[0] = np.nan
    with pytest.raises(BadVoxels, match=r"expected integer label values, got NaN in 30 voxels; replace NaN by the"):
        read_labels(save_nifti(tmp_path / "labels.nii", array))


def test_names_say_what_values_mean(tmp_path):
    path = save_nifti(tmp_path / "labels.nii", np.where(image_array() > 50, 500, 200).astype(np.int16))
    names = Names.of({0: "background", 200: "ventricle", 500: "muscle", 600: "atrium"})
    labels, _ = read_labels(path, names)
    assert labels.names is names
    assert set(labels.labels.unique().tolist()) == {1, 2}
    with pytest.raises(UnknownLabel, match=r"labels\.nii: label value 500 has no name"):
        read_labels(path, Names.of({200: "ventricle"}))


def test_an_ignored_value_is_unknown_and_no_structure(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[0], array[1] = 1, 255
    path = save_nifti(tmp_path / "labels.nii", array)
    labels, known = read_labels(path, ignore_value=255)
    assert labels.names.values == (0, 1)
    np.testing.assert_array_equal(known, array != 255)
    assert (labels.labels[1] == 0).all()
    with pytest.raises(UnknownLabel, match="cannot be both ignored and a structure"):
        read_labels(path, Names.of({1: "liver", 255: "spleen"}), ignore_value=255)


@pytest.mark.parametrize(("annotated_slice", "where"), [(2, (2, 2)), ((2, 2), (2, 2)), ((0, 3), (0, 3))])
def test_one_annotated_slice_is_known_and_nothing_else(tmp_path, annotated_slice, where):
    save_nifti(tmp_path / "image.nii", image_array())
    array = np.ones(SHAPE, np.uint8)
    array[..., 0] = 7
    save_nifti(tmp_path / "labels.nii", array)
    labelled = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice)
    expected = torch.zeros(SHAPE, dtype=torch.bool)
    expected.select(*where).fill_(True)
    assert torch.equal(labelled.known, expected)
    both = read_labelled(
        tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice, ignore_value=7
    )
    assert torch.equal(both.known, expected & torch.from_numpy(array != 7))


@pytest.mark.parametrize("annotated_slice", [4, (2, 4), (0, 1)])
@pytest.mark.parametrize("ignore_value", [None, 7])
def test_the_annotated_slice_is_counted_as_the_label_file_stores_it(tmp_path, annotated_slice, ignore_value):
    """Whatever the order in which the image's file stores the same voxels."""
    labels = np.zeros(SHAPE, np.uint8)
    axis, index = (2, 4) if annotated_slice == 4 else annotated_slice
    np.moveaxis(labels, axis, 0)[index] = 1
    labels[1, 0, 4] = 7
    save_nifti(tmp_path / "labels.nii", labels)
    image = nibabel.Nifti1Image(image_array(), OBLIQUE).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(image, tmp_path / "image.nii")
    labelled = read_labelled(
        tmp_path / "image.nii",
        tmp_path / "labels.nii",
        annotated_slice=annotated_slice,
        ignore_value=ignore_value,
    )
    assert labelled.known.shape == labelled.truth.labels.shape == image.shape
    assert labelled.truth.labels[labelled.known].all()
    whole = labels.size // SHAPE[axis]
    assert int(labelled.known.sum()) == (whole if ignore_value is None else whole - 1)


@pytest.mark.parametrize(("dtype", "background"), [(np.uint8, 0), (np.uint8, -1024), (np.float32, 0)])
@pytest.mark.parametrize("turned", [False, True])
def test_around_a_label_map_that_was_cut_out_there_is_background(tmp_path, dtype, background, turned):
    """As 3D Slicer saves segmentations: the box of the structures alone."""
    save_nifti(tmp_path / "image.nii", image_array())
    whole = np.full(SHAPE, background, np.int16)
    whole[1:3, 2:5, 3:6] = 5
    whole[2, 3, 4] = 200
    box = nibabel.Nifti1Image(whole[1:3, 2:5, 3:6].astype(dtype), OBLIQUE @ moved(1, 2, 3))
    if turned:
        box = box.as_reoriented(np.array([[1, 1], [2, -1], [0, -1]]))
    nibabel.save(box, tmp_path / "labels.nii")
    names = Names.of({background: "background", 5: "liver", 200: "spleen"}, background)
    truth = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names).truth
    np.testing.assert_array_equal(names.decode(truth.labels.numpy()), whole)
    labelled = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names, annotated_slice=(0, 1))
    assert labelled.known.any()
    assert labelled.known.sum() == (2 * 3 if turned else 3 * 3)


def test_a_picture_may_be_cut_out_of_a_picture(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array((6, 5, 1)))
    save_nifti(tmp_path / "labels.nii", np.ones((2, 2, 1), np.uint8), OBLIQUE @ moved(1, 2, 0))
    assert int(read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii").truth.labels.sum()) == 4


def test_a_single_slice_cut_out_does_not_tell_of_the_others(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.ones((*SHAPE[:2], 1), np.uint8), OBLIQUE @ moved(0, 0, 2))
    with pytest.raises(GridMismatch, match=r"single slice of its image.* --annotated-slice"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii")


def test_a_label_map_that_reaches_beyond_the_image_is_refused(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.ones((2, 3, 3), np.uint8), OBLIQUE @ moved(1, 2, 4))
    with pytest.raises(GridMismatch, match="shapes differ"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii")


def test_a_rounded_header_is_no_other_grid(tmp_path):
    exact, rounded = (np.diag([side, side, 0.625, 1]) for side in (0.48828125, 0.488))
    save_nifti(tmp_path / "image.nii", image_array((256, 256, 2)), exact)
    save_nifti(tmp_path / "labels.nii", np.zeros((256, 256, 2), np.uint8), rounded)
    assert read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii").truth.affine.tolist() == exact.tolist()


@pytest.mark.parametrize("suffix", VOLUMES)
def test_a_result_that_was_corrected_in_a_viewer_lies_on_its_image(tmp_path, suffix):
    """ITK-SNAP and 3D Slicer keep the qform alone, where sform and qform of the image's file differ."""
    image = with_forms(tmp_path / "image.nii", sform=(SHIFTED, 4), qform=(OBLIQUE, 1))
    scan = read_scan(image)
    wanted = segmentation(affine=scan.affine)
    write_segmentation(wanted, tmp_path / "labels.nii", scan.source)
    SimpleITK.WriteImage(SimpleITK.ReadImage(tmp_path / "labels.nii"), tmp_path / f"corrected{suffix}")
    truth = read_labelled(image, tmp_path / f"corrected{suffix}").truth
    assert torch.equal(truth.labels, wanted.labels.short())
    np.testing.assert_array_equal(truth.affine, scan.affine)


def test_empty_slices_are_known_unless_said_otherwise(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    array = np.zeros(SHAPE, np.uint8)
    array[:, :, 2] = 1
    save_nifti(tmp_path / "labels.nii", array)
    assert read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii").known is None


@pytest.mark.parametrize("annotated_slice", [6, -1, (3, 0), (0, 4)])
def test_a_slice_that_does_not_exist_is_refused(tmp_path, annotated_slice):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"labels\.nii: no slice .* in a label map of shape \(4, 5, 6\)"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice)


def test_annotated_structures_are_named(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(SHAPE, np.uint8))
    names = Names.of({1: "liver", 2: "spleen"})
    labelled = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names, annotated=["liver"])
    assert labelled.annotated == {"liver"}
    with pytest.raises(UnknownLabel, match="no structure named 'lever'"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names, annotated=["lever"])


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [(SHAPE, SHIFTED, r"3\.46 mm apart"), ((4, 5, 7), OBLIQUE, "shapes differ")],
)
def test_labels_of_another_grid_are_refused(tmp_path, shape, affine, message):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(shape, np.uint8), affine)
    with pytest.raises(GridMismatch, match=message):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii")


def test_label_maps_with_channels_are_refused(tmp_path):
    path = save_nifti(tmp_path / "labels.nii", np.zeros((*SHAPE, 2), np.uint8))
    with pytest.raises(BadVoxels, match="expected a label map with three axes"):
        read_labels(path)
