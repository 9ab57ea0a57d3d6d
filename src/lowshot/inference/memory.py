"""How much memory a forward pass takes, found without computing it."""

import copy
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that are alive at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._seen = set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def peak_bytes(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Most bytes of activations that a forward pass holds at once.

    The network's shapes are run on the meta device, so this takes milliseconds and no memory. ``inputs`` are meta
    tensors in the dtype that the network computes in.
    """
    shapes = copy.deepcopy(network).to("meta").to(inputs[0].dtype).eval()
    with torch.inference_mode(), _LiveBytes() as live:
        shapes(*inputs)
    return live.peak
