import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from lowshot.errors import InputError, OutputError
from lowshot.evaluation.comparable import with_blank_scan
from lowshot.evaluation.evaluate import evaluate
from lowshot.evaluation.scores import Pair
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.reporting.page import evaluation_page
from lowshot.reporting.write import evaluation_summary, write_evaluation

MALICIOUS = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
NAMES = Names.of({5: "liver", 9: MALICIOUS})


def pair(case, shift=0, missing=False, **more):
    labels = torch.zeros(12, 12, 12, dtype=torch.int16)
    labels[2:6, 2:6, 2:6] = 1
    truth = Segmentation(labels, NAMES, np.eye(4))
    prediction = None if missing else Segmentation(labels.roll(shift, 0), NAMES, np.eye(4))
    return Pair(case, prediction, truth, **more)


@pytest.fixture
def evaluation():
    notes = (f"note {MALICIOUS}",)
    return evaluate([pair("good"), pair(MALICIOUS, 2, notes=notes), pair("middle", 1), pair("gone", missing=True)])


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.unclosed, self.headings = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "input"}:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))  # of SVG

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.unclosed[-2:] == ["section", "h3"]:
            self.headings.append(data.strip())

    def all(self, wanted):
        return [attrs for tag, attrs in self.tags if tag == wanted]


def test_a_malicious_name_stays_text(evaluation):
    page = Page(evaluation_page(evaluation, {"command": MALICIOUS, MALICIOUS: {"seed": 1}}, pictured=1))
    pictures = page.all("image")
    assert len(pictures) == 3  # no scans were given: only the predictions' colours
    assert not page.all("script") + page.all("img")
    assert all(picture["href"].startswith("data:image/png;base64,") for picture in pictures)
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert sum(MALICIOUS in text for text in page.text) >= 8  # case, structure, note, setting, in text and titles
    assert page.unclosed == []


def test_nothing_is_fetched_from_anywhere(evaluation):
    html = evaluation_page(evaluation, {}, pictured=1)
    assert not re.findall(r"(?:https?:)?//[\w.]+|url\(|@import", re.sub(r"base64,[\w+/=]+", "", html))
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "script"}
    assert all(link["href"].startswith("#") for link in page.all("a"))
    assert {"default-src 'none'; img-src data:; style-src 'unsafe-inline'"} == {
        meta["content"] for meta in page.all("meta") if "http-equiv" in meta
    }


def test_worst_predictions_come_first_and_every_link_leads_somewhere(evaluation):
    page = Page(evaluation_page(evaluation, {}))
    assert [heading for heading in page.headings if heading != "liver"] == [
        MALICIOUS,
        "middle",
        "good",
    ]
    places = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= places
    assert [section["id"] for section in page.all("section") if "id" in section] == ["case-1", "case-2", "case-3"]


def test_a_page_of_many_cases_shows_the_worst_and_says_so(evaluation):
    html = evaluation_page(evaluation, {}, pictured=2)
    page, text = Page(html), said(html)
    assert [heading for heading in page.headings if heading != "liver"] == [MALICIOUS, "middle"]
    assert "The 2 worst scans of those with a prediction; the scores of the other 1 are in scores.csv." in text
    assert len(page.all("image")) == 6
    labels = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("role") == "img"]
    assert [label.split(", axial")[0] for label in labels[::3]] == [MALICIOUS, "middle"]
    bare = Page(evaluation_page(evaluation, {}, pictured=0))
    assert not bare.all("image")
    assert not any(attrs.get("href") == "#pictures" for attrs in bare.all("a"))


def test_notes_on_a_case_without_pictures_are_kept(evaluation):
    assert f"note {MALICIOUS}" in said(evaluation_page(evaluation, {}, pictured=0))


def test_ids_are_unique_and_labels_belong_to_their_switch(evaluation):
    page = Page(evaluation_page(evaluation, {}))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {label["for"] for label in page.all("label")} == {switch["id"] for switch in page.all("input")}


def test_truth_lies_over_prediction_over_scan():
    labels = torch.zeros(12, 12, 12, dtype=torch.int16)
    labels[2:6, 2:6, 2:6] = 1
    segmentation = Segmentation(labels, NAMES, np.eye(4))
    scan = Scan("a", torch.rand(1, 12, 12, 12, generator=torch.Generator().manual_seed(0)), np.eye(4))
    html = evaluation_page(evaluate([Pair("a", segmentation, LabelledScan(scan, segmentation))]), {})
    layers = [
        tag if tag == "g" else attrs["href"].split(";")[0] for tag, attrs in Page(html).tags if tag in {"image", "g"}
    ]
    assert layers == ["data:image/jpeg", "data:image/png", "g"] * 3
    assert "No scans were given" not in html


def test_what_a_reader_must_be_told(evaluation):
    html = evaluation_page(evaluation, {"seed": 7, "model": {"method": "mre-net", "support": ["1000", "1001"]}})
    text = said(html)
    assert "Not a medical device" in text
    assert "No prediction for 1 scan, each counting as Dice 0: gone." in text
    assert "95th percentiles" in text
    assert "seed 7" in text
    assert "model: method mre-net" in text
    assert "model: support 1000, 1001" in text
    assert "4 pairs of case and structure left out" in text
    assert "No scans were given (--images)" in text
    assert "the patient's right (R) is on the left of the picture" in text
    assert 'name="viewport"' in html


def said(html):
    """The text of a page, as one line."""
    return " ".join(" ".join(Page(html).text).split())


def test_expected_dice_stands_beside_the_true_one():
    pairs = [pair(str(k), k, expected_dice={"liver": 0.9 - k / 10}) for k in range(4)]
    html = evaluation_page(evaluate(pairs), {}, pictured=0)
    assert "rank correlation 1.00 (4 pairs)" in html
    assert "What the model expected" in html
    assert "expected Dice</th>" in html
    assert "expected Dice</th>" not in evaluation_page(evaluate([pair("a")]), {}, pictured=0)


def test_files_that_have_gone_since_leave_a_page_without_that_picture():
    class Gone(list):
        def __getitem__(self, position):
            if self.scored:
                raise InputError("a.nii.gz: no such file")
            return super().__getitem__(position)

    pairs = Gone([pair("a")])
    pairs.scored = False
    evaluation = evaluate(pairs)
    pairs.scored = True
    assert "no picture: a.nii.gz: no such file" in evaluation_page(evaluation, {})


def test_mixed_units_still_make_a_page():
    one = pair("pixels")
    pixels = with_blank_scan(one.truth, "pixels", spacing_known=False)
    nothing = Pair("nothing", *[Segmentation(torch.zeros(12, 12, 12, dtype=torch.int16), NAMES, np.eye(4))] * 2)
    html = evaluation_page(evaluate([pair("mm"), Pair("pixels", one.prediction, pixels), nothing]), {})
    assert "HD95 (mixed)" in html
    assert "not defined" in html
    assert "Bland" not in html


def test_written_files_agree(evaluation, tmp_path):
    written = write_evaluation(evaluation, tmp_path / "out", {"command": "lowshot evaluate", "seeds": [1, 2]})
    with written.scores.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.scores) == 8
    for row, score in zip(rows, evaluation.scores, strict=True):
        assert (row["case"], row["structure"], row["empty"]) == (score.case, score.structure, score.empty)
        assert (row["dice"] == "") == np.isnan(score.dice)
        assert row["dice"] == "" or float(row["dice"]) == score.dice
        assert float(row["volume_difference"]) == score.volume_difference
    summary = json.loads(written.summary.read_text(encoding="utf-8"))
    assert {key: summary[key] for key in summary if key != "made by"} == evaluation_summary(evaluation)
    liver = [float(row["dice"]) for row in rows if row["structure"] == "liver"]
    assert summary["structures"][0]["dice"]["mean"] == pytest.approx(np.mean(liver))
    assert summary["structures"][1]["dice"] == {
        "mean": None, "std": None, "minimum": None, "maximum": None, "n": 0, "left_out": 4,
    }  # fmt: skip
    assert summary["missing"] == ["gone"]
    assert summary["made by"]["seeds"] == [1, 2]
    assert "torch" in summary["made by"]["versions"]
    assert "Not a medical device" in written.report.read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "scores.csv", "summary.json"]


def test_variants_have_their_own_columns(tmp_path):
    header = write_evaluation(evaluate([pair("a", 1)]), tmp_path, pictured=0).scores.read_text().splitlines()[0]
    names = ["hd95_pooled_voxels", "hd95_in_plane", "hd95_legacy_empty", "dice_of_slices", "dice_legacy_empty"]
    assert not set(names) & set(header.split(","))
    with_variants = write_evaluation(evaluate([pair("a", 1)], variants=True), tmp_path, pictured=0)
    assert with_variants.scores.read_text().splitlines()[0].endswith(",".join(names))


def test_radial_errors_have_a_column_where_images_are_flat(tmp_path):
    header = write_evaluation(evaluate([pair("a", 1)]), tmp_path, pictured=0).scores.read_text().splitlines()[0]
    assert header.endswith("true_positive_ratio,false_positive_ratio")
    flat = torch.zeros(12, 12, 1, dtype=torch.int16)
    flat[2:6, 2:6] = 1
    prediction, truth = (Segmentation(labels, NAMES, np.eye(4)) for labels in (flat.roll(1, 0), flat))
    written = write_evaluation(evaluate([Pair("a", prediction, truth)]), tmp_path, pictured=0)
    rows = list(csv.DictReader(written.scores.read_text().splitlines()))
    assert (rows[0]["true_positive_ratio"], rows[1]["radial_error"]) == ("0.75", "")
    assert 0.2 < float(rows[0]["radial_error"]) < 0.35
    structures = json.loads(written.summary.read_text(encoding="utf-8"))["structures"]
    assert structures[0]["radial_error"]["mean"] == float(rows[0]["radial_error"])


def test_a_folder_that_cannot_be_written(evaluation, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        write_evaluation(evaluation, tmp_path / "out", pictured=0)
