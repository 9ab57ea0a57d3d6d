import pytest
from jinja2 import UndefinedError

from lowshot.reporting.html import environment


def test_words_from_outside_are_escaped():
    assert environment().from_string("{{ word }}").render(word="<b>") == "&lt;b&gt;"


def test_a_forgotten_word_is_an_error():
    with pytest.raises(UndefinedError):
        environment().from_string("{{ word }}").render()


def test_bytes_become_base64():
    assert environment().from_string("{{ data | base64 }}").render(data=b"\x89PNG") == "iVBORw=="
