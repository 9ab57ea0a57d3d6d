"""Whatever is wrong with a file, reading it gives one line that begins with its name."""

import errno
import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from imaging.stored_images import OBLIQUE, VOLUMES, image_array, save_nifti, with_forms
from lowshot.errors import BadVoxels, UnreadableFile, printable
from lowshot.imaging.files import read_scan, write_segmentation, write_volume
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.imaging.stored import reading


def refused(path, error=UnreadableFile):
    with pytest.raises(error) as caught:
        read_scan(path)
    message = str(caught.value)
    assert message.startswith(printable(str(path)))
    assert "\n" not in message
    return message


def test_a_missing_file_has_suggestions(tmp_path):
    save_nifti(tmp_path / "case_01.nii.gz", image_array())
    assert "Did you mean case_01.nii.gz?" in refused(tmp_path / "case_1.nii.gz")
    assert "no such file" in refused(tmp_path / "zzz.png")
    assert "folder" in refused(tmp_path / "nowhere" / "case.nii.gz")


@pytest.mark.parametrize("name", [f"{'x' * 300}.nii", f"{'x' * 300}/a.nii", "a\0b.nii"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    assert "cannot be looked up: File name too long" in refused(tmp_path / name) or "\0" in name


def test_a_folder_that_nobody_may_look_into_is_told(tmp_path, monkeypatch):
    """As the system does it: those who run the tests as root may look everywhere."""

    def stat(path, **more):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(type(tmp_path), "stat", stat)
    assert "cannot be looked up: Permission denied" in refused(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [*VOLUMES, ".mgz", ".png", ".tif"])
def test_a_file_that_may_not_be_read_is_told_and_needs_no_copy(tmp_path, monkeypatch, suffix):
    def refuse(path, *more):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"content")
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert refused(path).endswith("cannot be read: Permission denied; permit reading it")


def test_a_slice_that_may_not_be_read_is_told_and_needs_no_copy(tmp_path):
    with pytest.raises(UnreadableFile, match="cannot be read: Permission denied; permit"), reading(tmp_path, "DICOM"):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("suffix", [*VOLUMES, ".mgz", ".png", ".tif"])
@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"hello, I am no image\n", "not a|cannot be read")])
def test_empty_files_and_text_are_refused(tmp_path, suffix, content, message):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=message):
        read_scan(path)


@pytest.mark.parametrize("suffix", [*VOLUMES, ".mgz", ".png", ".tif"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"image{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 16)).astype(np.uint8)
    if suffix == ".mgz":
        nibabel.save(nibabel.MGHImage(noise, OBLIQUE), path)
    elif suffix in (".png", ".tif"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise[0]), path)
    else:
        write_volume(torch.from_numpy(noise)[None].float(), OBLIQUE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix.startswith(".nii"):
        image = nibabel.Nifti1Image(image_array(), OBLIQUE)
    else:
        image = nibabel.MGHImage(image_array(dtype=np.int32), OBLIQUE)
    stream = bytearray(image.to_bytes())
    if suffix.startswith(".nii"):
        stream[42:48] = np.array([30000] * 3, "<i2").tobytes()
    else:
        stream[4:16] = np.array([30000] * 3, ">i4").tobytes()
    path.write_bytes(gzip.compress(bytes(stream)) if suffix.endswith("z") else bytes(stream))
    message = refused(path)
    assert "claims" in message
    assert f"{27_000_000_000_000 * (2 if 'nii' in suffix else 4):,} bytes" in message


@pytest.mark.parametrize(
    ("suffix", "header"),
    [
        (".nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\nencoding: raw\nendian: little\n\n"),
        (".mha", "ObjectType = Image\nNDims = 3\nDimSize = 30000 30000 30000\nElementType = MET_SHORT\n"
                 "ElementDataFile = LOCAL\n"),
    ],
)  # fmt: skip
def test_an_itk_header_that_lies_is_refused_before_memory_is_taken(tmp_path, suffix, header):
    (tmp_path / f"image{suffix}").write_bytes(header.encode() + b"12")
    assert "54,000,000,000,000 bytes" in refused(tmp_path / f"image{suffix}")


def test_highly_compressed_files_are_not_taken_for_lies(tmp_path):
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        empty = Segmentation(torch.zeros(128, 128, 64, dtype=torch.int16), Names.from_values([1]), OBLIQUE)
        write_segmentation(empty, tmp_path / f"empty{suffix}")
        labels, _ = read_labels(tmp_path / f"empty{suffix}")
        assert labels.labels.shape == (128, 128, 64)


def test_gzip_and_its_name_must_agree(tmp_path):
    save_nifti(tmp_path / "a.nii", image_array())
    (tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    assert "rename it to b.nii" in refused(tmp_path / "b.nii.gz")
    save_nifti(tmp_path / "c.nii.gz", image_array())
    (tmp_path / "c.nii.gz").rename(tmp_path / "d.nii")
    assert "rename it to d.nii.gz" in refused(tmp_path / "d.nii")


def test_damage_inside_is_noticed(tmp_path):
    path = save_nifti(tmp_path / "image.nii.gz", image_array((30, 30, 30)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted(tmp_path, bad):
    array = image_array(dtype=np.float32)
    array[1, 2, :3] = bad
    assert "got 3 NaN or infinite voxels of 120" in refused(save_nifti(tmp_path / "x.nii", array), BadVoxels)


def test_complex_numbers_are_refused(tmp_path):
    assert "complex" in refused(save_nifti(tmp_path / "x.nii", image_array(dtype=np.complex64)), BadVoxels)


def test_a_grid_without_volume_is_refused(tmp_path):
    path = with_forms(tmp_path / "flat.nii", sform=(np.diag([1.0, 0.0, 1.0, 1.0]), 1))
    assert "no size or place" in refused(path)


def test_negative_sizes_are_refused(tmp_path):
    stream = bytearray(nibabel.Nifti1Image(image_array(), OBLIQUE).to_bytes())
    stream[42:44] = np.array([-4], "<i2").tobytes()
    (tmp_path / "x.nii").write_bytes(stream)
    assert "positive sizes" in refused(tmp_path / "x.nii")


def test_other_kinds_of_files_are_refused_with_what_is_possible(tmp_path):
    (tmp_path / "scan.jpg").write_bytes(b"x")
    assert ".nii.gz" in refused(tmp_path / "scan.jpg")
