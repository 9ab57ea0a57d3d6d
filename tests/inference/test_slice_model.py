import json

import numpy as np
import pytest
import torch
from torch import nn

from lowshot.contract import Model, State
from lowshot.errors import SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.predict import predict
from lowshot.inference.slice_model import SliceModel, SliceOptions
from lowshot.training.run import Run

NAMES = Names(("background", "bright"), (0, 7))
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")


class Bright(nn.Module):
    """Tells pixels above zero from those below, and counts how many slices it is given at a time."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([-9.0, 9.0]))
        self.counts = []

    def forward(self, image):
        if not image.is_meta:
            self.counts.append(len(image))
        return image * self.gain.view(1, 2, 1, 1)


def model(resize=(16, 24, None), network=None):
    preparation = Preparation(None, None, "none", "none", resize)
    return SliceModel(network or Bright(), NAMES, ("image",), preparation)


def scan(*shape):
    generator = torch.Generator().manual_seed(0)
    return Scan("case", torch.randn(1, *shape, generator=generator), np.diag([1.0, 1.0, 8.0, 1.0]))


def test_it_is_a_model():
    assert isinstance(model(), Model)


@pytest.mark.parametrize(("at_once", "expected"), [(1, [1] * 7), (3, [3, 3, 1]), (9, [7])])
def test_a_volume_comes_back_as_a_volume_slice_by_slice(at_once, expected):
    tested, volume = model(), scan(16, 24, 7)
    result = predict(tested, volume, RUN, SliceOptions(at_once))
    assert tested.network.counts == expected
    assert result.segmentation.labels.equal((volume.voxels[0] > 0).to(result.segmentation.labels))


def test_slices_are_stretched_in_their_plane_alone():
    large = scan(64, 48, 5)
    large.voxels[:] = 1.0
    large.voxels[:, :32, :, 2:] = -1.0
    labels = predict(model(), large, RUN, SliceOptions()).segmentation.labels
    assert labels.shape == (64, 48, 5)
    assert labels[:, :, :2].all()
    assert not labels[:31, :, 2:].any()
    assert labels[33:, :, 2:].all()


def test_memory_grows_with_the_slices_at_once_and_no_further_than_the_scan():
    needed = [model().working_memory((16, 24, 5), RUN, SliceOptions(n)) for n in (1, 5, 50)]
    assert needed[1] == pytest.approx(5 * needed[0], rel=0.01)
    assert needed[2] == needed[1]


def test_it_is_rebuilt_from_its_state():
    trained = model()
    trained.network.gain.data.mul_(2)
    header, tensors = trained.state()
    with torch.device("meta"):
        empty = Bright()
    again = SliceModel.restore(empty, State(json.loads(json.dumps(header)), tensors))
    assert again.network.gain.equal(trained.network.gain)
    assert (again.names, again.channels, again.preparation) == (NAMES, ("image",), trained.preparation)


def test_no_slices_at_once_is_refused():
    with pytest.raises(SettingsError, match="slices_at_once"):
        SliceOptions(0)
