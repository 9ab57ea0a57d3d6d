"""Two arms: one reads annotated slices, and what it finds steers another that looks at slices to be segmented.

SE-Net (Roy et al., "Squeeze & Excite" guided few-shot segmentation of volumetric images, Medical Image Analysis 2020)
and two systems that its authors adapted to medical images: co-FCN (Rakelly et al., 2018) and OSLSM (Shaban et al., BMVC
2017). Sizes follow SE-Net's public code, whose two slips are not repeated: its conditioner uses the third block twice,
and its softmax is applied twice before the loss. Ours: maps are linked after their pooling; one sigmoid, which is the
softmax of two classes; the bias of OSLSM's classifier.

Several shots: every one is looked at by itself, and the logits are averaged.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Link = Callable[[int, Tensor], Tensor]
"""From the number of a stage and its map to what goes on from there."""

LEVELS = 4
STAGES = 2 * LEVELS + 1
MULTIPLE = 2**LEVELS
"""Sizes of images are multiples of it."""


def unlinked(stage: int, x: Tensor) -> Tensor:
    """The map as it is: of an arm that nothing steers."""
    return x


def marked(support: Float[Tensor, "n k c i j"], masks: Float[Tensor, "n k i j"]) -> Float[Tensor, "nk d i j"]:
    """Every support slice, with its mask as one more channel."""
    return torch.cat([support, masks[:, :, None].to(support)], dim=2).flatten(0, 1)


def for_each_shot(query: Float[Tensor, "m c i j"], shots: int) -> Float[Tensor, "mk c i j"]:
    """Every query slice as often as there are shots."""
    return query.repeat_interleave(shots, dim=0) if shots > 1 else query


def for_each_query(support: Float[Tensor, "a c h w"], rows: int) -> Float[Tensor, "b c h w"]:
    """Maps of the support slices, one for every row of the queries: those of one support set serve all of them."""
    return support if len(support) == rows else support.repeat(rows // len(support), 1, 1, 1)


def mean_of_shots(rows: Float[Tensor, "mk *map"], shots: int) -> Float[Tensor, "m *map"]:
    """The mean over the shots of each query slice."""
    return rows.reshape(-1, shots, *rows.shape[1:]).mean(dim=1)


class SpatialExcitation(nn.Module):
    """sSE between arms: q · sigmoid(conv1×1(s)), one factor for each pixel.

    Args:
        width: channels of the support's map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, 1, 1)

    def forward(self, s: Float[Tensor, "a c h w"], q: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        return q * for_each_query(self.squeeze(s).sigmoid(), len(q))


class Arm(nn.Module):
    """Blocks of one width: four that each halve the map, one between, and four that double it.

    Each is a convolution, PReLU and BatchNorm; maps are doubled by max-unpooling, to where the largest values were.

    Args:
        channels: of the input.
        width: of all maps.
        kernel: of the convolutions; 5 is published.
        beside: channels that a link adds to the maps of the first four stages.
        stages: how many blocks there are.
    """

    def __init__(self, channels: int, width: int, *, kernel: int = 5, beside: int = 0, stages: int = STAGES) -> None:
        super().__init__()
        wider = width + beside
        self.encoder = nn.ModuleList(_block(wider if n else channels, width, kernel) for n in range(LEVELS))
        self.bottleneck = nn.ModuleList(_block(wider, width, kernel) for _ in range(LEVELS, min(stages, LEVELS + 1)))
        self.decoder = nn.ModuleList(_block(width, width, kernel) for _ in range(LEVELS + 1, stages))

    def forward(self, image: Float[Tensor, "b c i j"], link: Link = unlinked) -> list[Float[Tensor, "b w h v"]]:
        """The maps of all stages, as the link leaves them."""
        x, maps, places = image, list[Tensor](), list[Tensor]()
        for block in self.encoder:
            x, place = F.max_pool2d_with_indices(block(x), (2, 2))
            places.append(place)
            x = link(len(maps), x)
            maps.append(x)
        for block in self.bottleneck:
            maps.append(link(len(maps), block(x)))
        for block in self.decoder:
            x = block(F.max_unpool2d(maps[-1], places.pop(), (2, 2)))
            maps.append(link(len(maps), x))
        return maps


class GatedArms(nn.Module):
    """SE-Net: every map of the segmenter is weighed pixel by pixel by what the conditioner sees there.

    Args:
        channels: of the images.
        widths: of the conditioner and of the segmenter.
        kernel: of the convolutions.
    """

    def __init__(self, channels: int, widths: tuple[int, int] = (16, 64), kernel: int = 5) -> None:
        super().__init__()
        conditioner, segmenter = widths
        self.conditioner = Arm(channels + 1, conditioner, kernel=kernel)
        self.segmenter = Arm(channels, segmenter, kernel=kernel)
        self.links = nn.ModuleList(SpatialExcitation(conditioner) for _ in range(STAGES))
        self.head = nn.Conv2d(segmenter, 1, 1)

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        """Logits of being inside."""
        shots = masks.shape[1]
        maps = self.conditioner(marked(support, masks))
        rows = self.segmenter(for_each_shot(query, shots), partial(self._linked, maps))[-1]
        return mean_of_shots(self.head(rows)[:, 0], shots)

    def _linked(self, maps: list[Tensor], stage: int, q: Tensor) -> Tensor:
        gated: Tensor = self.links[stage](maps[stage], q)
        return gated


class ConcatenatedArms(nn.Module):
    """co-FCN in SE-Net's arms: the conditioner's maps are laid beside the segmenter's on their way down.

    In SE-Net's public code those of a decoder are laid beside the segmenter's on their way up, too.

    Args:
        channels: of the images.
        widths: of the conditioner and of the segmenter.
        kernel: of the convolutions.
    """

    def __init__(self, channels: int, widths: tuple[int, int] = (16, 64), kernel: int = 5) -> None:
        super().__init__()
        conditioner, segmenter = widths
        self.conditioner = Arm(channels + 1, conditioner, kernel=kernel, stages=LEVELS)
        self.segmenter = Arm(channels, segmenter, kernel=kernel, beside=conditioner)
        self.head = nn.Conv2d(segmenter, 1, 1)

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        """Logits of being inside."""
        shots = masks.shape[1]
        maps = self.conditioner(marked(support, masks))
        rows = self.segmenter(for_each_shot(query, shots), partial(_beside, maps))[-1]
        return mean_of_shots(self.head(rows)[:, 0], shots)


class RegressedClassifier(nn.Module):
    """OSLSM in SE-Net's arms: the conditioner says how a pixel is classified by the segmenter's last map.

    Its deepest map, averaged over pixels, becomes the weights and the bias of a logistic classifier; in SE-Net's public
    code it is the last map of a conditioner that has a decoder, too. The mean of several shots' logits is that of
    their weights.

    Args:
        channels: of the images.
        widths: of the conditioner and of the segmenter.
        kernel: of the convolutions.
    """

    def __init__(self, channels: int, widths: tuple[int, int] = (16, 64), kernel: int = 5) -> None:
        super().__init__()
        conditioner, segmenter = widths
        self.conditioner = Arm(channels + 1, conditioner, kernel=kernel, stages=LEVELS + 1)
        self.segmenter = Arm(channels, segmenter, kernel=kernel)
        self.regression = nn.Linear(conditioner, segmenter + 1)

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        """Logits of being inside."""
        deepest = self.conditioner(marked(support, masks))[-1]
        classifier = mean_of_shots(self.regression(deepest.mean(dim=(2, 3))), masks.shape[1])
        weights, bias = classifier[:, :-1, None, None], classifier[:, -1, None, None]
        logit: Tensor = (weights * self.segmenter(query)[-1]).sum(dim=1) + bias
        return logit


def _block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.PReLU(), nn.BatchNorm2d(outputs))


def _beside(maps: list[Tensor], stage: int, q: Tensor) -> Tensor:
    return torch.cat([q, for_each_query(maps[stage], len(q))], dim=1) if stage < LEVELS else q
