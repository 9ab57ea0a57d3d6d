import numpy as np
import pydicom
import pytest
import torch

from imaging.dicom_series import NAMES, segmentation, series
from lowshot.errors import GridMismatch, InputError, UnreadableFile
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.label_maps import names_within, read_labelled, read_labels
from lowshot.imaging.scan import Scan, Segmentation


@pytest.fixture
def written(tmp_path):
    """A scan, a segmentation of it, and its file."""
    scan = series(tmp_path / "ct")
    truth = segmentation(scan)
    write_segmentation(truth, tmp_path / "ct.rtstruct.dcm", scan.source)
    return scan, truth, tmp_path / "ct.rtstruct.dcm"


def test_what_is_written_is_read(written):
    """Noise: touching corners, holes, islands in holes, voxels on the border."""
    scan, truth, path = written
    found, _ = read_labels(path, NAMES, like=scan)
    assert torch.equal(found.labels, truth.labels)
    assert names_within(path).foreground == NAMES.foreground


def test_a_contour_runs_halfway_to_the_neighbours(written, tmp_path):
    """Around one voxel: a diamond half a voxel wide, in the plane of its slice, in DICOM's millimetres."""
    scan, truth, _ = written
    labels = torch.zeros_like(truth.labels)
    labels[3, 2, 4] = 1
    write_segmentation(Segmentation(labels, NAMES, scan.affine), tmp_path / "one.rtstruct.dcm", scan.source)
    content = pydicom.dcmread(tmp_path / "one.rtstruct.dcm")
    (contour,) = content.ROIContourSequence[0].ContourSequence
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) * (-1, -1, 1)
    voxels = (np.linalg.solve(scan.affine, np.c_[points, np.ones(len(points))].T).T)[:, :3]
    assert {tuple(point) for point in voxels.round(4)} == {(2.5, 2, 4), (3.5, 2, 4), (3, 1.5, 4), (3, 2.5, 4)}
    (image,) = contour.ContourImageSequence
    slices = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, scan.source.path.iterdir())}
    position = np.array(slices[image.ReferencedSOPInstanceUID].ImagePositionPatient, dtype=float)
    np.testing.assert_allclose(position * (-1, -1, 1), (scan.affine @ (0, 0, 4, 1))[:3], atol=1e-4)


def test_contours_fit_an_image_that_was_turned(written):
    scan, truth, path = written
    onto = np.eye(4)[:, [2, 0, 1, 3]]
    turned = Scan(scan.name, scan.voxels.permute(0, 3, 1, 2), scan.affine @ onto)
    assert torch.equal(read_labels(path, NAMES, like=turned)[0].labels, truth.labels.permute(2, 0, 1))


def test_what_nobody_drew_is_unknown(written):
    """A planner's form lists structures that stay empty: the tumour here."""
    scan, _, path = written
    assert read_labelled(scan.source.path, path, names=NAMES).annotated == {"liver", "left kidney"}


def test_open_lines_and_points_are_no_structures(written, tmp_path):
    scan, _, path = written
    content = pydicom.dcmread(path)
    for contour in content.ROIContourSequence[0].ContourSequence:
        contour.ContourGeometricType = "OPEN_PLANAR"
    content.save_as(tmp_path / "open.dcm")
    found, _ = read_labels(tmp_path / "open.dcm", NAMES, like=scan)
    assert not (found.labels == 1).any()
    assert (found.labels == 2).any()


def test_contours_need_their_image(written):
    scan, _, path = written
    with pytest.raises(InputError, match="give the image that they were drawn on"):
        read_labels(path, NAMES)
    between = scan.affine.copy()
    between[:3, 3] += scan.affine[:3, 2] / 2
    with pytest.raises(GridMismatch, match="kidney: a contour lies between the slices"):
        read_labels(path, NAMES, like=Scan("other", scan.voxels, between))
    with pytest.raises(GridMismatch, match="beyond the image"):
        read_labels(path, NAMES, like=Scan("part", scan.voxels[..., :3], scan.affine))


def test_a_damaged_file_is_one_message(written, tmp_path):
    scan, _, path = written
    content = pydicom.dcmread(path)
    content.ROIContourSequence[0].ContourSequence[0].ContourData = [1.0, 2.0]
    content.save_as(tmp_path / "two.dcm")
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:3000])
    for name in ("two.dcm", "cut.dcm"):
        with pytest.raises(UnreadableFile, match=name):
            read_labels(tmp_path / name, NAMES, like=scan)
