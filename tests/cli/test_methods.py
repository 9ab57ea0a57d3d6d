import re
from dataclasses import fields

import pytest

from lowshot import catalogue
from lowshot.catalogue import CATALOGUE
from lowshot.settings import about

SOURCE_ALONE = re.compile(r"((paper|code|ours)[^:;.]*)?")


def test_every_method_is_listed_with_its_presets(typed):
    done = typed("methods")
    assert done.code == 0
    for name, entry in CATALOGUE.items():
        assert name in done.out
        assert entry.summary in done.out
    assert set(typed("methods", "--json").json) == set(CATALOGUE)


def test_one_method_with_what_can_be_set(typed):
    done = typed("methods", "unet", "--json").json
    metric_learning = done["settings"]["metric_learning"]
    assert metric_learning["type"] == "bool"
    assert metric_learning["default"] is False  # the entry's, not the class's
    assert metric_learning["about"] == "paper: prototypes instead of a linear classifier; off in rows a and f"
    assert done["settings"]["widths"]["type"] == "tuple[int, ...]"
    assert "compact" in done["presets"]
    assert "tiles_at_once" in done["options"]
    shown = typed("methods", "mre-net").out
    assert "embedding_size" in shown
    assert "tiles_at_once" in shown


@pytest.mark.parametrize("name", CATALOGUE)
def test_something_is_said_of_everything_that_can_be_set(name):
    entry = catalogue.entry(name)
    method = type(catalogue.create(name, entry.settings))
    for each in (method, method.Options):
        told = about(each)
        assert [field.name for field in fields(each) if SOURCE_ALONE.fullmatch(told.get(field.name, ""))] == []


def test_a_misspelt_method(typed):
    done = typed("methods", "une")
    assert (done.code, "did you mean unet" in done.err) == (2, True)
