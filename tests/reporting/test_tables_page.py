from base64 import b64encode
from html.parser import HTMLParser

from lowshot.reporting.tables import Column, Table
from lowshot.reporting.tables_page import Picture, tables_page

VOID = {"meta", "img", "link", "br"}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(rows=(("unet <b>", 0.5),), pictures=()):
    table = Table((Column("system", numeric=False), Column("Dice")), tuple(rows), "Dice & more")
    return tables_page(
        "balls", "Balls.", "lowshot bench balls -o FOLDER", ["data: <balls>"], [table], pictures, "Today."
    )


def test_what_comes_from_outside_is_escaped_and_tags_are_closed():
    made = page(pictures=[Picture("a.svg", "<i>Dice", 'with "quotes"', SVG)])
    assert Tags(made).open == []
    assert "unet &lt;b&gt;" in made
    assert "data: &lt;balls&gt;" in made
    assert "Dice &amp; more" in made
    assert "<i>" not in made


def test_pictures_are_in_the_page_and_nothing_is_fetched():
    made = page(pictures=[Picture("a.svg", "Dice", "", SVG), Picture("b.png", "Slices", "", b"\x89PNG")])
    sources = [about["src"] for tag, about in Tags(made).seen if tag == "img"]
    assert sources == [
        f"data:image/svg+xml;base64,{b64encode(SVG).decode()}",
        "data:image/png;base64,iVBORw==",
    ]
    assert "http://" not in made
    assert "https://" not in made
    assert "Content-Security-Policy" in made


def test_a_long_table_is_folded_up():
    assert "<details open>" in page()
    assert "<details>" in page(rows=(("unet", 0.5),) * 41)


def test_the_figures_have_a_heading_only_where_there_are_any():
    assert "#figures" not in page()
