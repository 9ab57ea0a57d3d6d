"""MRE-Net's network: a multi-scale embedding with attention and coordinates, classified by prototype modes.

Symbols are the paper's: e the embedding, c the prototypes, α the mixing of modes, ξ the scale. What the paper
leaves open and how it is filled here stands in this folder's README.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.dilated import DILATED
from lowshot.nn.luna_park import NORM, LunaParkUNet, Norm
from lowshot.nn.resampling import average_pool
from lowshot.training.layout import CHANNELS_LAST

Mixing = Literal["adaptive", "average", "one-hot"]
Distance = Literal["cosine", "euclidean"]
POINTWISE: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


class SqueezeExcitation(nn.Module):
    """Channel attention: global average, bottleneck, sigmoid gate per channel (reduction 16 is ours)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        gate: Tensor = self.gate(x.flatten(2).mean(2))
        return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))


class AtrousPyramid(nn.Module):
    """ASPP with five branches: 1×1, three dilated 3×3, and image pooling; concatenated."""

    def __init__(
        self, inputs: int, detail_inputs: int, width: int, rates: Sequence[int], *, norm: Norm, dimensions: int
    ) -> None:
        super().__init__()
        point, dilated, normalise = POINTWISE[dimensions], DILATED[dimensions], NORM[norm, dimensions]
        self.point = nn.Sequential(point(detail_inputs, width, 1), normalise(width), nn.ReLU(inplace=True))
        self.dilated = nn.ModuleList(
            nn.Sequential(dilated(inputs, width, rate), normalise(width), nn.ReLU(inplace=True)) for rate in rates
        )
        # One value per channel and sample: a norm over the batch would be undefined for a batch of one.
        self.pooled = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True))
        self.outputs = width * (2 + len(rates))

    def forward(
        self, x: Float[Tensor, "b c *coarse"], detail: Float[Tensor, "b d *space"]
    ) -> Float[Tensor, "b w *space"]:
        """``x`` feeds all branches but the 1×1, which sees ``detail``; they are one map unless strided."""
        space = detail.shape[2:]
        dilated = torch.cat([branch(x) for branch in self.dilated], dim=1)
        point: Tensor = self.point(detail)
        pooled: Tensor = self.pooled(x.flatten(2).mean(2))
        # Spread by adding, not by ``expand``, which would lose the memory format of the concatenation.
        spread = torch.zeros_like(point) + pooled.reshape(*pooled.shape, *[1] * len(space)).to(point.dtype)
        return torch.cat([point, resize(dilated, space), spread], dim=1)


def resize(x: Float[Tensor, "b c *space"], space: Sequence[int]) -> Float[Tensor, "b c *other"]:
    """Average pooling of the axes that become smaller, then linear interpolation of those that become larger."""
    x = _smaller(x, [min(new, old) for new, old in zip(space, x.shape[2:], strict=True)])
    if tuple(x.shape[2:]) == tuple(space):
        return x
    mode = "trilinear" if len(space) == 3 else "bilinear"
    larger = F.interpolate(x, size=list(space), mode=mode, align_corners=False)
    memory_format = CHANNELS_LAST[x.ndim]
    if larger.requires_grad and larger.is_contiguous(memory_format=memory_format):
        # A concatenation sends back a slice, for which PyTorch leaves ``channels_last`` and takes ten times as long.
        larger.register_hook(partial(torch.Tensor.contiguous, memory_format=memory_format))  # type: ignore[no-untyped-call]
    return larger


def _smaller(x: Float[Tensor, "b c *space"], space: Sequence[int]) -> Float[Tensor, "b c *smaller"]:
    if tuple(x.shape[2:]) == tuple(space):
        return x
    if all(old % new == 0 for new, old in zip(space, x.shape[2:], strict=True)):
        return average_pool(x, [old // new for new, old in zip(space, x.shape[2:], strict=True)])
    pool: Callable[[Tensor, Any], Tensor] = F.adaptive_avg_pool3d if len(space) == 3 else F.adaptive_avg_pool2d
    return pool(x, space)


class Embedding(nn.Module):
    """Attentional multi-scale embedding (AMS), up to its last, voxel-wise layer.

    All right-side maps are brought to one resolution and concatenated with Cartesian coordinates, weighted by
    squeeze-and-excitation and widened by the atrous pyramid. That resolution is the image's; a ``stride`` of s
    (ours, for small machines) takes every s-th voxel instead, at rates divided by s the same reach for 1/s³ of the
    cost, and lets the pyramid's 1×1 branch keep the detail of the last map.
    With ``attention=False`` (ablation rows a to c) only the last map is used, with the coordinates where they are on.
    """

    def __init__(
        self,
        backbone: LunaParkUNet,
        *,
        attention: bool = True,
        coordinates: bool = True,
        level_width: int | None = None,
        pyramid_width: int = 256,
        pyramid_rates: Sequence[int] = (6, 12, 18),
        stride: int = 1,
        norm: Norm = "batch",
        dimensions: int = 3,
    ) -> None:
        super().__init__()
        self.backbone, self.coordinates, self.attention, self.stride = backbone, coordinates, attention, stride
        axes = dimensions * coordinates
        levels, last = backbone.widths, backbone.widths[-1] + axes
        self.outputs = last
        self.narrow = nn.ModuleList()
        if attention:
            if level_width is not None:
                # A 1×1 convolution commutes with linear interpolation: narrowing the deep maps first saves the
                # interpolation of wide ones (ours).
                self.narrow.extend(POINTWISE[dimensions](width, level_width, 1) for width in levels[:-1])
                levels = (*[level_width] * (len(levels) - 1), levels[-1])
            inputs = sum(levels) + axes
            self.excite = SqueezeExcitation(inputs)
            self.pyramid = AtrousPyramid(
                inputs, inputs if stride == 1 else last, pyramid_width, pyramid_rates, norm=norm, dimensions=dimensions
            )
            self.outputs = self.pyramid.outputs

    def forward(
        self, image: Float[Tensor, "b c *space"], coordinates: Float[Tensor, "b d *space"]
    ) -> Float[Tensor, "b w *space"]:
        maps = self.backbone(image)
        if self.coordinates:
            maps.append(coordinates.to(maps[-1].dtype))
        last = maps[-2:] if self.coordinates else maps[-1:]
        if not self.attention:
            return torch.cat(last, dim=1)
        for n, narrow in enumerate(self.narrow):
            maps[n] = narrow(maps[n])
        space = [max(1, size // self.stride) for size in image.shape[2:]]
        x = self.excite(torch.cat([resize(part, space) for part in maps], dim=1))
        embedded: Tensor = self.pyramid(x, x if self.stride == 1 else torch.cat(last, dim=1))
        return embedded


class PrototypeClassifier(nn.Module):
    """Deep metric learning head: K·M prototype modes as the weights of a bias-free layer.

    P(k) ∝ Σ_j α_kj exp(ξ ê·ĉ_kj), with ê and ĉ on the unit sphere and ξ a learnable scale. With ``euclidean`` the
    exponent is −ξ‖ê − ĉ‖² between the same normalised vectors, that is ξ (2 cos − 2).
    Mixing α: ``adaptive`` is the paper's, softmax_j of a sigmoid of two layers on e; ``average`` is 1/M;
    ``one-hot`` gives all weight to the nearest mode.
    """

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        modes: int = 3,
        mixing: Mixing = "adaptive",
        distance: Distance = "cosine",
        scale: float = 10.0,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.classes, self.modes, self.mixing, self.distance = classes, modes, mixing, distance
        self.prototypes = nn.Parameter(F.normalize(torch.randn(classes * modes, size), dim=1))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.mixer = (
            nn.Sequential(
                nn.Linear(size, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, classes * modes), nn.Sigmoid()
            )
            if mixing == "adaptive" and modes > 1
            else None
        )

    def forward(self, e: Float[Tensor, "*voxels e"]) -> Float[Tensor, "*voxels k"]:
        """Logits in float32; their softmax is P(k)."""
        c = F.normalize(self.prototypes, dim=1)
        length: Tensor = _Length.apply(e)  # type: ignore[no-untyped-call]
        cosine = F.linear(e, c).float() / length.clamp_min(1e-6)
        similarity = 2 * cosine - 2 if self.distance == "euclidean" else cosine
        exponents = self._by_mode(self.scale * similarity)
        if self.mixing == "one-hot":
            return reduce(torch.maximum, exponents)
        if self.mixer is None:
            return _log_sum(exponents) - math.log(self.modes)
        betas = self._by_mode(self.mixer(e).float())
        # log Σ_j α_j exp(x_j) with α = softmax(β)
        return _log_sum([beta + x for beta, x in zip(betas, exponents, strict=True)]) - _log_sum(betas)

    def _by_mode(self, values: Float[Tensor, "*voxels mk"]) -> Sequence[Float[Tensor, "*voxels k"]]:
        return values.reshape(*values.shape[:-1], self.modes, self.classes).unbind(-2)


class _Length(torch.autograd.Function):
    """Euclidean length along the last axis, in float32: squares of bfloat16 numbers lose the small components.

    Its gradient is e/‖e‖, zero at zero. PyTorch's own goes through float32 copies of e, at ten times the cost.
    """

    @staticmethod
    def forward(ctx: Any, e: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(
            e, dim=-1, keepdim=True, dtype=torch.promote_types(e.dtype, torch.float32)
        )
        ctx.save_for_backward(e, length)
        return length

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        e, length = ctx.saved_tensors
        scale: Tensor = (gradient / length.clamp_min(1e-12)).to(e.dtype)
        gradient_of_e: Tensor = scale * e
        return gradient_of_e


def _log_sum(terms: Sequence[Tensor]) -> Tensor:
    """Logarithm of Σ exp, term by term: over an axis of three, ``logsumexp`` is several times slower on a CPU."""
    return reduce(torch.logaddexp, terms)
