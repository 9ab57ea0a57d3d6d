"""Named amounts of augmentation, shared by all methods, so that compared methods are augmented alike."""

from typing import Literal, NamedTuple

from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.spatial import SpatialRanges

Level = Literal["none", "light", "strong"]


class Augmentation(NamedTuple):
    """What varies in space and what varies in intensity."""

    spatial: SpatialRanges
    intensity: IntensityRanges


AUGMENTATION: dict[Level, Augmentation] = {
    "none": Augmentation(SpatialRanges(), IntensityRanges()),
    # MRE-Net's optional augmentation: brightness and contrast (mirroring is a setting of its own). Amounts are ours.
    "light": Augmentation(SpatialRanges(), IntensityRanges(contrast=0.1, brightness=0.1)),
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
}
