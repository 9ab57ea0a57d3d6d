import torch
from torch import nn

from lowshot.nn.vgg import VGG16

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Where torchvision's vgg16 has them."""
SHAPES = {"features.0.weight": (64, 3, 3, 3), "features.5.bias": (128,), "features.28.weight": (512, 512, 3, 3)}


def test_names_and_shapes_are_torchvisions():
    with torch.device("meta"):
        state = VGG16().state_dict()
    assert list(state) == [f"features.{n}.{part}" for n in CONVOLUTIONS for part in ("weight", "bias")]
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert sum(value.numel() for value in state.values()) == 14_714_688  # of vgg16.features


def test_with_batch_norm_they_are_those_of_vgg16_bn():
    with torch.device("meta"):
        network = VGG16(norm=True)
    assert isinstance(network.features[41], nn.BatchNorm2d)
    assert isinstance(network.features[43], nn.MaxPool2d)
    assert len(network.features) == 44


def test_maps_are_halved_five_times():
    network = VGG16(1, width=1 / 16)
    maps = network(torch.randn(2, 1, 64, 32))
    assert [tuple(x.shape) for x in maps] == [
        (2, 4, 32, 16), (2, 8, 16, 8), (2, 16, 8, 4), (2, 32, 4, 2), (2, 32, 2, 1),
    ]  # fmt: skip


def test_a_signal_comes_through_thirteen_convolutions():
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    assert 0.05 < VGG16(width=1 / 4)(image)[-1].detach().std() < 20


def test_dense_and_open_ended_it_keeps_an_eighth_of_the_size_and_torchvisions_names():
    """As in PANet."""
    torch.manual_seed(0)
    network = VGG16(width=1 / 16, dense=True, dilation=2, open_ended=True)
    maps = network(torch.randn(1, 3, 64, 40))
    assert [tuple(x.shape[2:]) for x in maps] == [(32, 20), (16, 10), (8, 5), (8, 5), (8, 5)]
    assert list(network.state_dict()) == list(VGG16(width=1 / 16).state_dict())
    assert (maps[-1] < 0).any()
    assert (maps[-2] >= 0).all()


def test_open_ended_its_last_layer_is_a_convolution():
    for norm in (False, True):
        network = VGG16(width=1 / 16, norm=norm, open_ended=True)
        assert isinstance(network.features[-1], nn.Conv2d)
        assert list(network.state_dict()) == list(VGG16(width=1 / 16, norm=norm).state_dict())[: -5 if norm else None]


def test_dense_without_an_open_end_it_has_all_poolings():
    """As in SG-One."""
    maps = VGG16(width=1 / 16, dense=True)(torch.randn(1, 3, 64, 40))
    assert [tuple(x.shape[2:]) for x in maps] == [(32, 20), (16, 10), (8, 5), (8, 5), (8, 5)]
    assert (maps[-1] >= 0).all()


def test_the_last_three_convolutions_are_dilated_alone():
    network = VGG16(width=1 / 16, dense=True, dilation=2)
    assert [layer.dilation[0] for layer in network.features if isinstance(layer, nn.Conv2d)] == [1] * 10 + [2] * 3
