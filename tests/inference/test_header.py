import pytest

from lowshot.errors import LowshotError, ModelFileError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.inference.header import Header

HEADER = Header(Names(("background", "liver"), (0, 5)), ("T1", "FLAIR"), Preparation(spacing=(1.0, 2.0, 3.0)))


def test_it_comes_back_as_it_was():
    assert Header.from_json(HEADER.to_json()) == HEADER


def test_without_channels_it_is_refused():
    with pytest.raises(ModelFileError, match="channels"):
        Header.from_json(HEADER.to_json() | {"channels": []})


@pytest.mark.parametrize("changes", [{"channels": [[1]]}, {"values": [0]}, {"preparation": {"colour": 1}}])
def test_what_no_header_has_is_refused(changes):
    with pytest.raises(LowshotError):
        Header.from_json(HEADER.to_json() | changes)
