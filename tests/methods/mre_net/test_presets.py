"""The published settings, as the paper and its tables give them."""

import pytest

from lowshot import catalogue


def made(name="mre-net", preset="paper"):
    return catalogue.create(name, catalogue.settings(name, preset))


def test_the_defaults_are_the_preset_paper():
    assert made() == catalogue.create("mre-net", {})


def test_mrbrains():
    method = made()
    assert method.crop == (216, 216, 48)
    assert method.intensity == "zscore"
    assert (method.patch, method.margin, method.batch) == ((36, 36, 12), (4, 4, 2), 24)
    assert (method.widths, method.convolutions) == ((64, 128, 256), (3, 4, 5))
    assert method.strides == ((2, 2, 2), (2, 2, 1))
    assert (method.modes, method.embedding_size, method.mixing, method.distance) == (3, 2048, "adaptive", "cosine")
    assert (method.pyramid_width, method.pyramid_rates, method.mixer_width) == (256, (6, 12, 18), 512)
    assert (method.pyramid_stride, method.level_width, method.loss_share) == (1, None, 1.0)  # none of our shortcuts
    assert (method.steps, method.learning_rate, method.decay_at) == (3000, 1e-3, (0.5,))
    assert (method.hard_multiple, method.balance, method.balanced, method.clip_norm) == (6.0, 1.0, 0.0, None)
    assert (method.augmentation, method.mirror, method.norm) == ("none", False, "batch")


def test_btcv():
    method = made(preset="paper-btcv")
    assert (method.intensity, method.hard_multiple) == ("window:-210:290", 4.0)
    assert (method.crop, method.resize) == ("foreground", (396, 324, 72))
    assert method.modes == 3


def test_ultrasound():
    method = made(preset="paper-ultrasound")
    assert (method.dimensions, method.patch, method.margin) == (2, (128, 128, 1), (0, 0, 0))
    assert (method.batch, method.hard_multiple, method.strides) == (8, 3.0, ((2, 2, 1), (2, 2, 1)))
    assert method.resize == (128, 128, 1)


@pytest.mark.parametrize("preset", ["paper", "paper-augmented", "paper-btcv"])
def test_the_unet_has_its_own_training_and_mre_nets_tiles(preset):
    unet = made("unet", preset)
    assert (unet.batch, unet.steps, unet.learning_rate, unet.decay_at) == (64, 20_000, 1e-3, (0.5, 0.75))
    assert (unet.patch, unet.margin) == ((36, 36, 12), (4, 4, 2))
    assert unet.augmentation == ("light" if preset == "paper-augmented" else "none")


@pytest.mark.parametrize("preset", catalogue.presets("unet"))
def test_no_preset_turns_the_unet_into_something_else(preset):
    unet = made("unet", preset)
    assert not any((unet.metric_learning, unet.attention, unet.coordinates, unet.mining))
