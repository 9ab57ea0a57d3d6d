"""Local-global Gaussian-weighted attention of MT-UNet (Wang et al., ICASSP 2022), for all windows at once.

Within windows of 4×4 tokens every token attends to every other one. Each window is then summarised by one token, and
these attend to their row and column, the less the farther away. Layout and sizes: MT-UNet's public code, which loops
over summaries; ``benchmarks/mt_unet_attention.py`` compares.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WINDOW = 4
HEADS = 8


class LocalGlobalAttention(nn.Module):
    """Maps of any size, with channels last; sizes that are no multiples of 4 are padded with zeros meanwhile.

    Args:
        width: of a token; a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.local = WindowAttention(width)
        self.share = nn.Linear(width, WINDOW**2)
        self.axial = GaussianAxialAttention(width)
        self.join = nn.Linear(2 * width, width)
        """Takes the interpolated summaries first, then the windows."""

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """What each token learns of its window, and its window of others."""
        _, h, w, _ = tokens.shape
        windows = self.local(into_windows(tokens))
        distant = self.axial(self.summarised(windows))
        # Interpolation is linear, so that it can follow: the product is then needed for a sixteenth of the tokens.
        from_distant, from_windows = self.join.weight.chunk(2, dim=1)
        near = F.linear(out_of_windows(windows, (h, w)), from_windows, self.join.bias)
        return near + enlarged(F.linear(distant, from_distant), (h, w))

    def summarised(self, windows: Float[Tensor, "b p q t d"]) -> Float[Tensor, "b p q d"]:
        """The mean of each window's tokens, weighted by a softmax that their plain mean decides."""
        shares = self.share(windows.mean(dim=3)).float().softmax(dim=-1).to(windows.dtype)
        summaries: Tensor = shares[..., None, :] @ windows
        return summaries.squeeze(-2)


class WindowAttention(nn.Module):
    """Self-attention with 8 heads within each window."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % HEADS:
            raise ValueError(f"width: expected a multiple of {HEADS}, got {width}")
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, windows: Float[Tensor, "b p q t d"]) -> Float[Tensor, "b p q t d"]:
        """Every token's mixture of the values in its window."""
        parts = self.query_key_value(windows).unflatten(-1, (3, HEADS, -1))
        # (b, p, q, t, 3, head, c) -> (3, b, p, q, head, t, c). For so few tokens, batched products took a fourth to a
        # twelfth of scaled_dot_product_attention's time (forward and backward in bfloat16 on a CPU).
        query, key, value = parts.permute(4, 0, 1, 2, 5, 3, 6).contiguous().unbind()
        scores = (query @ key.mT).float() * query.shape[-1] ** -0.5
        mixed = scores.softmax(dim=-1).to(value.dtype) @ value
        found: Tensor = self.out(mixed.transpose(3, 4).flatten(4))
        return found


class GaussianAxialAttention(nn.Module):
    """Attention along rows plus attention along columns, which share queries, keys and values; one head, unscaled.

    To every score −(s·d² + b) is added, d being the distance in tokens and s learned. The public code learns b, too; as
    it is the same for all that a softmax compares, it changes nothing and is left out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(width, 3 * width)
        self.sharpness = nn.Parameter(torch.randn(()).abs())
        """s; begins as in the public code."""

    def forward(self, tokens: Float[Tensor, "b p q d"]) -> Float[Tensor, "b p q d"]:
        """The sum of both."""
        parts = self.query_key_value(tokens).chunk(3, dim=-1)
        along_columns = self._along_rows(*(part.transpose(1, 2) for part in parts))
        return self._along_rows(*parts) + along_columns.transpose(1, 2)

    def _along_rows(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        place = torch.arange(query.shape[2], device=query.device)
        bias = -self.sharpness * (place - place[:, None]).square()
        return F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype), scale=1.0)


def into_windows(tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b p q t d"]:
    """4×4 tokens in each of p × q windows, with zeros beyond the end of the map."""
    b, h, w, d = tokens.shape
    p, q = -(-h // WINDOW), -(-w // WINDOW)
    padded = F.pad(tokens, (0, 0, 0, q * WINDOW - w, 0, p * WINDOW - h))
    return padded.reshape(b, p, WINDOW, q, WINDOW, d).transpose(2, 3).flatten(3, 4)


def out_of_windows(windows: Float[Tensor, "b p q t d"], size: tuple[int, int]) -> Float[Tensor, "b h w d"]:
    """Undoes ``into_windows``."""
    b, p, q, _, d = windows.shape
    together = windows.reshape(b, p, q, WINDOW, WINDOW, d).transpose(2, 3).reshape(b, p * WINDOW, q * WINDOW, d)
    return together[:, : size[0], : size[1]]


def enlarged(tokens: Float[Tensor, "b p q d"], size: tuple[int, int]) -> Float[Tensor, "b h w d"]:
    """Four times larger by bilinear interpolation between corners, then cropped to ``size``.

    As two matrix products: ``interpolate`` would leave tokens, and their gradient, with channels first.
    """
    down, across = (_interpolation(coarse, fine, tokens) for coarse, fine in zip(tokens.shape[1:3], size, strict=True))
    b, _, q, d = tokens.shape
    columns: Tensor = down @ tokens.flatten(2)
    found: Tensor = across @ columns.reshape(b, -1, q, d)
    return found


def _interpolation(coarse: int, fine: int, like: Tensor) -> Float[Tensor, "fine coarse"]:
    """The first rows of the matrix that makes 4 × coarse samples, the first and the last where they were."""
    place = torch.linspace(0, coarse - 1, WINDOW * coarse, device=like.device)[:fine, None]
    distance = (place - torch.arange(coarse, device=like.device)).abs()
    return (1 - distance).clamp_min(0).to(like.dtype)
