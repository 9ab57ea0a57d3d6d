from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lowshot.errors import BadVoxels, ChannelMismatch
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.patch_model import PatchModel, TileOptions
from lowshot.inference.predict import predict
from lowshot.nn.geometry import Geometry
from lowshot.training.run import Run

FLIPPED = np.array([[0.0, 1.5, 0, -12], [-1.4, 0, 0, 20], [0, 0.2, -3.1, 5], [0, 0, 0, 1.0]])
"""Permuted, flipped, anisotropic and oblique."""
NAMES = Names(("background", "dim", "bright"), (0, 200, 500))


class Brightness(nn.Module):
    """Classes by intensity: below 1, from 1 to 2, above 2."""

    def forward(self, image, coordinates):
        return 20 * torch.cat([1.5 - image, 0.5 - (image - 1.5).abs(), image - 1.5], dim=1)


def model(**settings):
    preparation = Preparation(**{"intensity": "none", **settings})
    return PatchModel(Brightness(), NAMES, ("CT",), preparation, Geometry(3, (), (6, 6, 6), (1, 1, 1)))


def scan(shape=(13, 11, 9), affine=FLIPPED, seed=0):
    noise = torch.randn(1, 1, *[max(2, n // 5) for n in shape], generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.interpolate(noise, size=shape, mode="trilinear", align_corners=True)[0]
    return Scan("case", 1.5 + smooth, affine, ("CT",))


def run():
    return Run(device="cpu", precision="float32", memory_format="contiguous")


def truth(given):
    return Brightness()(given.voxels[None], None)[0].argmax(0)


def test_the_result_lies_on_the_scans_own_grid_voxel_by_voxel():
    given = scan()
    result = predict(model(), given, run(), TileOptions())
    assert result.segmentation.grid.same_as(given.grid, tolerance=1e-3)
    assert result.segmentation.names == NAMES
    assert torch.equal(result.segmentation.labels.long(), truth(given))
    assert set(truth(given).unique().tolist()) == {0, 1, 2}


def test_a_coarser_model_comes_back_to_the_scans_own_grid():
    given = scan((30, 28, 20))
    result = predict(model(spacing=(2.0, 2.0, 2.0)), given, run(), TileOptions())
    assert result.segmentation.labels.shape == (30, 28, 20)
    agree = (result.segmentation.labels == truth(given)).float().mean()
    assert agree > 0.95


def test_outside_of_the_crop_is_background():
    given = scan((12, 12, 12), np.eye(4))
    result = predict(model(crop=(6, 6, 6)), given, run(), TileOptions())
    inside = (slice(3, 9),) * 3
    assert torch.equal(result.segmentation.labels[inside].long(), truth(given)[inside])
    outside = result.segmentation.labels.clone()
    outside[inside] = 0
    assert not outside.any()


def test_an_image_of_one_slice():
    given = scan((16, 14, 1), np.eye(4))
    result = predict(model(), given, run(), TileOptions())
    assert torch.equal(result.segmentation.labels.long(), truth(given))


def test_quality_is_given_for_every_structure():
    result = predict(model(), scan(), run(), TileOptions())
    assert set(result.quality) == {"dim", "bright"}
    assert all(0.8 < quality.expected_dice <= 1 for quality in result.quality.values())


def test_probabilities_are_handed_out_one_by_one():
    given, kept = scan(), {}
    plain = predict(model(), given, run(), TileOptions())
    result = predict(model(), given, run(), TileOptions(), lambda name, values: kept.update({name: values}))
    assert list(kept) == list(NAMES.names)
    stacked = torch.stack(list(kept.values()))
    expected = Brightness()(given.voxels[None], None)[0].softmax(0)
    torch.testing.assert_close(stacked, expected, atol=1e-3, rtol=0)
    assert torch.equal(result.segmentation.labels, plain.segmentation.labels)


def test_other_channels_are_refused_with_what_was_expected():
    two = replace(model(), channels=("T1", "FLAIR"))
    swapped = Scan("case 7", torch.randn(2, 4, 4, 4), np.eye(4), ("FLAIR", "T1"))
    with pytest.raises(
        ChannelMismatch, match=r"case 7: .* channels T1, FLAIR, in this order, the scan has FLAIR, T1; give"
    ):
        predict(two, swapped, run(), TileOptions())


def test_what_its_owner_may_not_expect_is_noted():
    whole = predict(model(), scan(), run(), TileOptions())
    assert whole.notes == ()
    part = predict(model(crop=(5, 11, 9)), scan(), run(), TileOptions())
    assert "11×5×9 of the 13×11×9 voxels" in part.notes[0]
    picture = predict(model(spacing=(1.0, 1.0, 1.0)), replace(scan(), spacing_known=False), run(), TileOptions())
    assert "does not say how large" in picture.notes[0]
    labels = replace(scan(), voxels=scan().voxels.sign())
    assert "only 2 different values; is it a label map?" in predict(model(), labels, run(), TileOptions()).notes[0]


def test_numbers_that_are_none_are_refused():
    voxels = scan().voxels.clone()
    voxels[0, 1, 1, 1] = float("nan")
    with pytest.raises(BadVoxels, match="expected finite numbers"):
        predict(model(), replace(scan(), voxels=voxels), run(), TileOptions())
