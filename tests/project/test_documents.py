"""The documents name files, links, commands and methods that exist."""

import re
from pathlib import Path

import pytest

from lowshot.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md")])
PATH = re.compile(r"`((?!demo/)(?:[a-z_\d.-]+/)+(?:[\w.-]+\.\w+)?)`")
"""In backquotes, with a slash; not what the demo makes, and not what has a place in capitals (``methods/NAME/``)."""
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def in_text(page: Path) -> str:
    """The page without its fenced blocks, which show how things would look."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_links_lead_somewhere(page):
    text = in_text(page)
    roots = (ROOT, ROOT / "src", ROOT / "src" / "lowshot", page.parent)
    dead = [name for name in PATH.findall(text) if not any((root / name).exists() for root in roots)]
    dead += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_method_is_in_the_readme(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("src/lowshot/methods/*/method.py")))
def test_every_method_folder_has_its_page_and_its_tests(folder):
    assert (ROOT / "src/lowshot/methods" / folder / "README.md").is_file()
    assert list((ROOT / "tests/methods" / folder).glob("test_*.py"))
