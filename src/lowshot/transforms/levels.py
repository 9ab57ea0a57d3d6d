"""Named amounts of augmentation, shared by all methods, so that compared methods are augmented alike."""

from typing import Literal, NamedTuple

from lowshot.imaging.intensity import centre_and_deviation
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.spatial import SpatialRanges

Level = Literal["none", "turns", "light", "strong", "wide"]


class Augmentation(NamedTuple):
    """What varies in space and what varies in intensity."""

    spatial: SpatialRanges
    intensity: IntensityRanges


def augmentation_of(level: Level, intensity: str) -> Augmentation:
    """The amount of that name, for grey values of that kind (``lowshot.imaging.intensity.KINDS``)."""
    spatial, tones = AUGMENTATION[level]
    return Augmentation(spatial, tones.about(*centre_and_deviation(intensity)))


# Brightness and noise in deviations of a scan's grey values.
AUGMENTATION: dict[Level, Augmentation] = {
    "none": Augmentation(SpatialRanges(), IntensityRanges()),
    # MRE-Net's optional augmentation: brightness and contrast (mirroring is a setting of its own). Amounts are ours.
    "light": Augmentation(SpatialRanges(), IntensityRanges(contrast=0.1, brightness=0.1)),
    # ELNet's rotation of single slices (Ye et al.). The amount is MT-UNet's public code's.
    "turns": Augmentation(SpatialRanges(rotation_degrees=20.0), IntensityRanges()),
    # Ours: what people and scanners differ in, when there is a single example to learn it from.
    "strong": Augmentation(
        SpatialRanges(
            rotation_degrees=12.0,
            scale=0.15,
            stretch=0.1,
            shear=0.05,
            shift_mm=5.0,
            elastic_mm=1.5,
            elastic_spacing_mm=12.0,
        ),
        IntensityRanges(contrast=0.25, brightness=0.25, gamma=0.4, bias=0.2, noise=0.1, blur_voxels=0.7),
    ),
    # Ours: the same and more, for one slice that has to stand for every other height of the body as well, and for
    # patients whose heart, say, was planned at another angle.
    "wide": Augmentation(
        SpatialRanges(
            rotation_degrees=60.0,
            scale=0.5,
            stretch=0.2,
            shear=0.15,
            shift_mm=20.0,
            elastic_mm=4.0,
            elastic_spacing_mm=30.0,
        ),
        IntensityRanges(contrast=0.4, brightness=0.3, gamma=0.8, bias=0.4, noise=0.1, blur_voxels=1.0),
    ),
}
