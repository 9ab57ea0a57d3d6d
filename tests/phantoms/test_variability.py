import numpy as np
import pytest

from lowshot.phantoms.variability import Variability


def test_amount_0_is_the_average_subject():
    own = Variability(3, amount=0.0).of("liver")
    assert own.by(10.0) == 0.0
    assert own.factor(0.3) == 1.0
    np.testing.assert_array_equal(own.shift(5.0), np.zeros(3))
    np.testing.assert_array_equal(own.moved([(1, 2, 3), (4, 5, 6)], 5.0, 5.0), [(1, 2, 3), (4, 5, 6)])
    np.testing.assert_allclose(own.axes(spread_degrees=20.0), np.eye(3))


def test_a_part_draws_the_same_whatever_was_drawn_for_others():
    alone, after_others = Variability(3), Variability(3)
    after_others.by(1.0)
    after_others.of("spleen").shift(1.0)
    np.testing.assert_array_equal(alone.of("liver").shift(5.0), after_others.of("liver").shift(5.0))


def test_parts_and_seeds_differ():
    draws = {Variability(seed).of(part).by(1.0) for seed in (0, 1, 2) for part in ("liver", "spleen", "")}
    assert len(draws) == 9


def test_deviations_are_normal_up_to_two_standard_deviations():
    draws = np.array([Variability(seed).by(3.0) for seed in range(2000)])
    assert np.abs(draws).max() == pytest.approx(6.0)
    assert draws.mean() == pytest.approx(0.0, abs=0.2)
    assert draws.std() == pytest.approx(3.0, abs=0.3)


def test_a_factor_and_its_inverse_are_as_likely():
    logs = np.log([Variability(seed).factor(0.2) for seed in range(2000)])
    assert logs.mean() == pytest.approx(0.0, abs=0.02)
    assert logs.std() == pytest.approx(0.2, abs=0.02)


def test_axes_turn_about_the_named_axis():
    turned = Variability(0, amount=0.0).axes(z_degrees=90.0, spread_degrees=0.0) @ [1, 0, 0]
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)
    drawn = Variability(0).axes(10.0, 20.0, 30.0, spread_degrees=5.0)
    np.testing.assert_allclose(drawn @ drawn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(drawn) == pytest.approx(1.0)


def test_knots_move_together_and_each_by_itself():
    knots = np.zeros((50, 3))
    together = Variability(1).moved(knots, 10.0)
    np.testing.assert_array_equal(together, np.tile(together[0], (50, 1)))
    each = Variability(1).moved(knots, 0.0, 10.0)
    assert each.std(axis=0).min() > 5


def test_what_is_rare_happens_as_often_as_stated_and_never_at_half_variation():
    def share(amount):
        return np.mean([Variability(seed, amount).of("cyst").happens(0.3) for seed in range(2000)])

    assert share(1.0) == pytest.approx(0.3, abs=0.04)
    assert share(0.75) == pytest.approx(0.15, abs=0.03)
    assert share(0.5) == share(0.0) == 0.0
