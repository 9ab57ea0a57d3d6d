from dataclasses import replace

import pytest

from lowshot.protocols.mre_net import ONE_SHOT
from lowshot.protocols.protocol import Published
from lowshot.protocols.published import figures, published


def test_all_figures_of_the_five_papers_are_there():
    assert len(figures()) == 1123
    assert {figure.paper for figure in figures()} == {"mre-net", "lt-net", "elnet", "gcn-de", "apscl"}


def test_a_figure_is_found_with_its_spread():
    found = published(ONE_SHOT, Published("II", "mre-net[dml,coord,ams,ohem]"), "hd95", "mean")
    assert (found.mean, found.std, found.unit) == (6.30, 1.73, "mm")


def test_what_a_table_does_not_print_is_none():
    assert published(ONE_SHOT, Published("II", "ants"), "dice", "mean") is None
    assert published(replace(ONE_SHOT, paper=""), Published("II", "mre-net[]"), "dice", "mean") is None


def test_several_settings_need_one_to_be_named():
    with pytest.raises(ValueError, match="M=1 1-shot, M=1 3-shot"):
        published(ONE_SHOT, Published("IV", "mre-net"), "dice", "mean")
    assert published(ONE_SHOT, Published("IV", "mre-net", "M=1 1-shot"), "dice", "mean").mean == 74.91
