import math

import pytest
import torch

from lowshot.transforms.slices import Slices
from lowshot.transforms.swelling import REACHES, SIZES, swollen

SIDE, MIDDLE = 96, 47.5


def distances():
    place = torch.arange(SIDE) - MIDDLE
    return (place[:, None].square() + place.square()).sqrt()


def heart(count=1):
    """A cavity of radius 10 (structure 2) within a wall that ends at 16 (1), brighter towards the middle."""
    r = distances()
    labels = torch.zeros(SIDE, SIDE, dtype=torch.int16)
    labels[r < 16] = 1
    labels[r < 10] = 2
    image = (100 - r)[None, None].repeat(count, 1, 1, 1)
    return Slices(image, labels.repeat(count, 1, 1), torch.ones(count, SIDE, SIDE, dtype=torch.bool))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fixed(monkeypatch, size, reach):
    monkeypatch.setattr("lowshot.transforms.swelling.SIZES", (size, size))
    monkeypatch.setattr("lowshot.transforms.swelling.REACHES", (reach, reach))


@pytest.mark.parametrize(("size", "reach"), [(0.5, 2.0), (0.8, 3.0), (1.5, 1.5), (1.0, 2.0)])
def test_what_is_seen_where_is_as_the_formula_says(monkeypatch, size, reach):
    fixed(monkeypatch, size, reach)
    slices = heart()
    slices.labels[slices.labels == 1] = 0  # one structure alone, so that it is the one
    radius = reach * math.sqrt(float((slices.labels == 2).sum()) / math.pi)
    found = swollen(slices, generator())
    t = (distances() / radius).clamp_max(1)
    wanted = 100 - distances() * (1 + (1 / size - 1) * (1 - t.square()).square())
    far_from_the_tip = distances() > 3  # a cone is not linear between pixels there
    torch.testing.assert_close(found.image[0, 0][far_from_the_tip], wanted[far_from_the_tip], atol=0.05, rtol=0)
    beyond = distances() > radius
    torch.testing.assert_close(found.image[0, 0][beyond], slices.image[0, 0][beyond])
    agrees = (found.labels[0] == 2) == (wanted > 90)
    assert agrees[(wanted - 90).abs() > 1].all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reach", REACHES)
def test_nothing_folds(size, reach):
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    shown = t * (1 + (1 / size - 1) * (1 - t.square()).square())
    assert (shown.diff() > 0).all()
    assert reach > 1


def test_a_shrinking_cavity_thickens_the_wall_around_it(monkeypatch):
    """Across the middle 20 pixels are the cavity's and 12 the wall's; every other drawn one is the cavity."""
    fixed(monkeypatch, 0.5, 1.6)
    lines = [found[SIDE // 2] for found in swollen(heart(20), generator()).labels]
    thickest = max(float((line == 1).sum() / (line == 2).sum()) for line in lines)
    assert thickest > 1.3 * 12 / 20


def test_each_structure_has_its_turn(monkeypatch):
    """Where nothing is moved far from a small structure, what moves tells which it was."""
    fixed(monkeypatch, 0.5, 1.5)
    slices = heart(200)
    slices.labels[:, 5:15, 5:15] = 3
    corner, middle = (slice(None, 30), slice(None, 30)), (slice(30, None), slice(30, None))
    moved = swollen(slices, generator()).labels != slices.labels
    in_corner = moved[:, *corner].flatten(1).any(dim=1)
    assert (in_corner != moved[:, *middle].flatten(1).any(dim=1)).all()
    assert int(in_corner.sum()) == pytest.approx(200 / 3, abs=20)


def test_a_slice_without_structures_or_of_which_nothing_is_known_stays():
    empty, unknown = heart(), heart()
    empty.labels.zero_()
    unknown.known.zero_()
    for slices in (empty, unknown):
        found = swollen(slices, generator())
        torch.testing.assert_close(found.image, slices.image)
        assert found.known.equal(slices.known)


def test_what_is_not_known_moves_along(monkeypatch):
    fixed(monkeypatch, 0.5, 2.0)
    slices = heart()
    slices.known[slices.labels == 1] = False
    found = swollen(slices, generator())
    assert not (found.labels == 1).any()
    assert (~found.known).any()
    assert (found.labels == 2).sum() < 0.5 * (slices.labels == 2).sum()
