"""GCN-DE's network: a support arm and a query arm, linked at nine stages by gates or by global correlation."""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.global_correlation import GlobalCorrelation, Pooled
from lowshot.nn.resnet import ResNet
from lowshot.nn.two_arm import Link, SpatialExcitation, for_each_shot, marked, mean_of_shots, unlinked

MULTIPLE = 16
"""Sizes of images are multiples of it."""
CORRELATED = (1, 2)
"""Stages of global correlation: the second and the third largest maps."""
EmbeddingStage = Literal[4, 8]


class GCNDENetwork(nn.Module):
    """Marks in query slices what is marked in support slices; every shot by itself, and the logits are averaged.

    Args:
        channels: of the images.
        width: by which the published widths are multiplied.
        correlation: global correlation at stages 1 and 2; else gates there, too.
        partitions: blocks along either side in global correlation.
        pooled: see ``GlobalCorrelation``.
        output_norm: BatchNorm of the logits.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: float = 1.0,
        correlation: bool = True,
        partitions: int = 4,
        pooled: Pooled = "large",
        output_norm: bool = True,
    ) -> None:
        super().__init__()
        self.support, self.query = Arm(channels + 1, width), Arm(channels, width)
        self.links = nn.ModuleList(
            GlobalCorrelation(each, partitions=partitions, pooled=pooled)
            if correlation and stage in CORRELATED
            else SpatialExcitation(each)
            for stage, each in enumerate(self.query.widths)
        )
        head = nn.Conv2d(self.query.widths[-1], 1, 1)
        self.head = nn.Sequential(head, nn.BatchNorm2d(1)) if output_norm else head

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        """Logits of being inside."""
        _, rows = self._maps(support, masks, query)
        return mean_of_shots(self.head(rows[-1])[:, 0], masks.shape[1])

    def segment_and_embed(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
        stage: EmbeddingStage,
    ) -> tuple[Float[Tensor, "m i j"], Float[Tensor, "n h w"], Float[Tensor, "m h w"]]:
        """Logits, and f_s and f_q of the discriminative embedding: the stage's maps, averaged over channels."""
        shots = masks.shape[1]
        maps, rows = self._maps(support, masks, query)
        f_s, f_q = (mean_of_shots(each[stage].float().mean(dim=1), shots) for each in (maps, rows))
        return mean_of_shots(self.head(rows[-1])[:, 0], shots), f_s, f_q

    def correlated(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> list[tuple[Float[Tensor, "m d ..."], Float[Tensor, "m d ..."]]]:
        """The query's maps of stages 1 and 2, each before and after its link (the paper's Fig. 4)."""
        shots, maps, found = masks.shape[1], self.support(marked(support, masks)), []

        def link(stage: int, q: Tensor) -> Tensor:
            after: Tensor = self.links[stage](maps[stage], q)
            if stage in CORRELATED:
                found.append((mean_of_shots(q, shots), mean_of_shots(after, shots)))
            return after

        self.query(for_each_shot(query, shots), link)
        return found

    def _maps(self, support: Tensor, masks: Tensor, query: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        maps = self.support(marked(support, masks))
        return maps, self.query(for_each_shot(query, masks.shape[1]), partial(self._linked, maps))

    def _linked(self, maps: list[Tensor], stage: int, q: Tensor) -> Tensor:
        after: Tensor = self.links[stage](maps[stage], q)
        return after


class Arm(nn.Module):
    """A U-Net around a ResNet-18 without its last stage (public code; the paper says ImageNet-pretrained backbone).

    Stage 0 is a stem that makes three channels of any number, 1 to 4 are the ResNet's maps at 1/2 to 1/16 of the size,
    5 to 8 come back to all of it.

    Args:
        channels: of the input.
        width: by which the published widths are multiplied.
    """

    def __init__(self, channels: int, width: float = 1.0) -> None:
        super().__init__()
        inner = max(1, round(32 * width))
        self.stem = nn.Sequential(*_layer(channels, inner, 3), *_layer(inner, 3, 1))
        self.backbone = ResNet(18, 3, width=width, stages=3)
        half, fourth, eighth, sixteenth = self.backbone.widths
        self.ups = nn.ModuleList([Up(sixteenth, eighth, eighth), Up(eighth, fourth, fourth), Up(fourth, half, half)])
        self.last = nn.Sequential(*_layer(half, half, 3))
        self.widths = (3, half, fourth, eighth, sixteenth, eighth, fourth, half, half)
        """Channels of every stage's map."""

    def forward(self, image: Float[Tensor, "b c i j"], link: Link = unlinked) -> list[Float[Tensor, "b w h v"]]:
        """The maps of all stages, as the link leaves them.

        What it makes of stages 1 to 3 goes beside the way back alone: the ResNet goes on from its own maps.
        """
        maps = [link(0, self.stem(image))]
        for stage, x in enumerate(self.backbone(maps[0]), start=1):
            maps.append(link(stage, x))
        for stage, up in enumerate(self.ups, start=5):
            maps.append(link(stage, up(maps[-1], maps[8 - stage])))
        maps.append(link(8, self.last(_doubled(maps[-1]))))
        return maps


class Up(nn.Module):
    """A map at twice the size, joined with the one beside it.

    Args:
        inputs: channels from below.
        beside: channels of the map beside.
        outputs: of all convolutions.
    """

    def __init__(self, inputs: int, beside: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(*_layer(inputs, outputs, 3))
        self.join = nn.Sequential(*_layer(outputs + beside, outputs, 3), *_layer(outputs, outputs, 3))

    def forward(self, below: Float[Tensor, "b c h w"], beside: Float[Tensor, "b d i j"]) -> Float[Tensor, "b e i j"]:
        joined: Tensor = self.join(torch.cat([self.reduce(_doubled(below)), beside], dim=1))
        return joined


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
