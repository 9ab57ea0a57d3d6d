"""Sound files of every format, most of them written by the programs that write them in practice, to be damaged."""

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK
from PIL import Image
from pydicom.data import get_testdata_file

from imaging.mutants import Original

_NIBABELS = Path(nibabel.__file__).parent / "tests" / "data"
_NIFTI_HEADER, _NIFTI_2_HEADER, _MGH_HEADER, _PNG_HEADER, _TIFF_HEADER, _DICOM_HEADER = 352, 544, 90, 60, 400, 2000


def originals(scratch: Path) -> list[Original]:
    """One of each; ``scratch`` is a folder to write in."""
    return [*_neuroimaging(), *_itk(scratch), *_pictures(scratch), *_dicom(scratch)]


def _neuroimaging() -> list[Original]:
    """A real anatomical NIfTI, as nibabel carries it for its tests, plain and packed; NIfTI-2 and MGZ."""
    plain = (_NIBABELS / "anatomical.nii").read_bytes()
    second = nibabel.Nifti2Image(_volume(), np.diag([-1.0, 1, 2, 1])).to_bytes()
    mgh = nibabel.MGHImage(_volume(), np.diag([-1.0, 1, 2, 1])).to_bytes()
    return [
        Original("anatomical.nii", plain, _NIFTI_HEADER),
        Original("anatomical.nii.gz", gzip.compress(plain, mtime=0), _NIFTI_HEADER),
        Original("second.nii.gz", gzip.compress(second, mtime=0), _NIFTI_2_HEADER),
        Original("surface.mgz", gzip.compress(mgh, mtime=0), _MGH_HEADER),
    ]


def _itk(scratch: Path) -> list[Original]:
    """NRRD and MetaImage as SimpleITK writes them: packed, plain, and with the voxels in another file."""
    image = SimpleITK.GetImageFromArray(_volume())
    image.SetSpacing((0.9, 1.4, 3.3))
    image.SetOrigin((-30, 12, 55))
    made = []
    for name, data, packed in (
        ("packed.nrrd", None, True),
        ("plain.nrrd", None, False),
        ("packed.mha", None, True),
        ("plain.mha", None, False),
        ("detached.nhdr", "detached.raw", False),
        ("packed.nhdr", "packed.raw.gz", True),
        ("detached.mhd", "detached.raw", False),
        ("packed.mhd", "packed.zraw", True),
    ):
        SimpleITK.WriteImage(image, scratch / name, useCompression=packed)
        content = (scratch / name).read_bytes()
        beside = {} if data is None else {data: (scratch / data).read_bytes()}
        end = content.find(b"\n\n") if "nrrd" in name else content.find(b"LOCAL")
        made.append(Original(name, content, end if end > 0 else len(content), text=True, beside=beside))
    return made


def _pictures(scratch: Path) -> list[Original]:
    grey = SimpleITK.GetImageFromArray(_volume()[0].astype(np.uint16))
    SimpleITK.WriteImage(grey, scratch / "grey.png")
    SimpleITK.WriteImage(grey, scratch / "grey.tif")
    picture, packed = Image.fromarray((_volume()[0] % 4).astype(np.uint8)), io.BytesIO()
    picture.putpalette([0, 0, 0, 90, 90, 90, 160, 160, 160, 255, 255, 255])
    picture.save(packed, "png")
    picture.save(scratch / "palette.tif")
    Image.fromarray((_volume()[0] % 256).astype(np.uint8)).convert("LA").save(scratch / "opaque.png")
    return [
        Original("grey.png", (scratch / "grey.png").read_bytes(), _PNG_HEADER),
        Original("palette.png", packed.getvalue(), _PNG_HEADER),
        Original("opaque.png", (scratch / "opaque.png").read_bytes(), _PNG_HEADER),
        Original("grey.tif", (scratch / "grey.tif").read_bytes(), _TIFF_HEADER),
        Original("palette.tif", (scratch / "palette.tif").read_bytes(), _TIFF_HEADER),
    ]


def _dicom(scratch: Path) -> list[Original]:
    """Real slices, as pydicom carries them for its tests, also one of three; and one packed as archives do it."""
    single, packed = (Path(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small_RLE.dcm"))
    made = SimpleITK.GetImageFromArray(_volume()[:1])
    SimpleITK.WriteImage(made, scratch / "lossless.dcm", useCompression=True, compressor="JPEG")
    lossless, slices = (scratch / "lossless.dcm").read_bytes(), {}
    for k in range(3):
        dataset = pydicom.dcmread(single)
        dataset.ImagePositionPatient = [0, 0, 5 * k]
        dataset.Rows = dataset.Columns = 16
        dataset.PixelData = dataset.PixelData[: 2 * 16 * 16]
        content = io.BytesIO()
        dataset.save_as(content)
        slices[f"{k}.dcm"] = content.getvalue()
    return [
        Original("single.dcm", single.read_bytes(), _DICOM_HEADER, as_folder=True),
        Original("packed.dcm", packed.read_bytes(), _DICOM_HEADER, as_folder=True),
        Original("lossless.dcm", lossless, _DICOM_HEADER, as_folder=True),
        Original("bare.dcm", single.read_bytes()[132:], _DICOM_HEADER, as_folder=True),
        Original("1.dcm", slices.pop("1.dcm"), _DICOM_HEADER, beside=slices, as_folder=True),
    ]


def _volume() -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    return np.random.default_rng(0).integers(0, 1000, (5, 8, 7)).astype(np.int16)
