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
        "liver_is_not_first,name,value\nx,liver,6\ny,left kidney,2\n",
        "value;colour;name\n6;red;liver\n2;blue;left kidney\n",
        "\ufeffvalue\tname\n6\tliver\n2\tleft kidney\n",
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


def test_the_background_may_have_any_value(tmp_path):
    names = read_names(written(tmp_path, "200\tliver\n255\tBackground\n500\tspleen\n"))
    assert names == Names(("Background", "liver", "spleen"), (255, 200, 500))


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
        ("1\tliver\n2\tliver\n", "liver occurs twice"),
        ("value,name\n1,liver\n2\n", "in every row"),
        ("value,name\nx,liver\n", "integer label value"),
    ],
)
def test_a_bad_table_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(UnknownLabel, match=message):
        read_names(written(tmp_path, text))


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"labels": 3}'])
def test_bad_json_is_refused_with_an_example(tmp_path, text):
    with pytest.raises(UnknownLabel, match=r"dataset\.json: expected"):
        read_names(written(tmp_path, text, "dataset.json"))


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    written(tmp_path, "1\tliver\n", "labels.txt")
    with pytest.raises(UnreadableFile, match=r"Did you mean labels\.txt"):
        read_names(tmp_path / "label.txt")


def test_an_image_is_no_names_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(UnknownLabel, match="text file"):
        read_names(tmp_path / "a.txt")
