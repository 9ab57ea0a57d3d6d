import pytest

from lowshot.reporting.axis import Axis


def test_places_between_the_ends_of_the_span():
    axis = Axis(0.0, 10.0, (0.0, 5.0, 10.0), span=(20.0, 80.0))
    assert [axis.at(value) for value in (0.0, 5.0, 10.0)] == [20, 50, 80]
    assert [axis.down(value) for value in (0.0, 5.0, 10.0)] == [80, 50, 20]


def test_what_lies_outside_is_placed_at_the_end():
    axis = Axis(0.0, 1.0, (0.0, 1.0), span=(0.0, 100.0))
    assert (axis.at(-3.0), axis.at(7.0)) == (0, 100)


def test_round_numbers_around_the_values():
    axis = Axis.covering([0.3, 9.2], 5)
    assert (axis.low, axis.high) == (0, 10)
    assert axis.ticks == (0, 2, 4, 6, 8, 10)


@pytest.mark.parametrize("value", [0.0, 3.7, -51_234.0])
def test_a_single_value_stands_within_its_axis(value):
    axis = Axis.covering([value, value], 4)
    assert axis.low < value < axis.high
