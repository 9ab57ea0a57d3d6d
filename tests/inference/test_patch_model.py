import json

import numpy as np
import pytest
import torch
from torch import nn

from lowshot.contract import Model
from lowshot.errors import ModelFileError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.calibration import UNCHANGED, Calibration
from lowshot.inference.patch_model import PatchHeader, PatchModel, TileOptions
from lowshot.inference.predict import predict
from lowshot.nn.geometry import Geometry
from lowshot.training.run import Run

NAMES = Names(("background", "liver"), (0, 63))


class Network(nn.Module):
    def __init__(self, channels=1, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(channels + 3, width, 3, padding=1), nn.BatchNorm3d(width))
        self.last = nn.Conv3d(width, 2, 1)

    def forward(self, image, coordinates):
        return self.last(self.layers(torch.cat([image, coordinates], dim=1)))


def model(patch=(8, 8, 8), network=None):
    geometry = Geometry(3, ((2, 2, 2),), patch, (1, 1, 1))
    return PatchModel(network or Network(), NAMES, ("T1",), Preparation(spacing=(1.0, 1.0, 2.0)), geometry)


def run(precision="float32"):
    return Run(device="cpu", precision=precision, memory_format="contiguous")


def needed(patch=(8, 8, 8), shape=(50, 50, 50), tiles_at_once=1, precision="float32"):
    return model(patch).working_memory(shape, run(precision), TileOptions(tiles_at_once))


def test_it_is_a_model():
    assert isinstance(model(), Model)


def test_memory_grows_with_the_patch_and_not_with_the_scan():
    assert needed((16, 16, 16)) == 8 * needed((8, 8, 8))
    assert needed(shape=(500, 500, 500)) == needed(shape=(8, 8, 8))


def test_memory_grows_with_the_tiles_at_once_and_shrinks_with_precision():
    assert needed(tiles_at_once=4) == 4 * needed()
    assert needed(precision="bfloat16") == needed() / 2


def test_memory_is_that_of_the_widest_moment():
    # While the norm is computed: image with coordinates (an argument lives until its call returns), before and after.
    assert needed() == 8**3 * 4 * (4 + 4 + 4)


def test_it_predicts_in_evaluation_mode():
    network = Network().train()
    assert not model(network=network).network.training
    torch.nn.init.constant_(network.layers[1].running_mean, 3.0)
    given = model(network=network)
    prepared = given.preparation.apply(Scan("case", torch.randn(1, 9, 9, 9), np.eye(4)))
    list(given.regions(prepared, run(), TileOptions()))
    assert (network.layers[1].running_mean == 3.0).all()


def test_the_number_of_tiles_at_once_changes_nothing():
    given = model()
    prepared = given.preparation.apply(Scan("case", torch.randn(1, 9, 10, 18), np.eye(4)))
    one, many = (list(given.regions(prepared, run(), TileOptions(n))) for n in (1, 5))
    assert len(one) == len(many) == 2 * 2 * 2
    for first, second in zip(one, many, strict=True):
        assert first.slices == second.slices
        torch.testing.assert_close(first.scores, second.scores)


def test_state_is_all_that_is_needed():
    given = model()
    state = given.state()
    header = json.loads(json.dumps(state.header))
    with torch.device("meta"):
        network = Network()
    restored = PatchModel.restore(network, state._replace(header=header))
    assert (restored.names, restored.channels) == (given.names, given.channels)
    assert (restored.preparation, restored.geometry) == (given.preparation, given.geometry)
    for name, value in given.network.state_dict().items():
        assert torch.equal(restored.network.state_dict()[name], value)
    assert not restored.network.training
    assert all(p.requires_grad for p in restored.network.parameters())


def judged_by(calibration):
    """What comes of one scan."""
    torch.manual_seed(3)
    made = model()
    made.calibration = calibration
    torch.nn.init.constant_(made.network.last.bias, 0.0)
    scan = Scan("a", torch.randn(1, 12, 11, 10), np.eye(4), channels=("T1",))
    return predict(made, scan, run(), TileOptions())


def test_calibration_changes_what_is_expected_and_not_what_is_found():
    plain, flat = judged_by(UNCHANGED), judged_by(Calibration(4.0, (0.0, 1.0)))
    assert torch.equal(plain.segmentation.labels, flat.segmentation.labels)
    assert 0 < plain.segmentation.labels.float().mean() < 1
    assert plain.quality["liver"].expected_dice != flat.quality["liver"].expected_dice


def test_calibration_is_kept_and_older_files_have_none():
    given = model()
    given.calibration = Calibration(0.7, (0.0, -1.5))
    header = json.loads(json.dumps(given.state().header))
    assert PatchHeader.from_json(header).calibration == given.calibration
    del header["calibration"]
    assert PatchHeader.from_json(header).calibration == UNCHANGED


def test_offsets_for_other_classes_are_refused():
    header = model().state().header
    with pytest.raises(ModelFileError, match="expected 2 offsets, got 3"):
        PatchHeader.from_json(header | {"calibration": {"temperature": 1.0, "offsets": [0.0, 1.0, 2.0]}})
