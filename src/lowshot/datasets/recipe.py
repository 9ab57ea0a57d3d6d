"""How protocols prepare a data set before any method sees it, as data.

Each method then scales intensities by itself (z-scores of the scan, where a paper says so), so that is no part of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """In this order: intensities are cut, borders are cut, the rest is resampled, then cropped or padded."""

    cut_top: float = 0.0
    """Share of a scan's brightest voxels that get the value of the next."""
    clip: tuple[float, float] | None = None
    """Lowest and highest intensity."""
    border: int = 0
    """Pixels that are cut from each side of a slice."""
    crop_to_body: bool = False
    """Whether what lies more than 5 mm outside of the box around the body is cut away."""
    spacing_mm: tuple[float, float, float] | None = None
    resize: tuple[int, int, int | None] | None = None
    """Voxels to which a scan is brought, whatever their spacing, in place of ``spacing_mm``; None: as many slices as it
    has."""
    size: tuple[int, int, int | None] | None = None
    """Voxels around the centre that are kept, padded with the lowest value where there are fewer; None: all slices."""


RAW = Recipe()
ALPNET_CHAOS = Recipe(cut_top=0.005, spacing_mm=(1.25, 1.25, 7.7), size=(256, 256, None))  # code (SSL-ALPNet)
ALPNET_SYNAPSE = Recipe(clip=(-125.0, 275.0), border=32, resize=(256, 256, None))  # code (SSL-ALPNet)
ALPNET_CARDIAC = Recipe(cut_top=0.005, spacing_mm=(1.25, 1.25, 7.99), size=(256, 256, None))  # code; the cut: ours
MRE_NET_BRAINS = Recipe(size=(216, 216, None))  # paper
# paper, which prints height, width and depth; the crop is ours, in place of a table of boxes
MRE_NET_BTCV = Recipe(clip=(-210.0, 290.0), crop_to_body=True, resize=(396, 324, 72))
ELNET_SYNAPSE = Recipe(clip=(-125.0, 275.0))  # code (MT-UNet)
