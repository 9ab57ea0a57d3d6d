"""Writing subjects as a data set is distributed: phantoms in the layout of real scans, DICOM included."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lowshot.atomic import atomic_path
from lowshot.datasets.dataset import Dataset
from lowshot.errors import SettingsError
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.grid import LPS_TO_RAS
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

CT_OFFSET = 1024
"""What CT's Hounsfield units are stored above."""


@dataclass(frozen=True)
class Place:
    """Paths of one case: ``n`` is its number from 1, ``k`` a slice's."""

    images: Mapping[str, str]
    labels: str


def _brain(name: str) -> str:
    return "Training/{n}/pre/" + name + ".nii.gz"


PLACES = {
    "chaos-mr": Place(
        {"T2-SPIR": "Train_Sets/MR/{n}/T2SPIR/DICOM_anon/IMG-0002-{k:05d}.dcm"},
        "Train_Sets/MR/{n}/T2SPIR/Ground/IMG-0002-{k:05d}.png",
    ),
    "chaos-ct": Place(
        {"CT": "Train_Sets/CT/{n}/DICOM_anon/i{k:04d},0000b.dcm"}, "Train_Sets/CT/{n}/Ground/liver_GT_{k:03d}.png"
    ),
    "btcv": Place({"CT": "RawData/Training/img/img{n:04d}.nii.gz"}, "RawData/Training/label/label{n:04d}.nii.gz"),
    "mrbrains18": Place(
        {"T1": _brain("reg_T1"), "IR": _brain("reg_IR"), "FLAIR": _brain("FLAIR")}, "Training/{n}/segm.nii.gz"
    ),
    "ms-cmrseg": Place({"C0": "C0LET2/patient{n}_C0.nii.gz"}, "labels/patient{n}_C0_manual.nii.gz"),
    "candi": Place(
        {"T1": "SchizBull_2008/HC/HC_{n:03d}/HC_{n:03d}_procimg.nii.gz"},
        "SchizBull_2008/HC/HC_{n:03d}/HC_{n:03d}_seg.nii.gz",
    ),
    "acdc": Place(
        {"cine": "training/patient{n:03d}/patient{n:03d}_frame01.nii.gz"},
        "training/patient{n:03d}/patient{n:03d}_frame01_gt.nii.gz",
    ),
    "busi": Place(
        {"ultrasound": "Dataset_BUSI_with_GT/benign/benign ({n}).png"},
        "Dataset_BUSI_with_GT/benign/benign ({n})_mask.png",
    ),
    "original-gt": Place({"image": "original/{n:06d}.png"}, "GT/{n:06d}.png"),
    "image-n": Place({"T2-SPIR": "image_{n}.nii.gz"}, "label_{n}.nii.gz"),
}


_DEEP = ("thalamus", "caudate", "putamen", "pallidum")
_SIDES = ("left", "right")
ALSO_CALLED = {
    "mrbrains18": {
        **{f"{side} cerebral cortex": "cortical grey matter" for side in _SIDES},
        **{f"{side} cerebral white matter": "white matter" for side in _SIDES},
        **{f"{side} {part}": "basal ganglia" for side in _SIDES for part in _DEEP},
        **{f"{which} ventricle": "ventricles" for which in ("left lateral", "right lateral", "third", "fourth")},
    },
    "candi": {
        **{f"{side} cerebral {part}": f"{side} {part}" for side in _SIDES for part in ("cortex", "white matter")},
        "cerebellum": "left cerebellar cortex",
    },
}
"""Names of the brain phantom's structures in a data set that divides a brain otherwise."""


def export(dataset: Dataset, subjects: Iterable[LabelledScan], folder: Path) -> None:
    """Write subjects as cases 1, 2, ...; a structure that the data set does not have becomes background.

    A subject with one channel stands for each of the data set's.

    Raises:
        SettingsError: no layout of this name.
        OutputError: full disk, no permission.
    """
    if dataset.name not in PLACES:
        raise SettingsError(f"no layout named {dataset.name!r}; there are: {', '.join(PLACES)}")
    place = PLACES[dataset.name]
    for n, subject in enumerate(subjects, start=1):
        slices = range(subject.truth.labels.shape[2])
        for channel, path in place.images.items():
            at = subject.scan.channels.index(channel) if channel in subject.scan.channels else 0
            _write_image(subject.scan, at, [folder / path.format(n=n, k=k + 1) for k in slices], dataset)
        values = _values(dataset, subject.truth)
        _write_labels(dataset, subject.truth, values, [folder / place.labels.format(n=n, k=k + 1) for k in slices])


def export_nnunet(subjects: Iterable[LabelledScan], folder: Path) -> None:
    """Write subjects as a raw data set of nnU-Net's, which says in ``dataset.json`` what it holds.

    All have the channels and the names of the first.

    Raises:
        SettingsError: there are none.
        OutputError: full disk, no permission.
    """
    first, count = None, 0
    for count, subject in enumerate(subjects, start=1):  # noqa: B007 (how many there were)
        first = first or subject
        scan = subject.scan
        for k in range(len(scan.channels)):
            write_volume(scan.voxels[k][None], scan.affine, folder / "imagesTr" / f"{scan.name}_{k:04d}.nii.gz")
        write_segmentation(subject.truth, folder / "labelsTr" / f"{scan.name}.nii.gz")
    if first is None:
        raise SettingsError("a data set of nnU-Net's: expected at least one subject")
    names = first.truth.names
    content = {
        "channel_names": {str(k): channel for k, channel in enumerate(first.scan.channels)},
        "labels": dict(zip(names.names, names.values, strict=True)),
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    with atomic_path(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _values(dataset: Dataset, truth: Segmentation) -> npt.NDArray[np.int64]:
    by_name, called = {name: value for value, name in dataset.structures.items()}, ALSO_CALLED.get(dataset.name, {})
    table = np.array([by_name.get(called.get(name, name), 0) for name in truth.names.names])
    return np.asarray(table[truth.labels.numpy()], dtype=np.int64)


def _write_image(scan: Scan, channel: int, paths: Sequence[Path], dataset: Dataset) -> None:
    """Into the file of each slice, or into the one file that all of them have."""
    voxels = scan.voxels[channel]
    if paths[0].suffix == ".dcm":
        for k, path in enumerate(paths):
            _write_dicom(scan, voxels[..., k].numpy(), k, path, dataset)
    elif paths[0].suffix == ".png":
        _write_png(voxels[..., 0].numpy(), paths[0])
    else:
        write_volume(voxels[None], scan.affine, paths[0])


def _write_labels(dataset: Dataset, truth: Segmentation, values: npt.NDArray[np.int64], paths: Sequence[Path]) -> None:
    if paths[0].suffix == ".png":
        for k, path in enumerate(paths):
            _write_png(values[..., k], path)
        return
    names = Names.of(dict(dataset.structures))
    write_segmentation(Segmentation(torch.from_numpy(names.encode(values)), names, truth.affine), paths[0])


def _write_png(columns_first: npt.NDArray[Any], path: Path) -> None:
    from PIL import Image

    grey = np.clip(np.rint(columns_first.T), 0, 255).astype(np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(grey)).save(temporary, format="PNG")


def _write_dicom(scan: Scan, columns_first: npt.NDArray[np.float32], k: int, path: Path, dataset: Dataset) -> None:
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

    ct = dataset.modality.startswith("CT")
    lps = LPS_TO_RAS @ scan.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    stored = np.clip(np.rint(columns_first.T) + (CT_OFFSET if ct else 0), 0, 2**16 - 1).astype(np.uint16)
    study = f"1.2.826.0.1.3680043.10.1.{sum(scan.name.encode())}"

    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = CTImageStorage if ct else MRImageStorage
    image.SOPInstanceUID = f"{study}.{k + 1}"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, f"{study}.0", f"{study}.0.1"
    image.PatientID, image.Modality, image.SeriesNumber, image.InstanceNumber = (
        scan.name,
        "CT" if ct else "MR",
        2,
        k + 1,
    )
    image.ImagePositionPatient = [float(f"{mm:.6g}") for mm in (lps @ [0, 0, k, 1])[:3]]
    image.ImageOrientationPatient = [float(f"{x:.8g}") for x in (lps[:3, :2] / spacing[:2]).T.ravel()]
    image.PixelSpacing = [float(f"{mm:.6g}") for mm in (spacing[1], spacing[0])]
    image.SliceThickness = float(f"{spacing[2]:.6g}")
    image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    if ct:
        image.RescaleIntercept, image.RescaleSlope = -CT_OFFSET, 1
    image.PixelData = stored.tobytes()
    with atomic_path(path) as temporary:
        image.save_as(temporary, enforce_file_format=True)
