import pytest

from lowshot.evaluation.scores import CaseScores, Score
from lowshot.evaluation.triage import mean_expected_and_true, triage

NAN = float("nan")


def case(name, *pairs):
    """A case with a structure for each (expected, true) Dice."""
    rows = [
        Score(name, f"s{k}", true, 0.0, "mm", 1.0, 1.0, "ml", "none", missing=False, expected_dice=expected)
        for k, (expected, true) in enumerate(pairs)
    ]
    return CaseScores(name, tuple(rows))


def test_a_quarter_rounded_up_is_checked():
    """Of five scans two are checked: a and b. The worst are b and c."""
    cases = [case("a", (0.1, 0.9)), case("b", (0.2, 0.1)), case("c", (0.9, 0.2)), case("d", (0.8, 0.8)),
             case("e", (0.7, 0.7))]  # fmt: skip
    found = triage(cases)
    assert (found.scans, found.checked, found.found) == (5, 2, 1)
    assert found.optimism == pytest.approx((0.1 + 0.2 + 0.9 + 0.8 + 0.7 - 0.9 - 0.1 - 0.2 - 0.8 - 0.7) / 5)


@pytest.mark.parametrize(("a", "b"), [((0.1, 0.2), (0.2, 0.2)), ((0.1, 0.1), (0.1, 0.2))])
def test_nothing_is_found_for_certain_where_two_may_be_the_worst_or_checked(a, b):
    found = triage([case("a", a), case("b", b), case("c", (0.9, 0.9)), case("d", (0.8, 0.8))])
    assert (found.checked, found.found) == (1, None)


def test_nothing_is_said_of_fewer_than_four_scans_with_an_expectation():
    cases = [case(str(k), (0.5, 0.5)) for k in range(3)]
    assert triage([*cases, case("x", (NAN, 0.5))]) is None
    assert triage([*cases, case("y", (0.4, 0.5))]) is not None


def test_means_are_over_structures_that_have_both():
    assert mean_expected_and_true(case("a", (0.2, 0.4), (0.4, 0.8), (NAN, 0.0), (0.9, NAN))) == pytest.approx(
        (0.3, 0.6)
    )
    assert mean_expected_and_true(case("a", (NAN, 0.5))) is None
