import pytest

from lowshot.errors import InputError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("left kidney, 肝臓 ½ 🫀", "left kidney, 肝臓 ½ 🫀"),
        ("\x1b[2Jone\ntwo\r\nthree\tfour", "?[2Jone two  three four"),
        ("\x9b31m\0\x07\x7f\u202e\ud800", "?31m?????"),
        ("Screenshot 3.14\u202fPM.png\xa0\u2028", "Screenshot 3.14 PM.png  "),
    ],
)
def test_what_a_stranger_wrote_is_shown_on_one_line_and_commands_nothing(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_no_error_gives_a_terminal_orders():
    assert str(InputError("a\x1b[2J.nii.gz:\nno such file")) == "a?[2J.nii.gz: no such file"
