import builtins

import numpy as np
import pydicom
import pytest
import torch

from imaging.dicom_series import NAMES, SLICES, segmentation, series, written_as
from lowshot.errors import GridMismatch, InputError, MissingExtra, UnreadableFile
from lowshot.imaging.files import write_segmentation
from lowshot.imaging.label_maps import names_within, read_labelled, read_labels
from lowshot.imaging.scan import Scan, Segmentation


@pytest.fixture
def written(tmp_path):
    """A scan, a segmentation of it, and its file."""
    return written_as(".seg.dcm", tmp_path)


def reordered(scan: Scan, axes, flips) -> Scan:
    """The same voxels along other axes and in other directions."""
    onto = np.eye(4)[:, [*axes, 3]]
    shape = [scan.grid.shape[axis] for axis in axes]
    for axis in flips:
        onto[:3, 3] += onto[:3, axis] * (shape[axis] - 1)
        onto[:3, axis] *= -1
    voxels = torch.flip(scan.voxels[0].permute(*axes), list(flips))[None]
    return Scan(scan.name, voxels, scan.affine @ onto)


def test_what_is_written_is_read(written):
    scan, truth, path = written
    found, known = read_labels(path, NAMES, like=scan)
    assert torch.equal(found.labels, truth.labels)
    assert found.names is NAMES
    assert known is None
    assert names_within(path).foreground == NAMES.foreground
    looked_for = read_labelled(scan.source.path, path, names=NAMES).annotated
    assert looked_for == set(NAMES.foreground)  # an empty segment was


def test_an_independent_reader_sees_the_same(written):
    """Frame by frame, by the position that each frame tells of itself; pydicom unpacks the bits."""
    scan, truth, path = written
    content = pydicom.dcmread(path)
    seen = np.zeros(truth.labels.shape, dtype=int)
    for frame, about in zip(content.pixel_array, content.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(about.PlanePositionSequence[0].ImagePositionPatient, dtype=float) * (-1, -1, 1)
        k = np.linalg.solve(scan.affine, [*position, 1])[2]
        seen[:, :, round(k)][frame.T > 0] = about.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    np.testing.assert_array_equal(seen, truth.labels.numpy())


@pytest.mark.parametrize(("axes", "flips"), [((2, 0, 1), ()), ((0, 1, 2), (0, 2)), ((1, 2, 0), (1,))])
def test_it_lies_on_an_image_that_was_converted_and_turned(written, axes, flips):
    scan, truth, path = written
    turned = reordered(scan, axes, flips)
    found, _ = read_labels(path, NAMES, like=turned)
    assert torch.equal(found.labels, torch.flip(truth.labels.permute(*axes), flips))


def test_without_an_image_it_lies_on_its_own_grid(written):
    """Of the slices that have a structure; at the same places of the body."""
    scan, truth, path = written
    found, _ = read_labels(path)
    assert found.labels.shape[2] == truth.labels.shape[2] - 1
    on_scan = found.grid.arrangement(scan.grid).apply(found.labels.numpy(), 0)
    np.testing.assert_array_equal(on_scan, truth.labels)


def test_a_single_slice_fits_whatever_thickness_it_tells(written, tmp_path):
    scan, truth, _ = written
    labels = torch.zeros_like(truth.labels)
    labels[2:5, 1:3, 3] = 2
    write_segmentation(Segmentation(labels, NAMES, scan.affine), tmp_path / "one.seg.dcm", scan.source)
    assert torch.equal(read_labels(tmp_path / "one.seg.dcm", NAMES, like=scan)[0].labels, labels)


def test_nothing_found_is_a_result(written, tmp_path):
    scan, truth, _ = written
    nothing = Segmentation(torch.zeros_like(truth.labels), NAMES, scan.affine)
    write_segmentation(nothing, tmp_path / "none.seg.dcm", scan.source)
    assert not read_labels(tmp_path / "none.seg.dcm", NAMES, like=scan)[0].labels.any()


def test_another_image_is_refused(written):
    scan, _, path = written
    beside = scan.affine.copy()
    beside[:3, 3] += 0.3
    for affine, message in ((beside, "its voxels are not those"), (scan.affine @ np.diag([2, 2, 2, 1.0]), "not those")):
        with pytest.raises(GridMismatch, match=message):
            read_labels(path, NAMES, like=Scan("other", scan.voxels, affine))
    with pytest.raises(GridMismatch, match="reaches beyond the image"):
        read_labels(path, NAMES, like=Scan("part", scan.voxels[..., :3], scan.affine))


def test_a_damaged_file_is_one_message(written, tmp_path):
    scan, _, path = written
    content = path.read_bytes()
    for size in (400, len(content) // 2, len(content) - 20):
        (tmp_path / "cut.dcm").write_bytes(content[:size])
        with pytest.raises(UnreadableFile, match=r"cut\.dcm: "):
            read_labels(tmp_path / "cut.dcm", NAMES, like=scan)


def test_the_extra_is_named(written, monkeypatch):
    scan, truth, path = written
    real = builtins.__import__

    def without(name, *rest):
        if name == "highdicom":
            raise ImportError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for use in (lambda: read_labels(path, like=scan), lambda: write_segmentation(truth, path, scan.source)):
        with pytest.raises(MissingExtra, match=r"pip install 'lowshot\[dicom\]'"):
            use()


def test_a_tilted_gantry(tmp_path):
    """Frames lie where they say they do; they make no volume of their own, but those of the image."""
    step = np.array([0, 0.8, 2.4])
    scan = series(tmp_path / "tilted", positions=np.arange(SLICES)[:, None] * step, directions=np.eye(3))
    truth = segmentation(scan)
    write_segmentation(truth, tmp_path / "tilted.seg.dcm", scan.source)
    assert torch.equal(read_labels(tmp_path / "tilted.seg.dcm", NAMES, like=scan)[0].labels, truth.labels)
    with pytest.raises(InputError, match="no volume of their own; give the image"):
        read_labels(tmp_path / "tilted.seg.dcm", NAMES)


def test_gaps_between_frames_and_no_spacing_of_slices(written, tmp_path):
    scan, truth, _ = written
    labels = truth.labels.clone()
    labels[..., [0, 2, 3, 5]] = 0
    write_segmentation(Segmentation(labels, NAMES, scan.affine), tmp_path / "gaps.seg.dcm", scan.source)
    content = pydicom.dcmread(tmp_path / "gaps.seg.dcm")
    measures = content.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.pop("SpacingBetweenSlices", None)
    content.save_as(tmp_path / "gaps.dcm")
    assert torch.equal(read_labels(tmp_path / "gaps.dcm", NAMES, like=scan)[0].labels, labels)


def test_fractions_are_inside_from_a_half(written):
    scan, truth, path = written
    content = pydicom.dcmread(path)
    bits = content.pixel_array
    fractions = np.where(bits > 0, np.where(np.arange(bits.shape[2]) < 3, 127, 128), 0).astype(np.uint8)
    content.SegmentationType, content.SegmentationFractionalType = "FRACTIONAL", "PROBABILITY"
    content.MaximumFractionalValue = 255
    content.BitsAllocated = content.BitsStored = 8
    content.HighBit = 7
    content.PixelData = fractions.tobytes()
    content.save_as(path)
    expected = truth.labels.clone()
    expected[:3] = 0
    assert torch.equal(read_labels(path, NAMES, like=scan)[0].labels, expected)


def test_another_patients_is_refused(written, tmp_path):
    """Of the same size, at the same place."""
    scan, _, path = written
    other = series(tmp_path / "other")
    assert other.grid.same_as(scan.grid)
    with pytest.raises(GridMismatch, match="was it drawn on another patient"):
        read_labels(path, NAMES, like=other)
    converted = Scan("converted to another format", other.voxels, other.affine)
    assert read_labels(path, NAMES, like=converted)[0].labels.any()  # nothing tells whose image that is
