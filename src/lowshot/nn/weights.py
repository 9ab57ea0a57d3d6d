"""Weights from a file for a backbone whose parameters are named as in torchvision, so that its state dicts fit.

We ship no weights: those trained on ImageNet or COCO have terms of their own.
"""

import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lowshot.errors import SettingsError, UnreadableFile, printable
from lowshot.progress import Progress
from lowshot.wording import listed

COUNTER = "num_batches_tracked"
"""Files older than these lack them, and nothing depends on them."""

LONGEST = 8
"""What a stranger's file holds can be any number of things; so many are told."""

WIDEST = 4.0
"""Times the published width of a backbone."""
IMAGENET_CHANNELS = (1, 3)
"""That weights from ImageNet are good for; a grey channel is repeated."""


class Loaded(NamedTuple):
    """What became of the tensors of a file."""

    names: tuple[str, ...]
    """Of those that the network now has."""
    missing: tuple[str, ...]
    """What the network has and the file has not, or in another shape: as it was before."""
    unused: tuple[str, ...]
    """What of the file the network has no place for."""
    prefix: str = ""
    """What names in the file carry before the network's own; nowhere part of the names here."""

    def table(self) -> str:
        """A line for each part of the network (first word of the name), and for each that the file has besides."""
        taken, missing, unused = (_by_part(names) for names in (self.names, self.missing, self.unused))
        own = dict.fromkeys((*taken, *missing))
        lines = [f"{part}: {taken[part]} of {taken[part] + missing[part]} taken{_more(unused[part])}" for part in own]
        others = [f"{part}: {unused[part]} in the file, no place" for part in unused if part not in own]
        more = [f"and {len(others) - LONGEST} more without a place"] if len(others) > LONGEST else []
        return "\n".join(map(printable, (*lines, *others[:LONGEST], *more)))


def load_file_into(network: nn.Module, file: Path) -> Loaded:
    """Take over what fits of a state dict, ``.pth``, ``.pt`` or ``.safetensors``; the rest stays as it was.

    All names in the file may carry a prefix: ``backbone.`` in torchvision's DeepLabV3, ``module.`` from DataParallel.

    Raises:
        UnreadableFile: there is no such file, or it holds no tensors by name.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: value for name, value in _read(file).items() if not name.endswith(COUNTER)}
    prefix, fitting, unused = _prefix(found, own), dict[str, Tensor](), list[str]()
    for full, value in found.items():
        name = full.removeprefix(prefix)
        if full.startswith(prefix) and name in own and own[name].shape == value.shape:
            fitting[name] = value
        else:
            unused.append(name)
    network.load_state_dict(fitting, strict=False)
    return Loaded(tuple(fitting), tuple(name for name in own if name not in fitting), tuple(unused), prefix)


def take_weights(network: nn.Module, file: Path, progress: Progress) -> None:
    """Load what fits and say part by part what did; warn of what the file did not have.

    Raises:
        UnreadableFile: there is no such file, or it holds no tensors by name.
        SettingsError: less than half of the network's tensors are in it; it is of another architecture.
    """
    loaded = load_file_into(network, file)
    table, missing = loaded.table(), loaded.missing
    if len(loaded.names) < max(1, len(missing)):
        found = table.replace("\n", "; ")
        raise SettingsError(
            f"{file}: a weights file of another architecture, or width, than {type(network).__name__}'s; "
            f"expected {', '.join(missing[:2])} and so on as in torchvision, found {found}"
        )
    progress.note(f"{file.name}:\n{table}")
    if missing:
        progress.warn(f"{file.name} has no fitting {listed(missing, LONGEST)}; these begin at random")


def _prefix(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What stands most often before a name of the network's; nothing, where that is as frequent."""
    before = Counter({"": 0})
    for name in found:
        words = name.split(".")
        for count in range(len(words)):
            if ".".join(words[count:]) in own:
                before["".join(f"{word}." for word in words[:count])] += 1
    return max(before, key=before.__getitem__)


def _by_part(names: Iterable[str]) -> Counter[str]:
    return Counter(name.partition(".")[0] for name in names)


def _more(unused: int) -> str:
    return f", {unused} in the file without a place" if unused else ""


def _read(file: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        safe = file.suffix.lower() == ".safetensors"
        stored = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise UnreadableFile(
            f"{file}: expected weights (.pth, .pt or .safetensors), could not read them: {error}"
        ) from error
    if not isinstance(stored, Mapping):
        raise UnreadableFile(f"{file}: expected a state dict, tensors by name, got {type(stored).__name__}")
    for name, value in stored.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UnreadableFile(f"{file}: expected a state dict, tensors by name, got {name}: {type(value).__name__}")
    return stored


def refuse_width(width: float) -> None:
    """Look at the setting ``width`` of a method with a published backbone.

    Raises:
        SettingsError: absurdly wide.
    """
    if width > WIDEST:
        raise SettingsError(f"width: expected at most {WIDEST:g} times the published one, got {width}")


def problems_of_weights(weights: str | None, backbone: str, channels: int = 1) -> list[str]:
    """Why a method cannot begin with a file's weights: there is none, or images have neither one channel nor three."""
    if weights is None:
        return []
    found = []
    if channels not in IMAGENET_CHANNELS:
        found.append(f"weights of {backbone} are for one grey channel or three, and there are {channels}")
    if not Path(weights).is_file():
        found.append(f"there is no file of weights at {weights}")
    return found
