import re
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from imaging.dicom_series import COLUMNS, ROWS, SLICES, TILT, raw_slice, write_series
from lowshot.errors import UnreadableFile
from lowshot.imaging.dicom import files_in_order
from lowshot.imaging.files import read_scan, scan_format, write_segmentation
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation


def test_a_series_is_sorted_rescaled_and_placed(tmp_path):
    folder = write_series(tmp_path / "ct")
    (folder / "notes.txt").write_text("not DICOM")
    scan = read_scan(folder)
    assert scan_format(folder) == "dicom"
    assert scan.name == "ct"
    assert scan.voxels.shape == (1, COLUMNS, ROWS, SLICES)
    assert scan.grid.spacing == pytest.approx((0.5, 0.75, 2.5))
    for i, j, k in ((0, 0, 0), (3, 1, 0), (6, 4, 5), (0, 2, 3)):
        assert scan.voxels[0, i, j, k] == 2 * (100 * k + COLUMNS * j + i) - 1000
        lps = np.array([-20, 30, 40]) + TILT @ (0.5 * i, 0.75 * j, 2.5 * k)
        np.testing.assert_allclose((scan.affine @ (i, j, k, 1))[:3], lps * (-1, -1, 1), atol=1e-6)


def test_the_order_is_the_normals(tmp_path):
    """Slices that were acquired downwards still run along the normal; a volume is never mirrored."""
    positions = (np.array([-20, 30, 40]) + 2.5 * np.arange(SLICES)[:, None] * TILT[:, 2])[::-1]
    scan = read_scan(write_series(tmp_path / "ct", positions=positions))
    assert np.linalg.det(scan.affine[:3, :3]) > 0
    assert scan.voxels[0, 0, 0, 0] == 2 * 100 * (SLICES - 1) - 1000


def test_a_tilted_gantry_stays_a_sheared_grid(tmp_path):
    step = np.array([0, 0.8, 2.4])
    scan = read_scan(write_series(tmp_path / "ct", directions=np.eye(3), positions=np.arange(SLICES)[:, None] * step))
    np.testing.assert_allclose(scan.affine[:3, 2], step * (-1, -1, 1))
    np.testing.assert_allclose(scan.affine[:3, :2], np.diag([-0.5, -0.75, 1])[:, :2])


def test_labels_of_a_series_become_nifti(tmp_path):
    scan = read_scan(write_series(tmp_path / "ct"))
    segmentation = Segmentation(scan.voxels[0].long() % 2, Names.from_values([1]), scan.affine)
    write_segmentation(segmentation, tmp_path / "labels.nii.gz", scan.source)
    assert read_scan(tmp_path / "labels.nii.gz").grid.distance_mm(scan.grid) < 1e-4


def test_slices_with_an_identifier_each_are_one_series(tmp_path):
    def anonymise(k, dataset):
        dataset.SeriesInstanceUID = f"1.2.826.0.1.{k + 1}"

    usual = read_scan(write_series(tmp_path / "usual"))
    anonymised = read_scan(write_series(tmp_path / "anonymised", change=anonymise))
    assert anonymised.voxels.equal(usual.voxels)
    np.testing.assert_allclose(anonymised.affine, usual.affine)


@pytest.mark.parametrize(
    "key", ["SeriesNumber", "SeriesDescription", "Modality", "PatientID"], ids=lambda key: key.lower()
)
def test_slices_of_two_series_are_not_stacked(tmp_path, key):
    def anonymise(k, dataset):
        dataset.SeriesInstanceUID, dataset.PatientID = f"1.2.826.0.1.{k + 1}", "somebody"
        other = {"SeriesNumber": 2, "SeriesDescription": "scout", "Modality": "MR", "PatientID": "somebody else"}
        if k == 2:
            setattr(dataset, key, other[key])

    folder = write_series(tmp_path / "ct", change=anonymise)
    with pytest.raises(UnreadableFile, match=r"expected one series, found 6 among 6: .*, 1 file, .*; number"):
        read_scan(folder)
    assert read_scan(tmp_path / "ct#0.1.3").grid.shape[2] == 1


def test_elements_that_somebody_left_out_do_not_part_slices(tmp_path):
    def anonymise(k, dataset):
        dataset.SeriesInstanceUID = f"1.2.826.0.1.{k + 1}"
        if k % 2:
            del dataset.SeriesDescription, dataset.SeriesNumber

    assert read_scan(write_series(tmp_path / "ct", change=anonymise)).grid.shape[2] == SLICES


def test_a_number_chooses_among_slices_with_an_identifier_each(tmp_path):
    for number, slices in ((3, 6), (4, 2)):

        def anonymise(k, dataset, number=number):
            dataset.SeriesInstanceUID = f"1.2.826.0.{number}.{k}"

        positions = 2.5 * np.arange(slices)[:, None] * TILT[:, 2]
        write_series(tmp_path / "study", number=number, positions=positions, change=anonymise)
    with pytest.raises(UnreadableFile, match="found 8 among 8"):
        read_scan(tmp_path / "study")
    assert read_scan(tmp_path / "study#3").grid.shape[2] == 6


def test_several_series_are_listed_and_chosen(tmp_path):
    write_series(tmp_path / "study", number=3, uid="1.2.826.0.1.77")
    write_series(tmp_path / "study", number=12, uid="1.2.826.0.1.4242", positions=np.arange(4)[:, None] * TILT[:, 2])
    with pytest.raises(UnreadableFile, match=r"found 2 among 2: number 3, 'series 3', 6 files.*number 12, 'series 12'"):
        read_scan(tmp_path / "study")
    assert read_scan(tmp_path / "study#3").voxels.shape[3] == 6
    assert read_scan(str(tmp_path / "study#12")).voxels.shape[3] == 4
    assert read_scan(tmp_path / "study#.4242").voxels.shape[3] == 4
    with pytest.raises(UnreadableFile, match="with number 9 or ending in it, found 0 among 2"):
        read_scan(tmp_path / "study#9")


def regular():
    return np.arange(SLICES)[:, None] * 2.5 * TILT[:, 2]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.delete(regular(), 2, axis=0), r"got 5\.00 mm between slices 2 and 3 where 2\.50 mm are usual"),
        (np.concatenate([regular(), regular()]), "slices lie where others lie .6 of 12., the first at"),
        (np.cumsum([1, 2, 3, 2, 1, 2])[:, None] * TILT[:, 2], "expected evenly spaced slices"),
    ],
    ids=["missing", "repeated", "uneven"],
)
def test_irregular_slices_are_refused(tmp_path, positions, message):
    with pytest.raises(UnreadableFile, match=message):
        read_scan(write_series(tmp_path / "ct", positions=positions))


def test_a_copy_of_a_slice_is_named(tmp_path):
    folder = write_series(tmp_path / "ct")
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / f"copy of {first.name}")
    with pytest.raises(UnreadableFile, match=rf"is the same image as (copy of )?{re.escape(first.name)}; remove one"):
        read_scan(folder)


def test_rounded_positions_are_regular(tmp_path):
    positions = np.round(np.arange(40)[:, None] * 0.625 * TILT[:, 2], 2)
    assert read_scan(write_series(tmp_path / "ct", positions=positions)).voxels.shape[3] == 40


def test_a_localiser_is_named_to_be_moved_out(tmp_path):
    """The first slice in the order of names is the odd one: what most slices have counts, not what the first has."""

    def turn(k, dataset):
        if k == 0:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    with pytest.raises(UnreadableFile, match=r"different directions .*; 1 of 6 are unlike the others: 0-1\.dcm; move"):
        read_scan(write_series(tmp_path / "ct", change=turn))


def test_slices_of_two_sizes_are_refused(tmp_path):
    def shrink(k, dataset):
        if k == 2:
            dataset.Rows, dataset.PixelData = ROWS - 1, dataset.PixelData[: -2 * COLUMNS]

    with pytest.raises(UnreadableFile, match=r"one size, got \(4, 7\), \(5, 7\); 1 of 6 .*: 74-1\.dcm; move"):
        read_scan(write_series(tmp_path / "ct", change=shrink))


def test_slices_without_a_place_make_no_volume(tmp_path):
    def forget(k, dataset):
        del dataset.ImagePositionPatient

    with pytest.raises(UnreadableFile, match="6 images without position"):
        read_scan(write_series(tmp_path / "ct", change=forget))


def test_one_slice_is_a_2d_image(tmp_path):
    scan = read_scan(write_series(tmp_path / "ct", positions=[(0, 0, 0)]))
    assert scan.voxels.shape == (1, COLUMNS, ROWS, 1)
    assert scan.grid.spacing == pytest.approx((0.5, 0.75, 2.5))


def test_a_projection_without_a_place_is_read(tmp_path):
    folder = tmp_path / "xray"
    folder.mkdir()
    dataset = raw_slice(0)
    dataset.SeriesInstanceUID = generate_uid()
    dataset.save_as(folder / "x.dcm", enforce_file_format=True)
    assert not read_scan(folder).spacing_known
    dataset.PixelSpacing = [0.75, 0.5]
    dataset.save_as(folder / "x.dcm", enforce_file_format=True)
    scan = read_scan(folder)
    assert scan.spacing_known
    assert scan.grid.spacing[:2] == pytest.approx((0.5, 0.75))


def test_one_file_is_a_series_of_one_image(tmp_path):
    """As ultrasound and X-rays are: what else lies in their folder are other images."""
    for k in range(3):
        dataset = raw_slice(k)
        dataset.SeriesInstanceUID, dataset.Modality = "1.2.826.0.1.7", "US"
        dataset.save_as(tmp_path / f"IM{k}", enforce_file_format=True)
    scan = read_scan(tmp_path / "IM1")
    assert (scan.name, scan.source.format, scan.voxels.shape) == ("IM1", "dicom", (1, COLUMNS, ROWS, 1))
    assert scan.voxels[0, 0, 0, 0] == 100
    assert files_in_order(tmp_path / "IM1") == [tmp_path / "IM1"]


def test_one_slice_of_a_volume_that_was_made_anonymous_file_by_file_is_no_scan(tmp_path):
    def of_its_own(_, dataset):
        dataset.SeriesInstanceUID = generate_uid()

    folder = write_series(tmp_path / "ct", change=of_its_own)
    with pytest.raises(UnreadableFile, match="is one slice of a series"):
        read_scan(folder / "37-1.dcm")


def test_a_damaged_file_beside_an_image_does_not_matter(tmp_path):
    one = write_series(tmp_path / "one", positions=[(0, 0, 0)])
    (one / "bad.dcm").write_bytes((one / "0-1.dcm").read_bytes()[:400])
    assert read_scan(one / "0-1.dcm").grid.shape[2] == 1


def test_one_slice_of_a_volume_is_no_scan(tmp_path):
    folder = write_series(tmp_path / "ct")
    (folder / "notes.txt").write_text("not DICOM")
    with pytest.raises(
        UnreadableFile, match=rf"37-1\.dcm: is one slice of a series, and 0-1\.dcm another; .*, {folder}"
    ):
        read_scan(folder / "37-1.dcm")
    for file in folder.glob("*.dcm"):
        if file.name != "37-1.dcm":
            file.unlink()
    assert read_scan(folder / "37-1.dcm").grid.shape == (COLUMNS, ROWS, 1)


def test_a_series_without_preambles_is_read(tmp_path):
    folder, usual = write_series(tmp_path / "ct"), read_scan(write_series(tmp_path / "usual"))
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    (folder / "notes.txt").write_text("not DICOM")
    assert read_scan(folder).voxels.equal(usual.voxels)


def test_enhanced_files_are_refused(tmp_path):
    def enhance(k, dataset):
        dataset.NumberOfFrames = 20

    with pytest.raises(UnreadableFile, match="got 20 images in one"):
        read_scan(write_series(tmp_path / "ct", positions=[(0, 0, 0)], change=enhance))


def test_hidden_companions_of_another_system_are_passed_over(tmp_path):
    write_series(tmp_path / "ct")
    (tmp_path / "ct" / "._0.dcm").write_bytes(b"Mac OS X")
    assert read_scan(tmp_path / "ct").grid.shape == (COLUMNS, ROWS, SLICES)


def test_a_damaged_slice_without_a_suffix_is_not_passed_over(tmp_path):
    write_series(tmp_path / "ct")
    for number, path in enumerate(sorted((tmp_path / "ct").iterdir())):
        path.rename(tmp_path / "ct" / f"IM{number}")
    (tmp_path / "ct" / "README").write_text("what lies here")
    assert read_scan(tmp_path / "ct").grid.shape[2] == SLICES
    last = tmp_path / "ct" / f"IM{SLICES - 1}"
    last.write_bytes(bytes(132) + last.read_bytes()[132:])
    with pytest.raises(UnreadableFile, match=f"{last.name}: named as a DICOM file, it is none"):
        read_scan(tmp_path / "ct")


def test_a_folder_without_dicom_names_its_folders(tmp_path):
    (tmp_path / "study" / "SE01").mkdir(parents=True)
    (tmp_path / "study" / "notes.txt").write_text("hello")
    with pytest.raises(UnreadableFile, match=r"found none; give one of its folders \(SE01\)"):
        read_scan(tmp_path / "study")


def test_a_real_file_of_pydicom(tmp_path):
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    source.save_as(tmp_path / "slice.dcm")
    scan = read_scan(tmp_path)
    expected = source.pixel_array.T * float(source.RescaleSlope) + float(source.RescaleIntercept)
    np.testing.assert_allclose(scan.voxels[0, :, :, 0], expected)
