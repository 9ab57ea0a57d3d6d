"""External attention with several heads, as MT-UNet has it: tokens meet a small learned memory, not each other.

After Guo et al., *Beyond Self-attention: External Attention using Two Linear Layers*; sizes: MT-UNet's public code.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

HEADS = 32
WIDER = 4
MEMORIES = 64
EPSILON = 1e-9


class ExternalAttention(nn.Module):
    """Four times wider, in 32 heads that share a memory of 64 keys and 64 values, and back.

    Args:
        width: of a token; a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % (HEADS // WIDER):
            raise ValueError(f"width: expected a multiple of {HEADS // WIDER}, got {width}")
        # The public code's two biases here are the same for all tokens, so that the softmax over them removes them.
        self.query = nn.Linear(width, WIDER * width, bias=False)
        self.keys = nn.Linear(WIDER * width // HEADS, MEMORIES, bias=False)
        self.values = nn.Linear(MEMORIES, WIDER * width // HEADS)
        self.out = nn.Linear(WIDER * width, width)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens of one image share their attention, in whatever order they are."""
        similarity = self.keys(self.query(tokens).unflatten(-1, (HEADS, -1)))
        found: Tensor = self.out(self.values(normalised_twice(similarity)).flatten(2))
        return found


def normalised_twice(similarity: Float[Tensor, "b n h m"]) -> Float[Tensor, "b n h m"]:
    """Softmax over the tokens n, then divided by the sum over the memories m; in float32, then as it came."""
    attention: Tensor = _NormalisedTwice.apply(similarity)  # type: ignore[no-untyped-call]
    return attention


class _NormalisedTwice(torch.autograd.Function):
    """With its own gradient, image by image on a CPU.

    There are 64 · 32 numbers for every token. As a chain of operations over the batch, they and what autograd keeps of
    them outgrow the cache, and took half of a training step of a narrow network; this keeps the result alone.
    """

    @staticmethod
    def forward(context: Any, similarity: Tensor) -> Tensor:
        attention, sums = torch.empty_like(similarity), similarity.new_empty(similarity.shape[:-1], dtype=torch.float32)
        for s, result, of_memories in _pieces(similarity, attention, sums):
            a = s.softmax(1, dtype=torch.float32)
            torch.add(a.sum(-1), EPSILON, out=of_memories)
            torch.div(a, of_memories[..., None], out=a)
            result.copy_(a)
        context.save_for_backward(attention, sums)
        return attention

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        attention, sums = context.saved_tensors
        found = torch.empty_like(attention)
        for p, r, g, result in _pieces(attention, sums, gradient, found):
            # p = a / r, r = Σ_m a + ε and a = exp(s) / Σ_n exp(s), so with h = p (g − Σ_m p g): ∂s = h − a Σ_n h.
            a = p.float()
            h = a * g
            h.addcmul_(a, h.sum(-1, keepdim=True), value=-1)
            a *= r[..., None]
            result.copy_(h.addcmul_(a, h.sum(1, keepdim=True), value=-1))
        return found


def _pieces(*batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Single images on a CPU, so that they stay in its cache; the whole batch elsewhere."""
    count = 1 if batches[0].device.type == "cpu" else len(batches[0])
    return zip(*(torch.split(batch, count) for batch in batches), strict=True)
