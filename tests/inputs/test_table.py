from pathlib import Path

import pytest

from lowshot.errors import InputError, UnreadableFile
from lowshot.inputs.table import parse_slice, read_table


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "support.csv"
    path.write_text(text, encoding=encoding)
    return read_table(path)


def test_paths_start_at_the_tables_folder_unless_absolute(tmp_path):
    first, second = table(tmp_path, "image,labels\na.nii.gz,truth/a.nii.gz\n/data/b.nii.gz,/data/b_seg.nii.gz\n")
    assert first.scan.paths == tmp_path / "a.nii.gz"
    assert first.labels == tmp_path / "truth" / "a.nii.gz"
    assert second.scan.paths == Path("/data/b.nii.gz")
    assert (second.scan.name, second.labels) == ("b", Path("/data/b_seg.nii.gz"))


def test_a_column_for_each_channel(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "b.nii.gz").touch()
    (row,) = table(tmp_path, "name,T1,FLAIR,labels\nann,a.nii.gz,b.nii.gz,l.nii.gz\n")
    assert row.scan.paths == {"T1": tmp_path / "a.nii.gz", "FLAIR": tmp_path / "b.nii.gz"}
    assert row.scan.name == "ann"


def test_channels_may_be_folders_and_have_names_like_the_headings(tmp_path):
    (tmp_path / "dicom").mkdir()
    (tmp_path / "a.nii.gz").touch()
    (row,) = table(tmp_path, "image1,image_2,mag\ndicom#4,a.nii.gz,dicom\n")
    assert list(row.scan.paths) == ["image1", "image_2", "mag"]


def test_one_missing_file_is_told_when_it_is_read_and_a_column_of_none_at_once(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    assert len(table(tmp_path, "T1\nmissing.nii.gz\na.nii.gz\n")) == 2
    with pytest.raises(InputError, match=r"column 'age' is taken for a channel, but in no row .*63\)"):
        table(tmp_path, "T1,age\na.nii.gz,63\na.nii.gz,64\n")


def test_a_quoted_cell_may_hold_a_line_break(tmp_path):
    text = 'image,labels,annotated\na.png,b.png,"liver;\nleft kidney"\n'
    (row,) = table(tmp_path, text)
    assert row.annotated == {"liver", "left kidney"}
    with pytest.raises(InputError, match="line 4: no path"):
        table(tmp_path, text + ",b.png,\n")


def test_partly_annotated_scans(tmp_path):
    rows = table(
        tmp_path,
        "image,labels,annotated_slice,annotated\na.png,b.png,12,\na.png,b.png,0:88,liver; left kidney\na.png,b.png,,\n",
    )
    assert [row.annotated_slice for row in rows] == [12, (0, 88), None]
    assert [row.annotated for row in rows] == [None, frozenset({"liver", "left kidney"}), None]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_write(tmp_path, delimiter):
    text = "image,labels\r\na.nii.gz,b.nii.gz\r\n".replace(",", delimiter)
    assert len(table(tmp_path, text, encoding="utf-8-sig")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "image,labels,\na.nii.gz,b.nii.gz,\n",
        "image;labels\na.nii.gz;b.nii.gz\n;;\n",
        "sep=;\r\nimage;labels\r\na;b\r\n",
    ],
)
def test_empty_columns_and_rows_and_excels_first_line_are_passed_over(tmp_path, text):
    (row,) = table(tmp_path, text)
    assert row.labels is not None


def test_scans_without_labels(tmp_path):
    (row,) = table(tmp_path, "image\na.nii.gz\n")
    assert row.labels is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "expected a column 'image'"),
        ("labels,name\nb,x\n", "expected a column 'image'"),
        ("image,labels\n", "it has none"),
        ("image,labels,anotated\na,b,c\n", "'anotated' is known; did you mean annotated"),
        ("images,labels\na,b\n", "no column 'images' is known; did you mean image"),
        ("Image\na\n", "no column 'Image' is known; did you mean image"),
        ("T1,label\na,b\n", "no column 'label' is known; did you mean labels"),
        ("image,image\na,b\n", "different heading for every column"),
        ("image,\na,b\n", "line 2: more cells than headings"),
        ("image,,labels\na,b,c\n", "different heading for every column"),
        ("image,labels,age\na,b,7\n", "beside 'image' no column 'age' is known; there are: image, name"),
        ("image,labels\na.nii.gz,b.nii.gz,c\n", "line 2: more cells than headings"),
        ("image,labels\n,b.nii.gz\n", "line 2: no path in column image"),
        ("T1,T2\na.nii.gz\n", "line 2: no path in column T2"),
        ("image,annotated_slice\na,middle\n", "INDEX or AXIS:INDEX"),
        ("image,name\na,../x\n", "cannot name a scan"),
        ("image,name\na,..\n", r"a: '\.\.' cannot name a scan"),
        ('image,labels\n"' + "x" * 200_000 + '",b\n', r"support\.csv: expected a CSV, .* \(field larger than"),
        ('"' + "x" * 200_000 + '",labels\na,b\n', r"support\.csv: expected a CSV, .* \(field larger than"),
        ("T1\n" + "x" * 300 + "\n", r"support\.csv: column 'T1' is taken for a channel, but in no row"),
        ("T1\n~nobody-of-this-name/a.nii\n", r"support\.csv: column 'T1' is taken for a channel, but in no row"),
        ("T1\x1b[2J\na\n", r"support\.csv: the heading 'T1\\x1b\[2J' holds control characters"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        table(tmp_path, text)


def test_a_missing_or_binary_table(tmp_path):
    with pytest.raises(UnreadableFile, match="no such file"):
        read_table(tmp_path / "support.csv")
    (tmp_path / "support.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="UTF-8"):
        read_table(tmp_path / "support.csv")


def test_a_folder_that_is_named_like_a_table(tmp_path):
    (tmp_path / "support.csv").mkdir()
    with pytest.raises(InputError, match=r"support\.csv: expected a CSV, .* \(Is a directory\)"):
        read_table(tmp_path / "support.csv")


def test_the_home_of_somebody_unknown_is_a_path_like_any_other(tmp_path):
    (row,) = table(tmp_path, "image,labels\n~nobody-of-this-name/a.nii,~nobody-of-this-name/b.nii\n")
    assert row.scan.all_paths == (tmp_path / "~nobody-of-this-name" / "a.nii",)
    assert row.labels == tmp_path / "~nobody-of-this-name" / "b.nii"


@pytest.mark.parametrize(("word", "parsed"), [("", None), ("0", 0), ("17", 17), ("2:5", (2, 5))])
def test_slices(word, parsed):
    assert parse_slice(word, "here") == parsed


@pytest.mark.parametrize("word", ["a", "1:2:3", "1:", "1.5"])
def test_bad_slices(word):
    with pytest.raises(InputError, match="here: expected the annotated slice"):
        parse_slice(word, "here")
