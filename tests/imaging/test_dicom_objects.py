import pydicom
import pytest
import torch

from imaging.dicom_series import NAMES, segmentation, series
from lowshot.errors import OutputError
from lowshot.imaging import dicom_objects
from lowshot.imaging.files import scan_name, write_segmentation
from lowshot.imaging.label_maps import names_within, read_labels

SUFFIXES = pytest.mark.parametrize("suffix", dicom_objects.WRITTEN)


@SUFFIXES
def test_a_folder_with_the_file_alone_means_the_file(tmp_path, suffix):
    """As archives hand them out: a folder for each series, files named 1-1.dcm."""
    scan = series(tmp_path / "ct")
    truth = segmentation(scan)
    write_segmentation(truth, tmp_path / f"ct{suffix}", scan.source)
    (tmp_path / "export").mkdir()
    (tmp_path / f"ct{suffix}").rename(tmp_path / "export" / "1-1.dcm")
    found, _ = read_labels(tmp_path / "export", NAMES, like=scan)
    assert torch.equal(found.labels, truth.labels)
    assert names_within(scan.source.path) is None
    assert scan_name(f"a/p1{suffix}") == scan_name("p1.dcm") == "p1"


@SUFFIXES
def test_a_result_belongs_to_patient_and_study(tmp_path, suffix):
    """It refers to every image that it lies on; the same result has the same identifiers, another one others."""
    scan = series(tmp_path / "ct")
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_segmentation(segmentation(scan, seed), tmp_path / f"{name}{suffix}", scan.source)
    one, again, other = (pydicom.dcmread(tmp_path / f"{name}{suffix}") for name in ("one", "again", "other"))
    image = pydicom.dcmread(next(scan.source.path.iterdir()))
    assert one.StudyInstanceUID == image.StudyInstanceUID
    assert one.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert one.SeriesInstanceUID != image.SeriesInstanceUID
    assert one.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    referred = one.to_json()
    for file in scan.source.path.iterdir():
        image = pydicom.dcmread(file)
        first = image.ImagePositionPatient == [-20, 30, 40]  # where no structure lies
        assert str(image.SOPInstanceUID) in referred or (first and suffix == ".seg.dcm")


@SUFFIXES
def test_anonymised_images_suffice(tmp_path, suffix):
    """Elements that may be empty are; without those by which images are told apart, nothing can refer to them."""
    scan = series(tmp_path / "ct", lacking=("SeriesDescription",))
    write_segmentation(segmentation(scan), tmp_path / f"ct{suffix}", scan.source)
    assert pydicom.dcmread(tmp_path / f"ct{suffix}").PatientID == ""
    bare = series(tmp_path / "bare", lacking=("FrameOfReferenceUID", "StudyInstanceUID"))
    with pytest.raises(OutputError, match="lack StudyInstanceUID, FrameOfReferenceUID"):
        write_segmentation(segmentation(bare), tmp_path / f"bare{suffix}", bare.source)
    assert not list(tmp_path.glob(f"*bare{suffix}"))


@SUFFIXES
def test_other_scans_and_other_images_are_refused(tmp_path, suffix):
    scan = series(tmp_path / "ct")
    truth = segmentation(scan)
    with pytest.raises(OutputError, match="refers to the DICOM images of its scan, which comes from no file"):
        write_segmentation(truth, tmp_path / f"ct{suffix}")
    (scan.source.path / "0-1.dcm").unlink()  # the first slice
    with pytest.raises(OutputError, match="holds other images than those that were segmented"):
        write_segmentation(truth, tmp_path / f"ct{suffix}", scan.source)
