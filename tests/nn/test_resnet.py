import copy

import pytest
import torch
from torch import nn

from lowshot.nn.resnet import BasicBlock, Bottleneck, ResNet
from lowshot.nn.weights import load_file_into
from lowshot.training.layout import arrange, arrange_weights

PARAMETERS = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160}
"""Published for torchvision's, less the classifier."""

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def torchvisions(depth):
    """Names and shapes as torchvision has them, without those of ``fc``, in its order."""
    names = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    expansion = 1 if depth < 50 else 4
    inputs = 64
    for stage, (count, width) in enumerate(zip(BLOCKS[depth], (64, 128, 256, 512), strict=True), 1):
        for n in range(count):
            block, outputs = f"layer{stage}.{n}", expansion * width
            if depth < 50:
                shapes = [(width, inputs, 3, 3), (width, width, 3, 3)]
            else:
                shapes = [(width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)]
            for part, shape in enumerate(shapes, 1):
                names |= {f"{block}.conv{part}.weight": shape} | norm(f"{block}.bn{part}", shape[0])
            if n == 0 and (stage > 1 or depth >= 50):
                names |= {f"{block}.downsample.0.weight": (outputs, inputs, 1, 1)} | norm(
                    f"{block}.downsample.1", outputs
                )
            inputs = outputs
    return names


@pytest.mark.parametrize("dilated", [(False, False), (True, True)])
@pytest.mark.parametrize("depth", list(BLOCKS))
def test_names_and_shapes_are_torchvisions(depth, dilated):
    with torch.device("meta"):
        network = ResNet(depth, dilated=dilated)
    found = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    assert found == list(torchvisions(depth).items())
    assert sum(values.numel() for values in network.parameters()) == PARAMETERS[depth]


def test_a_file_of_deeplabs_fits_entirely(tmp_path):
    """DeepLabV3's has its backbone under that name, and heads besides."""
    torch.manual_seed(0)
    stored = {
        f"backbone.{name}": torch.randn(shape) if shape else torch.tensor(3) for name, shape in torchvisions(18).items()
    }
    heads = {"classifier.4.weight": torch.zeros(21, 256, 1, 1), "aux_classifier.4.bias": torch.zeros(21)}
    torch.save(stored | heads, tmp_path / "deeplab.pth")
    network = ResNet(18, dilated=(True, True))
    loaded = load_file_into(network, tmp_path / "deeplab.pth")
    assert loaded.missing == ()
    assert loaded.unused == tuple(heads)
    own = network.state_dict()
    assert all(torch.equal(own[name.removeprefix("backbone.")], value) for name, value in stored.items() if value.ndim)


def test_three_stages_have_no_fourth_and_leave_its_weights():
    with torch.device("meta"):
        network = ResNet(18, stages=3)
    assert list(network.state_dict()) == [name for name in torchvisions(18) if not name.startswith("layer4")]
    assert network.widths == (64, 64, 128, 256)


@pytest.mark.parametrize("stages", [0, 5])
def test_other_numbers_of_stages_are_refused(stages):
    with pytest.raises(ValueError, match=f"stages: expected 1 to 4, got {stages}"):
        ResNet(18, stages=stages)


@pytest.mark.parametrize(
    ("dilated", "sizes"),
    [
        ((False, False), (32, 16, 8, 4, 2)),
        ((False, True), (32, 16, 8, 4, 4)),
        ((True, False), (32, 16, 8, 8, 4)),
        ((True, True), (32, 16, 8, 8, 8)),
    ],
)
@pytest.mark.parametrize("depth", [18, 50])
def test_maps_have_the_sizes_and_widths_that_are_told(depth, dilated, sizes):
    with torch.device("meta"):
        network = ResNet(depth, 2, width=0.5, dilated=dilated)
        maps = network(torch.empty(3, 2, 64, 128))
    assert network.widths == ((32, 32, 64, 128, 256) if depth == 18 else (32, 128, 256, 512, 1024))
    assert [tuple(x.shape) for x in maps] == [(3, w, s, 2 * s) for w, s in zip(network.widths, sizes, strict=True)]


def test_odd_sizes_are_rounded_up():
    maps = ResNet(18, 1, width=1 / 16)(torch.randn(2, 1, 70, 49))
    assert [tuple(x.shape[2:]) for x in maps] == [(35, 25), (18, 13), (9, 7), (5, 4), (3, 2)]


@pytest.mark.parametrize(
    ("dilated", "apart"), [((True, True), (2, 4)), ((True, False), (2, 2)), ((False, True), (1, 2))]
)
@pytest.mark.parametrize("depth", [18, 50])
def test_dilation_sees_as_far_as_strides_did(depth, dilated, apart):
    """Every other voxel (of every other) of the denser map is the map of the network with strides, exactly."""
    torch.manual_seed(0)
    strided = ResNet(depth, 1, width=1 / 8).eval()
    dense = ResNet(depth, 1, width=1 / 8, dilated=dilated).eval()
    dense.load_state_dict(strided.state_dict())
    image = torch.randn(1, 1, 128, 96)
    *before, third, fourth = strided(image)
    *same, denser_third, denser_fourth = dense(image)
    assert all(torch.equal(*pair) for pair in zip(before, same, strict=True))
    torch.testing.assert_close(denser_third[..., :: apart[0], :: apart[0]], third)
    torch.testing.assert_close(denser_fourth[..., :: apart[1], :: apart[1]], fourth)


def test_taps_are_two_and_four_apart_and_the_first_block_keeps_the_former_distance():
    with torch.device("meta"):
        network = ResNet(50, dilated=(True, True))
    rates = {name: {each.conv2.dilation[0] for each in blocks} for name, blocks in (
        ("first of layer3", network.layer3[:1]), ("layer3", network.layer3[1:]),
        ("first of layer4", network.layer4[:1]), ("layer4", network.layer4[1:]),
    )}  # fmt: skip
    assert rates == {"first of layer3": {1}, "layer3": {2}, "first of layer4": {2}, "layer4": {4}}


def shuffled(block):
    """Statistics and weights of norms that leave nothing as it was."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean):
                values.normal_()
            module.running_var.uniform_(0.5, 2)
    return block.eval()


def normed(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    return (x - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]


@pytest.mark.parametrize(
    ("inputs", "stride", "dilation"), [(5, 1, (1, 1)), (4, 2, (1, 1)), (5, 1, (1, 2)), (4, 1, (2, 2))]
)
def test_a_basic_block_is_as_described(inputs, stride, dilation):
    torch.manual_seed(0)
    block, x = shuffled(BasicBlock(inputs, 5, stride, dilation)), torch.randn(2, inputs, 9, 8)
    first, second = ({"padding": rate, "dilation": rate} for rate in dilation)
    h = normed(torch.conv2d(x, block.conv1.weight, stride=stride, **first), block.bn1).relu()
    h = normed(torch.conv2d(h, block.conv2.weight, **second), block.bn2)
    plain = inputs == 5
    y = x if plain else normed(torch.conv2d(x, block.downsample[0].weight, stride=stride), block.downsample[1])
    torch.testing.assert_close(block(x), (h + y).relu())


@pytest.mark.parametrize(("inputs", "stride", "dilation"), [(8, 1, 1), (4, 2, 1), (8, 2, 1), (8, 1, 2)])
def test_a_bottleneck_is_as_described_and_strides_in_its_middle(inputs, stride, dilation):
    torch.manual_seed(0)
    block, x = shuffled(Bottleneck(inputs, 2, stride, (dilation, dilation))), torch.randn(2, inputs, 9, 8)
    h = normed(torch.conv2d(x, block.conv1.weight), block.bn1).relu()
    h = torch.conv2d(h, block.conv2.weight, stride=stride, padding=dilation, dilation=dilation)
    h = normed(torch.conv2d(normed(h, block.bn2).relu(), block.conv3.weight), block.bn3)
    plain = inputs == 8 and stride == 1
    y = x if plain else normed(torch.conv2d(x, block.downsample[0].weight, stride=stride), block.downsample[1])
    torch.testing.assert_close(block(x), (h + y).relu())


def test_the_gradient_reaches_every_parameter_and_the_image():
    torch.manual_seed(0)
    network, image = ResNet(50, 2, width=1 / 16, dilated=(False, True)), torch.rand(2, 2, 64, 64, requires_grad=True)
    sum((torch.randn(x.shape) * x).sum() for x in network(image)).backward()
    silent = [name for name, values in network.named_parameters() if not values.grad.abs().max() > 1e-6]
    assert not silent
    assert image.grad.any()


def test_bfloat16_agrees_with_float32_and_stays_channels_last():
    torch.manual_seed(0)
    network, image, maps = ResNet(18, width=1 / 4, dilated=(True, True)), torch.rand(2, 3, 64, 64), []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            arrange_weights(network, "channels_last")
            maps.append(network(arrange(image, "channels_last")))
    for full, half in zip(*maps, strict=True):
        assert half.dtype == torch.bfloat16
        assert half.is_contiguous(memory_format=torch.channels_last)
        assert float((half.float() - full).norm() / full.norm()) < 0.05


def test_it_is_rebuilt_on_the_meta_device_and_copied():
    torch.manual_seed(0)
    network, image = ResNet(18, 1, width=1 / 8).eval(), torch.rand(1, 1, 32, 32)
    with torch.device("meta"):
        rebuilt = ResNet(18, 1, width=1 / 8).eval()
    rebuilt.load_state_dict(network.state_dict(), assign=True)
    for other in (rebuilt, copy.deepcopy(network)):
        assert all(torch.equal(*pair) for pair in zip(other(image), network(image), strict=True))
