import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lowshot.errors import UnreadableFile
from lowshot.nn.vgg import VGG16, load_vgg

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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_taken_by_name_and_the_rest_is_told(tmp_path, suffix):
    torch.manual_seed(0)
    network, other = VGG16(width=1 / 16), VGG16(width=1 / 16)
    stored = dict(other.state_dict())
    del stored["features.7.bias"]
    stored["features.10.weight"] = torch.zeros(16, 8, 1, 1)  # not its shape
    stored["classifier.0.weight"] = torch.zeros(2, 2)
    path = tmp_path / f"vgg{suffix}"
    save_file(stored, path) if suffix == ".safetensors" else torch.save(stored, path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loaded = load_vgg(network, path)
    assert set(loaded.missing) == {"features.7.bias", "features.10.weight"}
    assert set(loaded.unused) == {"features.10.weight", "classifier.0.weight"}
    assert set(loaded.names) == set(stored) - set(loaded.unused)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name] if name in loaded.missing else stored[name])


def test_files_that_hold_no_weights_are_refused(tmp_path):
    network = VGG16(width=1 / 16)
    text = tmp_path / "weights.pth"
    text.write_text("not weights")
    code = tmp_path / "code.pth"
    torch.save({"features.0.weight": Hostile()}, code)
    numbers = tmp_path / "numbers.pth"
    torch.save([1, 2], numbers)
    for path in (tmp_path / "gone.pth", tmp_path / "gone.safetensors", text, code, numbers):
        with pytest.raises(UnreadableFile, match=path.name):
            load_vgg(network, path)
    assert not Hostile.ran


class Hostile:
    """Unpickling it would run code."""

    ran = False

    def __reduce__(self):
        return Hostile.run, ()

    @staticmethod
    def run():
        Hostile.ran = True
