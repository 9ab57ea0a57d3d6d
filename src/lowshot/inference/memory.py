"""How much memory a forward pass takes, found without computing it."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

PRODUCTS = {
    *("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm"),
}
"""What autocast computes in half precision, whatever comes in."""


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes that storages hold which are alive after the same operation.

    Which are still alive is asked where those that ever were could come to more than before, not after every operation.
    There is no autocast on the meta device: with a ``dtype`` it casts what goes into products itself.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype = dtype
        self.peak = 0
        self._sizes: dict[StorageWeakRef, int] = {}
        self._total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.dtype is not None and func.overloadpacket.__name__ in PRODUCTS:
            args = tree_map(self._cast, args)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._total += storage.nbytes() - self._sizes.get(key, 0)
                self._sizes[key] = storage.nbytes()
        if self._total > self.peak:
            self._sizes = {key: size for key, size in self._sizes.items() if not key.expired()}  # type: ignore[no-untyped-call]
            self._total = sum(self._sizes.values())
            self.peak = max(self.peak, self._total)
        return result

    def _cast(self, leaf: Any) -> Any:
        return leaf.to(self.dtype) if isinstance(leaf, Tensor) and leaf.dtype == torch.float32 else leaf


_known: WeakKeyDictionary[nn.Module, dict[tuple[tuple[torch.Size, torch.dtype], ...], int]] = WeakKeyDictionary()
"""What was found for a network's inputs of these shapes: of many scans most are cut into tiles of one shape."""


def activation_bytes(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Most bytes of activations that a forward pass holds at once, inputs and weights not counted.

    Only shapes are computed, on the meta device: tenths of a second the first time, and no memory. PyTorch's own
    allocations (scratch space of convolutions) come to 5 % more.

    Args:
        network: in evaluation mode.
        inputs: meta tensors in the dtype that the network computes in.
    """
    known = _known.setdefault(network, {})
    shapes = tuple((each.shape, each.dtype) for each in inputs)
    if shapes not in known:
        known[shapes] = _found_on_meta(network, inputs)
    return known[shapes]


def _found_on_meta(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    dtype = inputs[0].dtype
    weights = {
        name: torch.empty_like(value, device="meta", dtype=dtype if value.is_floating_point() else value.dtype)
        for name, value in network.state_dict().items()
    }
    with torch.inference_mode(), _LiveBytes(dtype) as live:
        functional_call(network, weights, inputs)
    peak: int = live.peak
    return peak
