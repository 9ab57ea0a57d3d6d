import pytest
import torch
from torch import nn

from lowshot.nn.voxelwise import Planar, VoxelwiseNetwork


class Stack(nn.Module):
    """Features that are the image and the coordinates themselves."""

    def forward(self, image, coordinates):
        return torch.cat([image, coordinates], dim=1)


def test_the_head_sees_one_voxel_at_a_time():
    torch.manual_seed(0)
    head = nn.Linear(5, 3)
    image, coordinates = torch.randn(2, 2, 3, 4, 5), torch.randn(2, 3, 3, 4, 5)
    logits = VoxelwiseNetwork(Stack(), head)(image, coordinates)
    assert logits.shape == (2, 3, 3, 4, 5)
    voxel = torch.cat([image[1, :, 2, 3, 4], coordinates[1, :, 2, 3, 4]])
    torch.testing.assert_close(logits[1, :, 2, 3, 4], head(voxel))


def test_planar_features_get_slices_and_two_coordinates():
    shapes = []

    class Look(nn.Module):
        def forward(self, image, coordinates):
            shapes.append((tuple(image.shape), tuple(coordinates.shape)))
            return image + coordinates[:, :1]

    image, coordinates = torch.randn(2, 1, 6, 7, 1), torch.randn(2, 3, 6, 7, 1)
    features = Planar(Look())(image, coordinates)
    assert shapes == [((2, 1, 6, 7), (2, 2, 6, 7))]
    torch.testing.assert_close(features, image + coordinates[:, :1])


@pytest.mark.parametrize("head", [nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))])
def test_the_head_is_the_embedding_and_then_the_classifier(head):
    network, features = VoxelwiseNetwork(Stack(), head), torch.randn(7, 5)
    assert isinstance(network.classifier, nn.Linear)
    assert network.classifier.out_features == 3
    torch.testing.assert_close(network.classifier(network.embed(features)), head(features))
