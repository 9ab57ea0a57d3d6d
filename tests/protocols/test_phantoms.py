"""The protocols that need no data, every row of them from end to end."""

from dataclasses import replace

import pytest

from lowshot.protocols.registry import PROTOCOLS
from protocols.tiny_rows import WITHOUT_DATA, brief, run_all

SHAPES = {
    "atlas-phantom-abdomen": (32, 32, 32),
    "atlas-phantom-brain": (32, 32, 32),
    "phantom-compact": (32, 32, 28),
    "phantom-ct": (32, 32, 28),
    "phantom-new-organ-ct": (32, 28, 10),
    "phantom-new-organ-mr": (32, 28, 10),
}
"""Of those that are made smaller here."""


@pytest.mark.slow
@pytest.mark.usefixtures("brief_alignment")
@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_every_row_trains_and_is_scored(name, tmp_path):
    one = brief(PROTOCOLS[name])
    run_all(replace(one, study=replace(one.study, shape=SHAPES.get(name, one.study.shape))), None, tmp_path)
