from typing import get_args

from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.levels import AUGMENTATION, Level, augmentation_of
from lowshot.transforms.spatial import SpatialRanges


def test_every_level_is_there_and_none_is_nothing():
    assert set(AUGMENTATION) == set(get_args(Level))
    assert AUGMENTATION["none"] == (SpatialRanges(), IntensityRanges())


def test_light_is_the_papers_brightness_and_contrast_alone():
    spatial, intensity = AUGMENTATION["light"]
    assert spatial == SpatialRanges()
    assert intensity == IntensityRanges(contrast=intensity.contrast, brightness=intensity.brightness)
    assert min(intensity.contrast, intensity.brightness) > 0


def test_brightness_and_noise_go_by_the_kind_of_grey_values():
    strong, in_window = (augmentation_of("strong", kind) for kind in ("foreground-zscore", "window:-210:290"))
    assert strong == AUGMENTATION["strong"]
    assert in_window.spatial == strong.spatial
    assert in_window.intensity.brightness == strong.intensity.brightness / 4
