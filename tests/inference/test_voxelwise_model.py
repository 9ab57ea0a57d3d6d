import numpy as np
import pytest
import torch
from torch import nn

from lowshot.contract import Embeds
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.patch_model import TileOptions
from lowshot.inference.voxelwise_model import VoxelwiseModel
from lowshot.nn.geometry import Geometry
from lowshot.nn.voxelwise import VoxelwiseNetwork
from lowshot.training.run import Run

NAMES = Names(("background", "liver", "spleen"), (0, 1, 2))
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")


class Neighbours(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv3d(4, 5, 3, padding=1)
        self.seen = []

    def forward(self, image, coordinates):
        self.seen.append(len(image))
        return self.look(torch.cat([image, coordinates], dim=1))


@pytest.fixture(params=[nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))])
def model(request):
    torch.manual_seed(0)
    geometry = Geometry(3, ((2, 2, 2),), (8, 8, 8), (1, 1, 1))
    return VoxelwiseModel(VoxelwiseNetwork(Neighbours(), request.param), NAMES, ("T1",), Preparation(), geometry)


@pytest.fixture
def prepared(model):
    noise = torch.randn(1, 9, 10, 18, generator=torch.Generator().manual_seed(1))
    return model.preparation.apply(Scan("case", noise, np.eye(4)))


def everywhere(prepared):
    return torch.stack(
        [axis.flatten() for axis in torch.meshgrid(*map(torch.arange, prepared.grid.shape), indexing="ij")], 1
    )


def test_the_classifier_makes_of_them_what_the_model_predicts(model, prepared):
    voxels = everywhere(prepared)
    found = model.network.classifier(model.embeddings(prepared, RUN, TileOptions(), voxels)).softmax(1)
    expected = torch.empty(3, *prepared.grid.shape)
    for region in model.regions(prepared, RUN, TileOptions()):
        expected[(slice(None), *region.slices)] = region.scores
    torch.testing.assert_close(found, expected[:, *voxels.T].T)


def test_it_embeds(model):
    assert isinstance(model, Embeds)


def test_voxels_may_come_in_any_order_and_twice(model, prepared):
    voxels = everywhere(prepared)
    all_of_them = model.embeddings(prepared, RUN, TileOptions(), voxels)
    some = torch.randint(len(voxels), (50,), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model.embeddings(prepared, RUN, TileOptions(), voxels[some]), all_of_them[some])


def test_only_tiles_that_hold_a_voxel_are_computed_and_few_at_once(model, prepared):
    model.embeddings(prepared, RUN, TileOptions(2), torch.tensor([[0, 0, 0], [8, 9, 17], [8, 0, 0], [0, 1, 0]]))
    assert model.network.features.seen == [2, 1]


@pytest.mark.parametrize("outside", [(9, 0, 0), (0, -1, 0)])
def test_a_voxel_outside_is_refused(model, prepared, outside):
    with pytest.raises(ValueError, match="outside of a grid of"):
        model.embeddings(prepared, RUN, TileOptions(), torch.tensor([[0, 0, 0], outside]))
