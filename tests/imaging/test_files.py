import resource
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from scipy.spatial.transform import Rotation

from imaging.stored_images import OBLIQUE, SHAPE, SHEARED, SHIFTED, VOLUMES, image_array, save_nifti, segmentation
from lowshot.errors import BadVoxels, ChannelMismatch, GridMismatch, OutputError, UnreadableFile
from lowshot.imaging.files import FORMATS, read_scan, scan_format, scan_name, write_segmentation, write_volume
from lowshot.imaging.label_maps import read_labelled, read_labels


def orientations():
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = (np.eye(3)[:, list(order)] * signs) * (0.8, 1.5, 3.0)
            affine[:3, 3] = (-10, 20, 30)
            yield "".join(nibabel.aff2axcodes(affine)), affine


ORIENTATIONS = dict(orientations())
AFFINES = {**ORIENTATIONS, "oblique": OBLIQUE, "sheared": SHEARED}


def test_there_are_48_orientations():
    assert len(ORIENTATIONS) == 48


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_a_label_map_comes_back_where_it_was(tmp_path, affine, suffix):
    written = segmentation(affine=affine)
    write_segmentation(written, tmp_path / f"labels{suffix}")
    back, known = read_labels(tmp_path / f"labels{suffix}")
    assert torch.equal(back.labels, written.labels.short())
    assert known is None
    assert written.grid.distance_mm(back.grid) < 1e-4


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_simpleitk_and_nibabel_see_the_same_place(tmp_path, affine, suffix):
    """What another program reads from our file lies at our world position (ITK counts towards left, posterior)."""
    write_volume(torch.arange(120.0).reshape(1, *SHAPE), affine, tmp_path / f"x{suffix}")
    if suffix.startswith(".nii"):
        image = nibabel.load(tmp_path / f"x{suffix}")
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert image.dataobj[3, 1, 2] == 3 * 30 + 1 * 6 + 2
    else:
        image = SimpleITK.ReadImage(tmp_path / f"x{suffix}")
        left, posterior, superior = image.TransformIndexToPhysicalPoint((3, 1, 2))
        np.testing.assert_allclose((-left, -posterior, superior), (affine @ (3, 1, 2, 1))[:3], atol=1e-9)
        assert image[3, 1, 2] == 3 * 30 + 1 * 6 + 2


@pytest.mark.parametrize("suffix", VOLUMES)
def test_an_image_becomes_labels_on_exactly_its_grid(tmp_path, suffix):
    """Image written by another program, labels written by us: shape and header geometry agree to the last bit."""
    path = tmp_path / f"image{suffix}"
    if suffix.startswith(".nii"):
        save_nifti(path, image_array())
    else:
        image = SimpleITK.GetImageFromArray(image_array(SHAPE[::-1]))
        image.SetDirection(Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix().ravel().tolist())
        image.SetSpacing((0.9, 1.4, 3.3))
        image.SetOrigin((-30, 12, 55))
        SimpleITK.WriteImage(image, path)
    scan = read_scan(path)
    result = tmp_path / f"result{suffix}"
    write_segmentation(segmentation(affine=scan.affine), result, scan.source)
    read_labelled(path, result)
    if suffix.startswith(".nii"):
        np.testing.assert_array_equal(nibabel.load(result).affine, nibabel.load(path).affine)
    else:
        one, other = SimpleITK.ReadImage(path), SimpleITK.ReadImage(result)
        np.testing.assert_allclose(one.GetDirection(), other.GetDirection(), atol=1e-15)
        np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing(), rtol=1e-15)
        assert one.GetOrigin() == other.GetOrigin()


@pytest.mark.parametrize("code", ["LPS", "SRA", "IAR"])
def test_a_label_map_stored_in_another_order_comes_in_its_images(tmp_path, code):
    save_nifti(tmp_path / "image.nii.gz", image_array())
    scan = read_scan(tmp_path / "image.nii.gz")
    wanted = segmentation(affine=scan.affine)
    write_segmentation(wanted, tmp_path / "labels.nii.gz")
    stored = nibabel.load(tmp_path / "labels.nii.gz")
    there = nibabel.orientations.axcodes2ornt(code)
    back = nibabel.orientations.ornt_transform(nibabel.io_orientation(stored.affine), there)
    nibabel.save(stored.as_reoriented(back), tmp_path / "labels.nii.gz")
    assert nibabel.load(tmp_path / "labels.nii.gz").affine.tolist() != stored.affine.tolist()
    found = read_labelled(tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz").truth
    assert found.labels.equal(wanted.labels.short())
    assert found.grid.same_as(scan.grid, tolerance=1e-3)


@pytest.mark.parametrize("source", ["image.nii.gz", "image.mgz", "image.nrrd", "image.mha"])
@pytest.mark.parametrize("result", ["result.nii.gz", "result.nrrd", "result.mha"])
def test_any_format_becomes_any_other(tmp_path, source, result):
    array = image_array()
    if source.endswith("mgz"):
        nibabel.save(nibabel.MGHImage(array.astype(np.int32), SHEARED), tmp_path / source)
    else:
        write_volume(torch.from_numpy(array)[None].float(), SHEARED, tmp_path / source)
    scan = read_scan(tmp_path / source)
    np.testing.assert_array_equal(scan.voxels[0], array)
    np.testing.assert_allclose(scan.affine, SHEARED, atol=1e-4)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / result, scan.source)
    read_labelled(tmp_path / source, tmp_path / result)


@pytest.mark.parametrize("suffix", VOLUMES)
def test_channels_of_one_file_must_be_declared(tmp_path, suffix):
    volume = torch.rand(2, *SHAPE)
    write_volume(volume, OBLIQUE, tmp_path / f"x{suffix}")
    scan = read_scan(tmp_path / f"x{suffix}", channels=["T1", "FLAIR"])
    assert scan.channels == ("T1", "FLAIR")
    assert torch.equal(scan.voxels, volume)
    with pytest.raises(BadVoxels, match=r"expected three axes, got shape \(4, 5, 6, 2\)"):
        read_scan(tmp_path / f"x{suffix}")
    with pytest.raises(ChannelMismatch, match=r"expected 3 channels \(a, b, c\), got 2"):
        read_scan(tmp_path / f"x{suffix}", channels=["a", "b", "c"])


def test_one_channel_can_be_named(tmp_path):
    path = save_nifti(tmp_path / "x.nii", image_array())
    assert read_scan(path).channels == ("image",)
    assert read_scan(path, channels=["T2"]).channels == ("T2",)
    with pytest.raises(ChannelMismatch, match="expected 2 channels"):
        read_scan(path, channels=["T2", "DWI"])


def test_a_fourth_axis_of_one_is_no_axis(tmp_path):
    path = save_nifti(tmp_path / "x.nii", image_array((*SHAPE, 1)))
    assert read_scan(path).voxels.shape == (1, *SHAPE)
    scan = read_scan(path)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii", scan.source)
    assert nibabel.load(tmp_path / "labels.nii").shape == SHAPE


def test_five_axes_are_read_as_vectors_or_refused(tmp_path):
    path = save_nifti(tmp_path / "field.nii", image_array((*SHAPE, 1, 3)))
    assert read_scan(path, channels="xyz").voxels.shape == (3, *SHAPE)
    path = save_nifti(tmp_path / "more.nii", image_array((*SHAPE, 2, 3)))
    with pytest.raises(UnreadableFile, match=r"more\.nii: expected three axes"):
        read_scan(path)


def test_files_become_channels_of_one_scan(tmp_path):
    one = save_nifti(tmp_path / "t1.nii.gz", image_array())
    noisy = OBLIQUE + np.random.default_rng(0).normal(0, 1e-8, (4, 4)) * np.array([[1], [1], [1], [0]])
    two = save_nifti(tmp_path / "flair.nii.gz", image_array() + 1, noisy)
    scan = read_scan({"T1": one, "FLAIR": two}, name="patient")
    assert (scan.name, scan.channels) == ("patient", ("T1", "FLAIR"))
    np.testing.assert_array_equal(scan.voxels[1] - scan.voxels[0], 1)
    three = save_nifti(tmp_path / "shifted.nii.gz", image_array(), SHIFTED)
    with pytest.raises(GridMismatch, match=r"shifted\.nii\.gz: channel DWI .*3\.46 mm apart"):
        read_scan({"T1": one, "DWI": three})
    smaller = save_nifti(tmp_path / "smaller.nii.gz", image_array()[..., :4])
    with pytest.raises(GridMismatch, match=r"smaller\.nii\.gz: channel DWI .*shapes differ"):
        read_scan({"T1": one, "DWI": smaller})
    for declared in ({"channels": ["a", "b"]}, {"colour": True}):
        with pytest.raises(ChannelMismatch, match="each channel has a file of its own; leave out --channels"):
            read_scan({"T1": one, "FLAIR": two}, **declared)


def test_channels_that_store_their_voxels_in_another_order_come_in_the_first_ones(tmp_path):
    one = save_nifti(tmp_path / "t1.nii.gz", image_array())
    turned = nibabel.Nifti1Image(image_array() + 1, OBLIQUE).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(turned, tmp_path / "flair.nii.gz")
    scan = read_scan({"T1": one, "FLAIR": tmp_path / "flair.nii.gz"})
    assert turned.shape != SHAPE
    np.testing.assert_array_equal(scan.voxels[1] - scan.voxels[0], 1)


@pytest.mark.parametrize("suffix", [".jpg", "", ".mgz", ".tif", ".mhd"])
def test_formats_that_are_not_written_are_refused(tmp_path, suffix):
    with pytest.raises(OutputError, match=r"expected a file ending in \.nii\.gz"):
        write_segmentation(segmentation(), tmp_path / f"labels{suffix}")


@contextmanager
def full_disk():
    """The system refuses to make any file longer than 20 kB, as a full disk does.

    No fixture: pytest's own output may be a longer file, and it writes to it around a test.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nibabel leaves its file to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", VOLUMES)
def test_a_full_disk_leaves_nothing_behind(tmp_path, suffix):
    with full_disk(), pytest.raises(OutputError, match=f"result{suffix}: cannot be written"):
        write_volume(torch.rand(1, 40, 40, 40), np.eye(4), tmp_path / f"result{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_and_no_other_file_is_left(tmp_path):
    write_segmentation(segmentation(), tmp_path / "results" / "case.nii.gz")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["case.nii.gz"]


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("images/case.1.nii.gz", "nifti", "case.1"),
        ("CASE.NII", "nifti", "CASE"),
        ("a.mgz", "mgz", "a"),
        ("a.nhdr", "nrrd", "a"),
        ("a.mhd", "metaimage", "a"),
        ("benign (1).png", "png", "benign (1)"),
        ("a.tiff", "tiff", "a"),
    ],
)
def test_formats_and_names(path, key, name):
    assert scan_format(path) == key
    assert scan_name(Path(path)) == name
    assert key in FORMATS
