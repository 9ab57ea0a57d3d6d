import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lowshot.inference.memory import activation_bytes

VOXELS = 10 * 10 * 10


def image(channels, dtype=torch.float32):
    return torch.empty(1, channels, 10, 10, 10, device="meta", dtype=dtype)


def measured(*layers, channels=1, dtype=torch.float32):
    return activation_bytes(nn.Sequential(*layers).eval(), (image(channels, dtype),))


def convolution(inputs, outputs):
    return nn.Conv3d(inputs, outputs, 3, padding=1)


def test_two_convolutions_hold_input_and_output_of_the_second():
    assert measured(convolution(1, 4), convolution(4, 8)) == (4 + 8) * VOXELS * 4


def test_depth_alone_takes_no_more():
    deep = [convolution(4, 4) for _ in range(20)]
    assert measured(*deep, channels=4) == (4 + 4) * VOXELS * 4


def test_what_happens_in_place_is_counted_once():
    twice, once = (measured(convolution(1, 4), nn.ReLU(inplace)) for inplace in (False, True))
    assert (twice, once) == (2 * 4 * VOXELS * 4, 4 * VOXELS * 4)


def test_half_the_precision_takes_half():
    layers = [convolution(1, 4), nn.BatchNorm3d(4), convolution(4, 8)]
    assert measured(*layers, dtype=torch.bfloat16) == pytest.approx(measured(*layers) / 2, rel=0.01)


class Single(nn.Module):
    """As a norm or a softmax is under autocast: out comes single precision."""

    def forward(self, image):
        return image.float()


def test_what_comes_in_single_precision_is_cast_for_products_as_autocast_does():
    layers = [convolution(1, 4), Single(), convolution(4, 4), Single(), nn.Flatten(2), nn.Linear(VOXELS, 3)]
    assert measured(*layers, dtype=torch.bfloat16) == (2 + 4) * 4 * VOXELS


def test_what_waits_for_later_is_counted():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.middle, self.last = convolution(1, 4), convolution(4, 4), convolution(4, 4)

        def forward(self, x):
            skip = self.first(x)
            return torch.cat([skip, self.last(self.middle(skip))], dim=1)

    # The skip, the last map, and both once more in the concatenation.
    assert activation_bytes(Skip().eval(), (image(1),)) == (4 + 4 + 8) * VOXELS * 4


def test_views_are_no_copies():
    assert measured(convolution(1, 4), nn.Flatten(), nn.Unflatten(1, (4, 10, 10, 10))) == 4 * VOXELS * 4


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(convolution(1, 2), nn.BatchNorm3d(2)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    activation_bytes(network, (image(1, torch.bfloat16),))
    after = network.state_dict()
    assert all(value.device.type == "cpu" and torch.equal(value, before[name]) for name, value in after.items())
    assert after["0.weight"].dtype == torch.float32


def test_agrees_with_what_pytorch_allocates():
    """The same pass on the CPU, by PyTorch's own record of its allocations."""
    network = nn.Sequential(convolution(1, 16), nn.ReLU(), convolution(16, 32), nn.ReLU(), convolution(32, 16)).eval()
    # Two at a time, because a single small volume is unfolded by a slower convolution that needs 27 times its memory.
    x = torch.randn(2, 1, 24, 24, 24)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record, torch.inference_mode():
        network(x)
    now = peak = 0
    memory = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(memory, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    announced = activation_bytes(network, (x.to("meta"),))
    assert announced <= peak < 1.5 * announced  # the rest is scratch space of the convolutions


def test_for_inputs_of_one_shape_it_is_looked_for_once():
    passes, network = [], nn.Sequential(convolution(1, 4)).eval()
    network.register_forward_hook(lambda *_: passes.append(1))
    once, again = (activation_bytes(network, (image(1),)) for _ in range(2))
    assert (once, len(passes)) == (again, 1)
    assert activation_bytes(network, (image(1, torch.bfloat16),)) < once
    assert len(passes) == 2
