import re

import numpy as np
import pytest
import SimpleITK

from imaging.stored_images import SHAPE, image_array
from lowshot.errors import UnreadableFile
from lowshot.imaging.files import read_scan
from lowshot.imaging.itk_header import voxel_files

SOUND_NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\n"
SOUND_METAIMAGE = b"ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nencoding: {}\nendian: little\ndata file: {}\n"
METAIMAGE = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_SHORT\nElementDataFile = {}\n"


def what(path):
    return "NRRD" if path.suffix in (".nrrd", ".nhdr") else "MetaImage"


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
    found = voxel_files(path, what(path))
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
    assert [file.name for file in voxel_files(path, what(path)).beside] == [f"s{k:02d}.raw" for k in range(1, 7)]
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
        ("NDims", "1"),
        ("NDims", "5"),
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
    with pytest.raises(UnreadableFile, match=re.escape(f"{path}: ") + "(expected (as many|two to four)|its header)"):
        read_scan(path)


LONG = b"A" * 2000


@pytest.mark.parametrize(
    "line",
    [
        *(
            field + b": " + LONG
            for field in (b"endian", b"space", b"kinds", b"units", b"space origin", b"no such field")
        ),
        b'labels: "' + LONG,
        b" content: " + LONG,
        b" # " + LONG,
        LONG + b": x:=y",
        LONG,
    ],
    ids=lambda line: line.replace(LONG, b"...").decode(),
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_long_lines_that_nrrdio_would_crash_on_are_refused(tmp_path, line, end):
    path = tmp_path / "x.nrrd"
    path.write_bytes((SOUND_NRRD + line + b"\n\n").replace(b"\n", end) + bytes(60))
    with pytest.raises(
        UnreadableFile, match=rf"^{re.escape(str(path))}: line 6 of its header has 2,\d+ bytes, expected"
    ):
        voxel_files(path, "NRRD")


def test_voxels_without_a_blank_line_before_them_are_no_line_of_the_header(tmp_path):
    path = tmp_path / "x.nrrd"
    path.write_bytes(SOUND_NRRD.replace(b"3 4 5", b"30 40 50") + b"\1" * 60_000)
    with pytest.raises(
        UnreadableFile, match=r"line 6 of its header has 60,000 bytes, expected .* a blank line after the"
    ):
        voxel_files(path, "NRRD")


@pytest.mark.parametrize(
    "line",
    [
        b"# " + LONG,
        b"content: " + LONG,
        b"key:=" + LONG,
        b"key:=" + LONG + b": " + LONG,
        LONG + b":=value",
        b"ElementDataFile:=foo.raw",
        b"data file:=foo.raw",
        b"encoding:=gzip",
        b"NDims:=7",
    ],
    ids=lambda line: line.replace(LONG, b"...").decode(),
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_what_somebody_added_to_an_nrrd_header_is_left_alone(tmp_path, line, end):
    path = tmp_path / "x.nrrd"
    path.write_bytes((SOUND_NRRD + line + b"\n\n").replace(b"\n", end) + bytes(range(60)))
    assert not voxel_files(path, "NRRD").packed
    assert read_scan(path).voxels.flatten().sort().values.tolist() == list(range(60))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_a_line_is_known(tmp_path, end):
    path = tmp_path / "x.nhdr"
    path.write_text(NRRD.format("gzip", "x.raw.gz").replace("\n", end), newline="")
    with pytest.raises(UnreadableFile, match=r"its voxels lie in another file, 'x\.raw\.gz', which is missing"):
        voxel_files(path, "NRRD")
    (tmp_path / "x.raw.gz").touch()
    assert voxel_files(path, "NRRD").packed


def test_a_file_is_judged_by_the_library_that_reads_it(tmp_path):
    (tmp_path / "x.nrrd").write_text("hello\n")
    with pytest.raises(UnreadableFile, match="cannot be read as NRRD"):
        read_scan(tmp_path / "x.nrrd")
    (tmp_path / "x.mha").write_bytes(b"NRRD = x\n" + SOUND_METAIMAGE.replace(b"= 3\n", b"= 2147483647\n"))
    with pytest.raises(UnreadableFile, match=r"x\.mha: expected two to four axes \(NDims\)"):
        voxel_files(tmp_path / "x.mha", "MetaImage")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"NDims = 3", b"NDims = 2147483647\nndims = 3"),
        (b"NDims = 3", b"NDims = 2147483647\nNDims = 3"),
        (b"NDims = 3", b"NDims\nX = 2147483647\nNDims = 3"),
        (b"NDims = 3", b"NDims = 3\nX\nNDims = 2147483647"),
        (b"NDims = 3", b"ndims = 3"),
        (b"DimSize = 3 4 5", b"DimSize = 3 4 5\n DimSize: -3 4 5"),
        (b"DimSize = 3 4 5", b"DimSize = 3 4 5\nElementNumberOfChannels = 1\nElementNumberOfChannels = -1"),
        (b"LOCAL", b"LOCAL\nElementDataFile = %n%s.raw 1 2 1"),
        (b"ElementDataFile = LOCAL", b"elementdatafile = LOCAL"),
    ],
)
def test_a_field_that_metaio_would_read_from_another_line_is_refused(tmp_path, before, after):
    """MetaIO takes the last of several, knows no other letters, and looks for a missing value on the next line."""
    path = tmp_path / "x.mha"
    path.write_bytes(SOUND_METAIMAGE.replace(before, after) + bytes(60))
    with pytest.raises(UnreadableFile, match=r"x\.mha: .*expected (at most one line|one line|two to four axes)"):
        voxel_files(path, "MetaImage")


@pytest.mark.parametrize(
    "line",
    [
        b"# by hand\n",
        b"\n",
        b"Comment =\n",
        b"Comment = NDims = 7\n",
        b"dimsize = 1\n",
        b"CompressedData = 0\n",
        b"a: b\r\n",
    ],
)
def test_other_lines_of_a_metaimage_header_are_left_alone(tmp_path, line):
    path = tmp_path / "x.mha"
    path.write_bytes(line + SOUND_METAIMAGE + bytes(range(60)))
    assert not voxel_files(path, "MetaImage").packed
    assert read_scan(path).voxels.flatten().sort().values.tolist() == list(range(60))
