"""VGG-16 (Simonyan & Zisserman, ICLR 2015; configuration D) without its classifier, and weights for it from a file.

Parameters are named as in torchvision's ``vgg16`` and ``vgg16_bn`` (``features.0.weight`` …), so that their state dicts
fit. We ship no weights: those trained on ImageNet have terms of their own.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.errors import UnreadableFile
from lowshot.nn.convolution import Conv2d

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Of the convolutions between two poolings."""


class VGG16(nn.Module):
    """The maps after each of five poolings, of an image whose sizes are multiples of 32.

    Args:
        channels: of the image; 3 for weights from ImageNet.
        width: by which the published widths are multiplied.
        norm: BatchNorm after every convolution, as in ``vgg16_bn``.
    """

    def __init__(self, channels: int = 3, *, width: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        self.widths = tuple(max(1, round(width * block[-1])) for block in WIDTHS)
        """Channels of the returned maps, the finest first."""
        layers: list[nn.Module] = []
        for outputs, block in zip(self.widths, WIDTHS, strict=True):
            for _ in block:
                convolution = Conv2d(channels, outputs)
                # From PyTorch's own start 13 convolutions in a row let nothing through.
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                layers += [convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b c i j"]) -> list[Float[Tensor, "b w h v"]]:
        x, maps = image, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
        return maps


class Loaded(NamedTuple):
    """What became of the tensors of a file."""

    names: tuple[str, ...]
    """Of those that the network now has."""
    missing: tuple[str, ...]
    """What the network has and the file has not, or in another shape: as it was before."""
    unused: tuple[str, ...]
    """What of the file the network has no place for."""


def load_vgg(network: VGG16, file: Path) -> Loaded:
    """Take over what fits of a state dict as torchvision saves it, ``.pth`` or ``.safetensors``.

    Raises:
        UnreadableFile: there is no such file, or it holds no tensors by name.
    """
    stored, own = _read(file), network.state_dict()
    fitting = {name: value for name, value in stored.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    counters = ("num_batches_tracked",)  # files older than they are lack them, and nothing depends on them
    missing = (name for name in own if name not in fitting and not name.endswith(counters))
    return Loaded(tuple(fitting), tuple(missing), tuple(name for name in stored if name not in fitting))


def _read(file: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        safe = file.suffix.lower() == ".safetensors"
        stored = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise UnreadableFile(
            f"{file}: expected weights (.pth or .safetensors), could not read them: {error}"
        ) from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise UnreadableFile(f"{file}: expected a state dict, tensors by name, got {type(stored).__name__}")
    return stored
