import math

import pytest
import torch
from torch import nn

from lowshot.errors import ModelFileError
from lowshot.inference.calibration import (
    BOUNDS,
    TILES,
    UNCHANGED,
    Calibration,
    best_calibration,
    calibrate,
    drawn_tiles,
)
from lowshot.nn.geometry import Geometry
from lowshot.training.run import Run
from lowshot.transforms.patches import Volume

GEOMETRY = Geometry(3, ((2, 2, 2),), (8, 8, 8), (2, 2, 2))


def run():
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)


def drawn(logits, temperature, seed=0):
    """Labels that come as often as softmax(logits / temperature) says."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_what_labels_were_drawn_with_is_found(temperature):
    logits = 3 * torch.randn(20_000, 4, generator=torch.Generator().manual_seed(1))
    offsets = torch.tensor([0.0, 1.0, -1.0, 0.5])
    found = best_calibration(logits, drawn(logits / temperature + offsets, 1.0))
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.offsets == pytest.approx(offsets.tolist(), abs=0.2)
    assert found.offsets[0] == 0.0


def test_expected_shares_become_those_of_the_labels():
    """What the offsets are for: each class is expected as often as it is there."""
    logits = torch.randn(5_000, 3, generator=torch.Generator().manual_seed(2))
    labels = drawn(2 * logits + torch.tensor([2.0, 0.0, -2.0]), 1.0)
    expected = best_calibration(logits, labels).probabilities(logits.T).mean(dim=1)
    assert expected.tolist() == pytest.approx((labels.bincount(minlength=3) / len(labels)).tolist(), abs=0.005)


def test_the_temperature_stays_within_bounds():
    logits = torch.eye(3).repeat(100, 1)
    right = torch.arange(3).repeat(100)
    assert best_calibration(logits, right).temperature == pytest.approx(BOUNDS[0])
    assert best_calibration(logits, (right + 1) % 3).temperature == pytest.approx(BOUNDS[1])


def test_of_a_class_that_is_not_there_nothing_is_learned():
    logits = torch.randn(1_000, 3, generator=torch.Generator().manual_seed(3))
    labels = torch.randint(2, (1_000,), generator=torch.Generator().manual_seed(4))
    found = best_calibration(logits - torch.tensor([0.0, 0.0, 9.0]), labels)
    assert found.offsets[2] == pytest.approx(-found.offsets[1] / 2, abs=0.1)
    assert UNCHANGED.probabilities(logits.T).sum(dim=0).tolist() == pytest.approx([1.0] * 1_000)


def test_without_a_known_label_nothing_changes():
    assert calibrate(Grey(), [volume(2.0, 0, known=False)], GEOMETRY, run()) == UNCHANGED
    logits = torch.randn(3, 2, 2, 2)
    assert torch.equal(UNCHANGED.probabilities(logits), logits.softmax(dim=0))


@pytest.mark.parametrize("numbers", [(0.0, ()), (float("nan"), ()), (float("inf"), ()), (1.0, (0.0, float("inf")))])
def test_what_no_training_makes_is_refused(numbers):
    with pytest.raises(ModelFileError, match="temperature"):
        Calibration(*numbers)


class Grey(nn.Module):
    """The logit of class 1 is a voxel's grey value."""

    def forward(self, image, coordinates):
        return torch.cat([torch.zeros_like(image), image], dim=1)


def volume(temperature, seed, known=True):
    image = 4 * torch.randn(1, 20, 20, 20, generator=torch.Generator().manual_seed(seed))
    logits = torch.stack([torch.zeros_like(image), image], dim=-1).reshape(-1, 2)
    labels = drawn(logits, temperature).reshape(20, 20, 20).to(torch.int16)
    return Volume(image, labels, torch.full(labels.shape, known), (1.0, 1.0, 1.0))


def test_the_network_is_seen_tile_by_tile():
    volumes = [volume(2.0, seed) for seed in range(3)]
    assert len(volumes) * math.ceil(20 / 4) ** 3 > TILES
    assert calibrate(Grey(), volumes, GEOMETRY, run()).temperature == pytest.approx(2.0, rel=0.15)
    assert calibrate(Grey(), volumes, GEOMETRY, run()) == calibrate(Grey(), volumes, GEOMETRY, run())


def test_tiles_are_drawn_where_labels_are_known():
    made = volume(2.0, 0)
    made.known[:] = False
    made.known[10] = True
    others = [volume(0.3, seed, known=False) for seed in range(5)]
    assert calibrate(Grey(), [*others, made], GEOMETRY, run()).temperature == pytest.approx(2.0, rel=0.4)


@pytest.mark.parametrize(("temperature", "rare"), [(2.0, -6.0), (3.0, -4.0), (3.0, -6.0)])
def test_of_rare_structures_predicted_too_often_the_best_is_found_within_the_bounds(temperature, rare):
    """A step beyond a bound must not end there: what is returned is as good as what labels were drawn with."""
    offsets = torch.tensor([0.0, rare, rare])
    logits = 3 * torch.randn(30_000, 3, generator=torch.Generator().manual_seed(5))
    labels = drawn(logits / temperature + offsets, 1.0)
    found = best_calibration(logits, labels)
    assert found.temperature < BOUNDS[1]

    def loss(calibration):
        return float(-calibration.probabilities(logits.T).log()[labels, torch.arange(len(labels))].mean())

    assert loss(found) <= loss(Calibration(temperature, tuple(offsets.tolist()))) + 1e-4


def test_a_voxel_that_stands_for_many_counts_as_many():
    logits = torch.randn(2_000, 3, generator=torch.Generator().manual_seed(6))
    labels = drawn(2 * logits, 1.0)
    times = torch.randint(1, 4, (len(labels),), generator=torch.Generator().manual_seed(7))
    repeated = best_calibration(logits.repeat_interleave(times, dim=0), labels.repeat_interleave(times))
    weighted = best_calibration(logits, labels, times.float())
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=1e-3)
    assert weighted.offsets == pytest.approx(repeated.offsets, abs=1e-3)


def test_every_class_is_in_a_tile_and_tiles_stand_for_all():
    classes = [{0, 1} for _ in range(300)]
    classes[217] = {0, 2}
    for seed in range(5):
        chosen = drawn_tiles(classes, torch.Generator().manual_seed(seed))
        assert chosen[217] == 1.0
        assert len(chosen) == TILES
        assert sum(chosen.values()) == pytest.approx(300)
    assert drawn_tiles(classes[:9], torch.Generator()) == dict.fromkeys(range(9), 1.0)


def test_a_structure_in_one_tile_of_many_is_expected_as_often_as_it_is_there():
    volumes = [volume(2.0, seed) for seed in range(3)]
    assert len(volumes) * math.ceil(20 / 4) ** 3 > TILES
    small = volumes[0].labels[:3, :3, :3]
    small[small == 1] = 2
    for seed in range(3):
        seeded = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, seed=seed)
        assert calibrate(Two(), volumes, GEOMETRY, seeded).offsets[2] < -3


class Two(Grey):
    """Knows class 2 no better than class 1."""

    def forward(self, image, coordinates):
        return torch.cat([super().forward(image, coordinates), image], dim=1)
