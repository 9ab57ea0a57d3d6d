"""What is taken for a DICOM file, and what is not."""

import struct
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lowshot.imaging.dicom_file import is_dicom_file, read_dataset


def real(name):
    return Path(get_testdata_file(name))


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm", "ExplVR_LitEndNoMeta.dcm"]
)
def test_real_files_are_told(name):
    assert is_dicom_file(real(name))


@pytest.mark.parametrize(
    ("name", "syntax"), [("CT_small.dcm", ExplicitVRLittleEndian), ("MR_small_implicit.dcm", ImplicitVRLittleEndian)]
)
@pytest.mark.parametrize("meta", [True, False], ids=["with meta", "without meta"])
def test_files_without_a_preamble_are_told_and_read(tmp_path, name, syntax, meta):
    whole, path = read_dataset(real(name)), tmp_path / "IM0"
    if meta:
        path.write_bytes(real(name).read_bytes()[132:])
    else:
        bare = read_dataset(real(name))
        del bare.file_meta, bare.preamble
        bare.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\0"
    assert is_dicom_file(path)
    found = read_dataset(path)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.SOPInstanceUID == whole.SOPInstanceUID
    assert (found.pixel_array == whole.pixel_array).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\0",
        b"a table of names and values, longer than the preamble" * 10,
        struct.pack("<HHI", 8, 8, 16) + bytes(200),
        struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100" * 30,
        struct.pack("<HH2sH", 8, 0x16, b"UI", 4) + b"x.y\0",
        struct.pack("<HHI", 2, 0, 4) + b"\xff" * 300,
        struct.pack("<HHI", 8, 0x16, 2**31) + b"1.2.840",
    ],
    ids=range(8),
)
def test_other_files_are_not_taken_for_dicom(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert not is_dicom_file(tmp_path / "x")
