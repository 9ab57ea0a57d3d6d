import shutil

import pydicom
import pytest
import torch

from imaging.dicom_series import NAMES, segmentation, series
from lowshot.errors import OutputError, UnreadableFile
from lowshot.imaging import dicom_objects
from lowshot.imaging.files import read_scan, scan_name, write_segmentation
from lowshot.imaging.label_maps import names_within, read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.inputs.scan_files import one_scan
from lowshot.inputs.table import Row
from lowshot.inputs.task_files import TaskFiles, read_task

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
    """It refers to every image that it lies on."""
    scan = series(tmp_path / "ct")
    for name in ("one", "other"):
        write_segmentation(segmentation(scan), tmp_path / f"{name}{suffix}", scan.source)
    one, other = (pydicom.dcmread(tmp_path / f"{name}{suffix}") for name in ("one", "other"))
    image = pydicom.dcmread(next(scan.source.path.iterdir()))
    assert one.StudyInstanceUID == image.StudyInstanceUID
    assert one.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert one.SeriesInstanceUID != image.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID
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


@SUFFIXES
def test_a_series_that_took_the_place_of_another_is_refused(tmp_path, suffix):
    scan = series(tmp_path / "ct")
    shutil.rmtree(tmp_path / "ct")
    series(tmp_path / "ct")
    with pytest.raises(OutputError, match="holds other images than those that were segmented"):
        write_segmentation(segmentation(scan), tmp_path / f"ct{suffix}", scan.source)


@SUFFIXES
def test_a_result_of_one_file_is_written_as_for_its_folder(tmp_path, suffix):
    folder = series(tmp_path / "ct", positions=[(0, 0, 0)])
    file = tmp_path / "ct" / "0-1.dcm"
    scan = read_scan(file)
    truth = Segmentation(torch.zeros(scan.grid.shape, dtype=torch.int16), NAMES, scan.affine)
    truth.labels[1:4, 2:4] = 1
    kind = dicom_objects.kind_written(tmp_path / f"ct{suffix}")
    dicom_objects.require_series(tmp_path / f"ct{suffix}", file, kind)
    write_segmentation(truth, tmp_path / f"ct{suffix}", scan.source)
    found, _ = read_labels(tmp_path / f"ct{suffix}", NAMES, like=folder)
    assert torch.equal(found.labels, truth.labels)
    (tmp_path / "ct.nii").write_bytes(b"no DICOM")
    with pytest.raises(OutputError, match=r"which comes from .*ct\.nii; choose another --format"):
        dicom_objects.require_series(tmp_path / f"ct{suffix}", tmp_path / "ct.nii", kind)


def test_other_dicom_files_are_no_label_maps(tmp_path):
    scan = series(tmp_path / "ct")
    with pytest.raises(UnreadableFile, match=r"modality CT; in DICOM, label maps are SEG or RTSTRUCT files"):
        read_labels(tmp_path / "ct" / "0-1.dcm", like=scan)


@SUFFIXES
def test_a_result_among_its_images_is_passed_over(tmp_path, suffix):
    """Some archives hand out both in one folder; alone it is no image, and that is said."""
    scan = series(tmp_path / "ct")
    write_segmentation(segmentation(scan), tmp_path / "ct" / f"result{suffix}", scan.source)
    assert torch.equal(read_scan(tmp_path / "ct").voxels, scan.voxels)
    (tmp_path / "alone").mkdir()
    (tmp_path / "ct" / f"result{suffix}").rename(
        tmp_path / "alone" / "RS.1.2.246.352.71"
    )  # as planning systems name it
    assert read_labels(tmp_path / "alone" / "RS.1.2.246.352.71", NAMES, like=scan)[0].labels.any()
    for where in (tmp_path / "alone", tmp_path / "alone" / "RS.1.2.246.352.71"):
        with pytest.raises(UnreadableFile, match=r"found none \(but (SEG|RTSTRUCT)\)"):
            read_scan(where)


def test_structures_that_one_of_two_patients_lacks_are_unknown_there(tmp_path):
    for case, structures in (("a", (1, 2)), ("b", (1,))):
        scan = series(tmp_path / case)
        names = Names.of({k: NAMES.names[k] if case == "a" else NAMES.names[k].upper() for k in structures})
        labels = segmentation(scan).labels.clamp(max=len(structures))
        write_segmentation(Segmentation(labels, names, scan.affine), tmp_path / f"{case}.seg.dcm", scan.source)
    rows = [Row(one_scan(tmp_path / case), tmp_path / f"{case}.seg.dcm") for case in ("a", "b")]
    task = read_task(TaskFiles(rows))
    assert task.names.foreground == ("liver", "left kidney")
    assert [each.annotated for each in task.support] == [{"liver", "left kidney"}, {"liver"}]
