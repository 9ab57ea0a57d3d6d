import re

import numpy as np
import pytest
import SimpleITK

from imaging.stored_images import SHAPE, image_array
from lowshot.errors import UnreadableFile
from lowshot.imaging.files import read_scan
from lowshot.imaging.itk_header import voxel_files

NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nencoding: {}\nendian: little\ndata file: {}\n"
METAIMAGE = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_SHORT\nElementDataFile = {}\n"


@pytest.mark.parametrize(
    ("suffix", "packed", "beside"),
    [
        (".nrrd", False, []),
        (".nrrd", True, []),
        (".mha", False, []),
        (".mha", True, []),
        (".nhdr", False, ["x.raw"]),
        (".nhdr", True, ["x.raw.gz"]),
        (".mhd", False, ["x.raw"]),
        (".mhd", True, ["x.zraw"]),
    ],
)
def test_what_simpleitk_writes_is_understood(tmp_path, suffix, packed, beside):
    path = tmp_path / f"x{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array().T), path, useCompression=packed)
    found = voxel_files(path)
    assert found.packed == packed
    assert list(found.beside) == [tmp_path / name for name in beside]
    np.testing.assert_array_equal(read_scan(path).voxels[0], image_array())


def write_slices(folder):
    for k in range(SHAPE[2]):
        (folder / f"s{k + 1:02d}.raw").write_bytes(image_array()[:, :, k].tobytes(order="F"))


@pytest.mark.parametrize("names", ["LIST\n" + "\n".join(f"s{k:02d}.raw" for k in range(1, 7)), "s%02d.raw 1 6 1"])
@pytest.mark.parametrize(("suffix", "header"), [(".nhdr", NRRD.replace("{}", "raw", 1)), (".mhd", METAIMAGE)])
def test_one_file_for_each_slice(tmp_path, suffix, header, names):
    write_slices(tmp_path)
    path = tmp_path / f"x{suffix}"
    path.write_text(header.format(names))
    assert [file.name for file in voxel_files(path).beside] == [f"s{k:02d}.raw" for k in range(1, 7)]
    np.testing.assert_array_equal(read_scan(path).voxels[0], image_array())


@pytest.mark.parametrize(("suffix", "header"), [(".nhdr", NRRD.replace("{}", "raw", 1)), (".mhd", METAIMAGE)])
@pytest.mark.parametrize("names", ["x.raw", "LIST\nx.raw\ny.raw", "../elsewhere/x.raw", "x" * 1000])
def test_missing_voxels_are_named(tmp_path, suffix, header, names):
    path = tmp_path / f"x{suffix}"
    path.write_text(header.format(names))
    with pytest.raises(UnreadableFile, match=re.escape(f"{path}: its voxels lie in another file, '")):
        read_scan(path)


@pytest.mark.parametrize(
    "names", ["%s%n%s 1 9 1", "s%999999999d.raw 1 9 1", "s%02d.raw 1 999999999 1", "s%d.raw 1 9 0", "%d"]
)
@pytest.mark.parametrize(("suffix", "header"), [(".nhdr", NRRD.replace("{}", "raw", 1)), (".mhd", METAIMAGE)])
def test_names_that_printf_would_stumble_over_are_refused(tmp_path, suffix, header, names):
    path = tmp_path / f"x{suffix}"
    path.write_text(header.format(names))
    with pytest.raises(UnreadableFile, match=re.escape(f"{path}: expected the files with its voxels as NAME%03d.raw")):
        read_scan(path)


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_a_detached_header_that_lies_is_refused_before_memory_is_taken(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array()), path)
    path.write_text(path.read_text().replace("6 5 4", "30000 30000 30000"))
    with pytest.raises(UnreadableFile, match=r"claims 54,000,000,000,000 bytes of voxels, x\.raw has 240\. It is"):
        read_scan(path)


def test_plain_voxels_may_not_be_fewer_than_claimed(tmp_path):
    """Plain voxels take as many bytes in the file as in memory; only packed ones may take fewer."""
    path = tmp_path / "x.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array()), path)
    path.write_bytes(path.read_bytes().replace(b"DimSize = 6 5 4", b"DimSize = 6 50 4"))
    with pytest.raises(UnreadableFile, match=r"claims 2,400 bytes of voxels, the file has \d+\. It"):
        read_scan(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NDims", "-1"),
        ("NDims", "1e308"),
        ("NDims", "4"),
        ("DimSize", "0 5 4"),
        ("DimSize", "6 5"),
        ("DimSize", "6 5 -4"),
        ("DimSize", "99999999999999999999 5 4"),
        ("CompressedDataSize", "2147483648"),
        ("CompressedDataSize", "-1"),
    ],
)
def test_numbers_that_metaio_would_crash_on_are_refused(tmp_path, field, value):
    path = tmp_path / "x.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array()), path, useCompression=True)
    content = re.sub(rb"(?m)^%b = .*$" % field.encode(), f"{field} = {value}".encode(), path.read_bytes(), count=1)
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=re.escape(f"{path}: ") + "(expected as many positive sizes|its header)"):
        read_scan(path)
