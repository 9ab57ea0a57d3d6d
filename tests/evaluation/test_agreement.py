import math

import pytest

from lowshot.evaluation.agreement import limits_of_agreement


def test_bias_and_limits_by_hand():
    """Differences 1, 3, 5: mean 3, sample standard deviation 2."""
    found = limits_of_agreement([11.0, 23.0, 35.0], [10.0, 20.0, 30.0])
    assert (found.bias, found.n) == (3, 3)
    assert (found.lower, found.upper) == pytest.approx((3 - 3.92, 3 + 3.92))


def test_two_pairs_have_a_bias_but_no_limits():
    found = limits_of_agreement([1.0, 2.0], [0.0, 0.0])
    assert found.bias == 1.5
    assert math.isnan(found.lower)
    assert math.isnan(found.upper)


def test_no_pairs():
    found = limits_of_agreement([], [])
    assert math.isnan(found.bias)
    assert found.n == 0
