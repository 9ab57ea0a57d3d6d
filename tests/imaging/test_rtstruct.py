import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from imaging.dicom_series import NAMES, TILT, series, written_as
from lowshot.errors import GridMismatch, InputError, UnreadableFile
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.label_maps import names_within, read_labelled, read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Scan, Segmentation

SKEWED = np.eye(4)
SKEWED[:3, :3] = TILT * (0.7, 0.7, 2.0)


@pytest.fixture
def written(tmp_path):
    """A scan, a segmentation of it, and its file."""
    return written_as(".rtstruct.dcm", tmp_path)


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


def structure_set(scan, path, *contours, kind="CLOSED_PLANAR", name="liver", **roi):
    """A file with one structure, whose contours are given in voxels (i, j) of slice 3 of a scan."""
    content, structure, drawn = Dataset(), Dataset(), Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    content.file_meta.MediaStorageSOPClassUID = content.SOPClassUID = RTStructureSetStorage
    content.file_meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID = generate_uid()
    content.Modality, content.SpecificCharacterSet = "RTSTRUCT", "ISO_IR 192"
    structure.ROINumber, structure.ROIName, drawn.ReferencedROINumber = 7, name, 7
    for key, value in roi.items():
        setattr(structure, key, value)
    drawn.ContourSequence = []
    for corners in contours:
        voxels = np.column_stack([np.array(corners, dtype=float), np.full(len(corners), 3), np.ones(len(corners))])
        contour = Dataset()
        contour.ContourGeometricType = kind
        contour.ContourData = [f"{mm:.4f}" for mm in ((voxels @ scan.affine.T)[:, :3] * (-1, -1, 1)).ravel()]
        drawn.ContourSequence.append(contour)
    content.StructureSetROISequence, content.ROIContourSequence = [structure], [drawn]
    content.save_as(path, enforce_file_format=True)
    return path


def box(first, last):
    return [(first, first), (last, first), (last, last), (first, last)]


def drawn(tmp_path, *contours, **how):
    """The pixels of slice 3 that are inside, in a series of 12 by 12 pixels."""
    scan = Scan("s", torch.zeros(1, 12, 12, 6), SKEWED)
    path = structure_set(scan, tmp_path / "set.dcm", *contours, **how)
    labels = read_labels(path, Names.of({1: "liver"}), like=scan)[0].labels
    assert not labels[..., [0, 1, 2, 4, 5]].any()
    return {tuple(at) for at in labels[..., 3].nonzero().tolist()}


def pixels(first, last):
    return {(i, j) for i in range(first, last + 1) for j in range(first, last + 1)}


def test_a_contour_through_centres_holds_them(tmp_path):
    """Written with four digits, on an oblique grid."""
    assert drawn(tmp_path, box(2, 7)) == pixels(2, 7)


def test_an_inner_contour_is_a_hole_and_what_lies_in_that_is_inside(tmp_path):
    outer, hole, island = box(0.5, 10.5), box(2.5, 8.5), box(4.5, 6.5)
    expected = (pixels(1, 10) - pixels(3, 8)) | pixels(5, 6)
    for order in ((outer, hole, island), (island, outer, hole)):
        assert drawn(tmp_path, *order) == expected
        assert drawn(tmp_path, *order, kind="CLOSEDPLANAR_XOR") == expected


def test_neighbours_and_repetitions_do_not_erase_each_other(tmp_path):
    assert drawn(tmp_path, box(1, 4), box(1, 4)) == pixels(1, 4)
    assert drawn(tmp_path, box(1, 5), box(4, 8)) == pixels(1, 5) | pixels(4, 8)


def test_keyholes_and_a_repeated_first_point(tmp_path):
    keyhole = [(0.5, 0.5), (9.5, 0.5), (9.5, 9.5), (0.5, 9.5), (0.5, 5), (3.5, 5), (3.5, 6.5), (6.5, 6.5), (6.5, 3.5)]
    keyhole += [(3.5, 3.5), (3.5, 5), (0.5, 5), (0.5, 0.5)]
    assert drawn(tmp_path, keyhole) >= pixels(1, 9) - pixels(3, 6) - {(k, 5) for k in range(4)}
    assert not drawn(tmp_path, keyhole) & {(5, 4), (5, 5), (5, 6)}


def test_a_contour_beside_the_image_is_refused_and_one_across_its_border_cut(tmp_path):
    assert drawn(tmp_path, box(-4.5, 2.5)) == pixels(0, 2)
    with pytest.raises(GridMismatch, match="liver: a contour lies beyond the image"):
        drawn(tmp_path, box(-9, -5))


@pytest.mark.parametrize("name", ["肝臓", "Foie gauche é", "liver" * 20, "a\\b"])
def test_names_in_any_script_and_of_any_length(written, tmp_path, name):
    scan, truth, _ = written
    names = Names.of({1: name, 2: f"{name} 2", 3: f"{name} 3"})
    for suffix in (".rtstruct.dcm", ".seg.dcm"):
        path = tmp_path / f"names{suffix}"
        write_segmentation(Segmentation(truth.labels, names, scan.affine), path, scan.source)
        found = names_within(path).foreground
        assert len(set(found)) == 3
        assert all(len(each) <= 64 for each in found)
        if len(name) < 60 and "\\" not in name:
            assert found == names.foreground
        assert read_labels(path, like=scan)[0].labels.max() == 2


def test_a_contour_of_thousands_of_points(tmp_path):
    """More than the 64 KB that an element with an explicit type can have."""
    scan = series(tmp_path / "ct", size=(600, 4))
    labels = torch.zeros(scan.grid.shape, dtype=torch.int16)
    labels[1, :, 2] = labels[3, :, 2] = 1
    labels[2, ::2, 2] = 1
    truth = Segmentation(labels, NAMES, scan.affine)
    write_segmentation(truth, tmp_path / "ct.rtstruct.dcm", scan.source)
    contours = pydicom.dcmread(tmp_path / "ct.rtstruct.dcm").ROIContourSequence[0].ContourSequence
    assert torch.equal(read_labels(tmp_path / "ct.rtstruct.dcm", NAMES, like=scan)[0].labels, labels)
    assert max(contour.NumberOfContourPoints for contour in contours) < 3000


def test_files_that_contradict_themselves_are_refused(written, tmp_path):
    scan, _, path = written
    twice, orphan = pydicom.dcmread(path), pydicom.dcmread(path)
    twice.StructureSetROISequence[1].ROINumber = 1
    orphan.ROIContourSequence[1].ReferencedROINumber = 99
    for content, message in ((twice, "two structures have the number 1"), (orphan, "a structure 99")):
        content.save_as(tmp_path / "odd.dcm")
        with pytest.raises(UnreadableFile, match=message):
            read_labels(tmp_path / "odd.dcm", NAMES, like=scan)


def test_another_patients_is_refused(written, tmp_path):
    _, _, path = written
    with pytest.raises(GridMismatch, match="was it drawn on another patient"):
        read_labels(path, NAMES, like=series(tmp_path / "other"))
