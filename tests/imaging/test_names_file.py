import pytest

from lowshot.errors import UnknownLabel, UnreadableFile
from lowshot.imaging.names import Names
from lowshot.imaging.names_file import read_names

LIVER_AND_KIDNEY = Names.of({6: "liver", 2: "left kidney"})


def written(tmp_path, text, name="names.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "6\tliver\n2\tleft kidney\n",
        "2 left kidney\n6 liver\n",
        "# organs\n\n 6, liver \n2,left kidney",
        "6;liver\n2;left kidney\n",
        "6: liver\n2 = left kidney\n",
        "liver_is_not_first,name,value\nx,liver,6\ny,left kidney,2\n",
        "value;colour;name\n6;red;liver\n2;blue;left kidney\n",
        "\ufeffvalue\tname\n6\tliver\n2\tleft kidney\n",
        '6,"liver"\n2, "left kidney",\n',
        '"6";"liver"\n"2";"left kidney"\n',
        '6 "liver"\n2 "left kidney"\n',
        "LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n6,liver,221,130,101,255\n2,left kidney,1,2,3,255\n",
        "index\tname\tcolor\n6\tliver\t#ff0000\n2\tleft kidney\t#00ff00\n",
        "Label,Name\n6,liver\n2,left kidney\n",
        "label,value,name\nx,6,liver\ny,2,left kidney\n",
    ],
)
def test_every_form_of_text_gives_the_same_table(tmp_path, text):
    assert read_names(written(tmp_path, text)) == LIVER_AND_KIDNEY


@pytest.mark.parametrize(
    "text",
    [
        '{"labels": {"background": 0, "liver": 6, "left kidney": 2}, "numTraining": 1}',
        '{"labels": {"0": "background", "6": "liver", "2": "left kidney"}}',
        '{"6": "liver", "2": "left kidney"}',
    ],
)
def test_datasets_of_both_generations_of_nnunet(tmp_path, text):
    assert read_names(written(tmp_path, text, "dataset.json")) == LIVER_AND_KIDNEY


def test_a_name_keeps_its_commas_and_spaces_after_the_first_separator(tmp_path):
    assert read_names(written(tmp_path, "1\tkidney, left (upper) pole\n")).foreground == ("kidney, left (upper) pole",)


@pytest.mark.parametrize(
    "text",
    ['1,"kidney; left, ""upper"" pole"\n', 'name,value\n"kidney; left, ""upper"" pole",1\n'],
    ids=["without headings", "with headings"],
)
def test_quotes_keep_separators_in_a_name(tmp_path, text):
    assert read_names(written(tmp_path, text)).foreground == ('kidney; left, "upper" pole',)


def test_only_a_whole_line_is_a_comment(tmp_path):
    text = "  # of the abdomen\n1 segment #4\n#2 spleen\n"
    assert read_names(written(tmp_path, text)).foreground == ("segment #4",)


def test_the_background_may_have_any_value(tmp_path):
    names = read_names(written(tmp_path, "200\tliver\n255\tBackground\n500\tspleen\n"))
    assert names == Names(("Background", "liver", "spleen"), (255, 200, 500))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24\tunknown\n0\tbackground\n1\tliver\n", 0),
        ("24\tunknown\n0\tClear Label\n1\tliver\n", 0),
        ("0\tunknown\n24\tbackground\n1\tliver\n", 24),
        ("24\tunknown\n1\tliver\n", 24),
    ],
)
def test_the_word_background_is_preferred_then_value_0(tmp_path, text, value):
    assert read_names(written(tmp_path, text)).values[0] == value


ITK_SNAP = """################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    6   255    0    0        1  1  1    "liver"
    2     0  255    0     0.75  1  0    "left kidney, upper"
"""
FREESURFER = """#No. Label Name:                            R   G   B   A
0   Unknown                                 0   0   0   0
6   Left-Liver_1                            70  130 180 0

2   left_kidney                             245 245 245 0
"""


def test_label_descriptions_of_itk_snap(tmp_path):
    names = read_names(written(tmp_path, ITK_SNAP, "labels.label"))
    assert names == Names(("Clear Label", "left kidney, upper", "liver"), (0, 2, 6))


def test_colour_tables_of_freesurfer(tmp_path):
    names = read_names(written(tmp_path, FREESURFER, "lut.txt"))
    assert names == Names(("Unknown", "left_kidney", "Left-Liver_1"), (0, 2, 6))


@pytest.mark.parametrize("text", [ITK_SNAP, FREESURFER])
def test_a_line_unlike_the_others_is_no_name(tmp_path, text):
    with pytest.raises(UnknownLabel, match=r"expected every line to be one of an? .*, got '9 255 0 0 spleen'"):
        read_names(written(tmp_path, text + "9 255 0 0 spleen\n"))


def test_negative_values(tmp_path):
    assert read_names(written(tmp_path, "-7 liver\n")).values == (0, -7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing yet\n", "has none"),
        ("liver\n", "value<TAB>name"),
        ("1\n", "value<TAB>name"),
        ("1.5\tliver\n", "value<TAB>name"),
        ("1\tliver\n1\tspleen\n", "1 has two names, 'liver' and 'spleen'"),
        ("1\tliver\n2\tliver\n", r"names\.txt: label table: name liver occurs twice"),
        (f"{2**70} liver\n", r"names\.txt: label table: value 1180591620717411303424 is beyond 64 bits"),
        ("1\t\x1b[2J\n", r"names\.txt: label table: .* holds control characters"),
        ("9" * 5000 + "\tliver\n", "integer label value"),
        ("9" * 5000 + ' 255 0 0 1 1 1 "liver"\n', "integer label value"),
        ("9" * 5000 + " liver 255 0 0 0\n", "integer label value"),
        ("1\tliver\n2\t" + "x" * 200_000 + "\n3\tliver\n", "got a field larger than"),
        ('1,"' + "x" * 200_000 + "\n", r"names\.txt: expected .* got a field larger than"),
        ('value,name\n1,"' + "x" * 200_000 + '"\n', r"names\.txt: expected .* got a field larger"),
        ("0\tliver\n1\tspleen\n", "value 0 is named 'liver' and no value is named background"),
        ("value,name\n1,liver\n2\n", "in every row below the headings value and name, got 1 row with fewer cells"),
        (
            "index,label,name\n1,3,liver\n",
            "one column of label values, got index and label; call the one that is meant value",
        ),
        ("LabelValue,Name,R\n1,liver,0\n2\n3\n", "below the headings labelvalue and name, got 2 rows"),
        ("1,liver,255\n", "got further cells in '1,liver,255'; write the headings value and name above"),
        ("1\tliver\tred\n", "got further cells"),
        ("code,title\n1,liver\n", "or columns with the headings value and name, got 'code,title'"),
        ("value,name\nx,liver\n", "integer label value"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(UnknownLabel, match=message):
        read_names(written(tmp_path, text))


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"labels": 3}', "[" * 100_000, '{"liver": ' + "9" * 5000 + "}"])
def test_bad_json_is_refused_with_an_example(tmp_path, text):
    with pytest.raises(UnknownLabel, match=r"dataset\.json: expected"):
        read_names(written(tmp_path, text, "dataset.json"))


def test_half_a_letter_in_json_is_refused(tmp_path):
    with pytest.raises(UnknownLabel, match=r"dataset\.json: label table: the name 'a\\ud800' holds .* half a letter"):
        read_names(written(tmp_path, r'{"a\ud800": 3}', "dataset.json"))


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    written(tmp_path, "1\tliver\n", "labels.txt")
    with pytest.raises(UnreadableFile, match=r"Did you mean labels\.txt"):
        read_names(tmp_path / "label.txt")


def test_an_image_is_no_names_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(UnknownLabel, match=r"text file .* in UTF-8; save it as such"):
        read_names(tmp_path / "a.txt")
