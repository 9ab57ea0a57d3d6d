import math

import pytest
import torch

from lowshot.losses.classification import category_mean, voxel_cross_entropy


def test_cross_entropy_is_minus_the_log_of_the_softmax():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    losses = voxel_cross_entropy(logits, torch.tensor([2, 1]))
    expected = [math.log(math.exp(2) + 1 + math.exp(-1)) + 1, math.log(3)]
    torch.testing.assert_close(losses, torch.tensor(expected))


def test_cross_entropy_of_maps_is_that_of_their_voxels():
    logits, labels = torch.randn(2, 3, 4, 5, 6), torch.randint(3, (2, 4, 5, 6), dtype=torch.int16)
    maps = voxel_cross_entropy(logits, labels)
    voxels = voxel_cross_entropy(logits.movedim(1, -1).reshape(-1, 3), labels.flatten())
    torch.testing.assert_close(maps.flatten(), voxels)


def test_cross_entropy_is_computed_in_float32():
    logits = torch.tensor([[30.0, 0.0]], dtype=torch.bfloat16)
    losses = voxel_cross_entropy(logits, torch.tensor([1]))
    assert losses.dtype == torch.float32
    assert float(losses) == 30.0


VALUES = torch.tensor([1.0, 3.0, 5.0, 7.0, 100.0, 11.0])
LABELS = torch.tensor([0, 0, 0, 0, 3, 5])
"""Four voxels of category 0 with a mean of 4, one each of 3 and 5; 1, 2 and 4 are absent."""


def test_each_category_present_counts_the_same():
    """Eq. 5: Σ_k (1/N_k) Σ over the voxels of k."""
    assert float(category_mean(VALUES, LABELS)) == pytest.approx(4 + 100 + 11)


def test_without_balance_it_is_the_plain_mean_times_the_number_of_categories():
    assert float(category_mean(VALUES, LABELS, balance=0.0)) == pytest.approx(3 * VALUES.mean().item())


def test_half_balanced_weights_go_with_the_square_root_of_the_size():
    # √4 : √1 : √1, scaled to a mean of 1
    expected = 0.75 * (2 * 4 + 1 * 100 + 1 * 11)
    assert float(category_mean(VALUES, LABELS, balance=0.5)) == pytest.approx(expected)


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_equal_values_cost_the_same_whatever_the_balance(balance):
    assert float(category_mean(torch.full_like(VALUES, 2.0), LABELS, balance)) == pytest.approx(6.0)


def test_nothing_known_costs_nothing_and_can_be_differentiated():
    values = torch.zeros(0, requires_grad=True)
    loss = category_mean(values, torch.zeros(0, dtype=torch.int16))
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_gradient_of_each_voxel_is_one_over_the_size_of_its_category():
    values = VALUES.clone().requires_grad_()
    category_mean(values, LABELS).backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.25] * 4 + [1.0, 1.0]))


def test_voxels_that_stand_for_others_weigh_as_their_whole_category():
    """Of category 0 only the hardest of four voxels was kept, of 1 all: the sizes are 4, 1, 1 and √4 : √1 : √1."""
    kept, labels = torch.tensor([7.0, 100.0, 11.0]), torch.tensor([0, 3, 5])
    expected = 0.75 * (2 * 7 + 1 * 100 + 1 * 11)
    assert float(category_mean(kept, labels, balance=0.5, stands_for=LABELS)) == pytest.approx(expected)


def test_with_full_balance_it_makes_no_difference_what_they_stand_for():
    kept, labels = torch.tensor([7.0, 100.0]), torch.tensor([0, 3])
    whole = torch.tensor([0, 0, 0, 3])
    assert float(category_mean(kept, labels, stands_for=whole)) == pytest.approx(107)


def test_a_category_of_which_nothing_was_kept_costs_nothing():
    kept, labels = torch.tensor([7.0]), torch.tensor([0])
    found = category_mean(kept, labels, balance=0.0, stands_for=torch.tensor([0, 0, 0, 3]))
    assert float(found) == pytest.approx(2 * 0.75 * 7)
