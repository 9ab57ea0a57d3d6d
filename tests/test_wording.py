from lowshot.wording import counted, listed


def test_one_has_no_plural():
    assert [counted(number, "scan") for number in (0, 1, 2)] == ["0 scans", "1 scan", "2 scans"]


def test_the_first_are_named_and_the_others_counted():
    assert listed([]) == ""
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert listed("abcde", most=2) == "a, b and 3 more"
    assert listed(["a, b", "c, d"], between="; ") == "a, b; c, d"
