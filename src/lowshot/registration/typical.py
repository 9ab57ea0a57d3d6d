"""Which of many scans is closest to their average: the one whose annotation carries over best."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.errors import InputError
from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture, align
from lowshot.registration.pairwise import laid_upon
from lowshot.registration.working_grid import working_grid

KEPT_MM, KEPT_IN_RADIUS = 4.0, 12.0
"""Spacing at which scans are compared, and kept in memory; of something small, so many times in its radius."""
ROUNDS = 2
"""The first average is of scans laid upon one of them, the second of scans laid upon that average."""


def coarse(picture: Picture) -> Picture:
    """A scan as it is kept and compared."""
    return picture.at(min(KEPT_MM, picture.radius() / KEPT_IN_RADIUS))


def distances_from_average(
    pictures: Sequence[Picture], tell: Callable[[], None] = lambda: None
) -> list[float | InputError]:
    """Mean squared difference of each scan from the mean of all, after an affine alignment.

    LT-Net chooses as its atlas the scan "closest to the average anatomy"; that this is measured so is ours.

    Args:
        pictures: of one part of the body, with intensities of about 0 to 1, as ``coarse`` makes them.
        tell: called after each alignment, of which there are two for every scan.

    Returns:
        In place of the distance, of a scan that shows another part of the body than most, why it could not be laid.

    Raises:
        InputError: fewer than two scans can be laid upon each other.
    """
    average = sorted(pictures, key=Picture.radius)[len(pictures) // 2]  # whose body is neither large nor small
    grid = working_grid(average, None, None, multiple=1)
    with torch.no_grad():
        for _ in range(ROUNDS):
            laid = [_laid(picture, average, grid, tell) for picture in pictures]
            good = [each for each in laid if not isinstance(each, InputError)]
            if len(good) < 2:
                raise next(each for each in laid if isinstance(each, InputError))
            mean = torch.stack(good).mean(dim=0)
            average = Picture.of("their average", mean, grid)
    return [each if isinstance(each, InputError) else float((each - mean).square().mean()) for each in laid]


def _laid(
    picture: Picture, average: Picture, grid: Grid, tell: Callable[[], None]
) -> Float[Tensor, "c i j k"] | InputError:
    """The scan as it lies in the average's world; upon itself, as it is."""
    try:
        world = np.eye(4) if picture is average else align(picture, average)
    except InputError as error:
        return error
    finally:
        tell()
    return laid_upon(picture, world, grid)
