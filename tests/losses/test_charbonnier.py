import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowshot.losses.charbonnier import charbonnier


def test_cases_by_hand():
    u = torch.tensor([[0.0, 1.0], [-1.0, 3.0]])
    expected = torch.tensor([[1e-6**0.45, (1 + 1e-6) ** 0.45], [(1 + 1e-6) ** 0.45, (9 + 1e-6) ** 0.45]])
    torch.testing.assert_close(charbonnier(u), expected)
    assert float(charbonnier(torch.tensor(4.0), epsilon=3.0, exponent=0.5)) == pytest.approx(5)


def test_with_half_as_exponent_and_no_epsilon_it_is_the_absolute_value():
    u = torch.randn(3, 4)
    torch.testing.assert_close(charbonnier(u, epsilon=0.0, exponent=0.5), u.abs())


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_it_grows_with_the_distance_from_zero(a, b):
    nearer, farther = sorted((torch.tensor(a), torch.tensor(b)), key=abs)
    assert charbonnier(nearer) <= charbonnier(farther)
    assert charbonnier(nearer) == charbonnier(-nearer)


def test_the_gradient_is_that_of_the_formula_and_vanishes_at_zero():
    u = torch.tensor([0.0, 0.5, -2.0], requires_grad=True)
    charbonnier(u).sum().backward()
    expected = 2 * 0.45 * u.detach() * (u.detach() ** 2 + 1e-6) ** (0.45 - 1)
    torch.testing.assert_close(u.grad, expected)


def test_half_precision_is_computed_in_float32():
    found = charbonnier(torch.tensor([300.0], dtype=torch.float16))  # 300² is more than float16 holds
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(300**0.9, rel=1e-4)
