"""A small oblique CT series on disk."""

import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from lowshot.imaging.files import read_scan, write_segmentation
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

ROWS, COLUMNS, SLICES = 5, 7, 6
TILT = Rotation.from_euler("xyz", (10, -20, 5), degrees=True).as_matrix()
NAMES = Names(("background", "liver", "left kidney", "tumour"), (0, 6, 2, 9))


def raw_slice(k, pixels=None):
    """One slice with everything but its place."""
    if pixels is None:
        pixels = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) + 100 * k
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def write_series(
    folder, *, positions=None, directions=TILT, number=1, uid=None, size=None, change=lambda k, dataset: None
):
    """A CT series whose slices lie at ``positions`` (LPS mm); file names do not sort by position."""
    folder.mkdir(parents=True, exist_ok=True)
    if positions is None:
        positions = np.array([-20, 30, 40]) + 2.5 * np.arange(SLICES)[:, None] * directions[:, 2]
    uid = uid or generate_uid()
    for k, position in enumerate(positions):
        dataset = raw_slice(k, None if size is None else np.zeros(size, dtype=np.uint16))
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.SeriesDescription = uid, number, f"series {number}"
        dataset.ImageOrientationPatient = directions[:, :2].T.ravel().tolist()
        dataset.ImagePositionPatient = np.asarray(position).tolist()
        dataset.PixelSpacing = [0.75, 0.5]  # between rows, between columns
        dataset.SliceThickness = 2.5
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1000
        change(k, dataset)
        dataset.save_as(folder / f"{(k * 37) % 101}-{number}.dcm", enforce_file_format=True)
    return folder


def series(folder, lacking=(), **where):
    """The scan of a new series in ``folder``, with all that results in DICOM repeat of it but these elements."""
    study, frame = generate_uid(), generate_uid()

    def change(_, dataset):
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = study, frame
        for key in lacking:
            delattr(dataset, key)

    return read_scan(write_series(folder, change=change, **where))


def segmentation(scan, seed=0):
    """Two of three structures as noise, which has every kind of hole and corner; nothing in the first slice."""
    labels = torch.randint(0, 3, scan.grid.shape, generator=torch.Generator().manual_seed(seed)).to(torch.int16)
    labels[..., 0] = 0
    return Segmentation(labels, NAMES, scan.affine)


def written_as(suffix, folder):
    """A scan, a segmentation of it, and its file."""
    scan = series(folder / "ct")
    truth, path = segmentation(scan), folder / f"ct{suffix}"
    write_segmentation(truth, path, scan.source)
    return scan, truth, path
