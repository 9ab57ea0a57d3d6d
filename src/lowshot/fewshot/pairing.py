"""Which slices of the annotated scan are the example for a slice of another scan. Two ways, which must not be mixed up.

*Chunks*, in a **granted range**: the scan was cut beforehand to the slices that show the structure, which only a
benchmark can know. Support and query ranges are split into K chunks, and the middle support slice of a chunk is the
example for all query slices of the same chunk (Roy et al., "Squeeze & Excite" guided few-shot segmentation).

*Whole volume*, what a user gets: nothing is known of the query. The annotated scan is laid upon it by their images
(``lowshot.fewshot.laying``); where a slice lies beyond the annotated structure there is none, and elsewhere the
examples are the slices of the neighbourhood that look most alike (ours).
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.errors import SettingsError
from lowshot.options import SegmentOptions
from lowshot.settings import refuse_out_of_range

LEAST_PIXELS, SLICE_PIXELS = 10, 256**2
"""That a slice of 256×256 must have more of to be among the structure's slices (SE-Net's and ALPNet's public code)."""
SIGNATURE = 24
"""A slice is compared with others by its averages over 24×24 cells."""
NEIGHBOURHOOD = 0.15
"""Of the structure's length, and two slices at least: how far an example may lie from where a slice is laid."""


Pairs = list[Int[Tensor, " _"] | None]
"""For each query slice its examples, as slices of the annotated scan; None: the structure cannot be there."""


@dataclass(frozen=True)
class PairingOptions(SegmentOptions):
    """What may be chosen when a few-shot model segments."""

    pairing: Literal["whole volume", "chunks"] = "whole volume"
    """"chunks" is for scans that were cut to the slices of the structure beforehand: a published protocol."""
    chunks: int = 3
    """K: 3 of SSL-ALPNet, 8 of GCN-DE, 12 (in code 10) of SE-Net."""
    chunk_form: Literal["clean", "legacy"] = "clean"
    """"legacy" is SE-Net's released one, whose last chunk holds a single slice."""
    in_chunk: Literal["middle", "most alike"] = "middle"
    """"most alike": of the support slices of the chunk the one most like the query's, by averages of grey values.
    GCN-DE selects slices so, by the features of a network trained on ImageNet."""
    shots: int = 3
    """Support slices for each slice of a whole volume."""
    reach: float = 0.1
    """How far beyond the annotated structure it may go on in a whole volume, as a part of its length."""
    laid: bool = True
    """Whether examples for a whole volume are moved within their planes to where they lie in the scan."""
    prior: float = 1.0
    """How much it counts in a whole volume that a structure is likely where the example's, moved, is; 0: not at all."""
    softness: float = 0.06
    """How far structures may lie from there, as a part of a slice's width: the deviation of a Gaussian."""
    slices_at_once: int = 8
    """More are faster on a GPU and take more memory."""

    def __post_init__(self) -> None:
        for name in ("chunks", "shots", "slices_at_once"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected at least 1, got {getattr(self, name)}")
        refuse_out_of_range(self, positive=("softness",), not_negative=("prior", "reach"))


def signatures(image: Float[Tensor, "n c i j"]) -> Float[Tensor, "n s"]:
    """Every slice by its averages over the cells of a coarse grid, mean 0 and length 1: a product is a correlation."""
    cells = F.adaptive_avg_pool2d(image.float(), SIGNATURE).flatten(1)
    return F.normalize(cells - cells.mean(dim=1, keepdim=True), dim=1)


class Chunk(NamedTuple):
    """Slices of a support that are compared with the same query slices."""

    slices: range
    middle: int
    """The example."""


def chunk_pairs(support: int, query: int, chunks: int, form: str = "clean") -> list[Chunk]:
    """The chunk of each of Q query slices, out of S support slices; both run in the same direction.

    "clean": chunk i has query slices from ⌊iQ/K⌋ on, support slices from ⌊iS/K⌋ on, and ⌊(i+½)S/K⌋ as its example.
    "legacy" (SE-Net's released code): its query slices begin at i(Q − 1)/(K − 1), its support slices at i(S − 1)/K,
    both rounded, and its example is ⌊⌊S/K⌋/2⌋ slices further on.
    K is no larger than S and Q.
    """
    count = min(chunks, support, query)
    if form == "legacy":
        ours = [round(i * (support - 1) / count) for i in range(count)]
        theirs = [round(i * (query - 1) / max(1, count - 1)) for i in range(count)]
        middles = [min(support - 1, first + support // count // 2) for first in ours]
    else:
        ours, theirs = ([i * size // count for i in range(count)] for size in (support, query))
        middles = [(2 * i + 1) * support // (2 * count) for i in range(count)]
    found: list[Chunk] = []
    for first, end, middle, place in zip(ours, [*ours[1:], support], middles, [*theirs[1:], query], strict=True):
        found += [Chunk(range(first, max(end, first + 1)), middle)] * (place - len(found))
    return found


def pair_chunks(
    shown: Bool[Tensor, " n"], alike: Float[Tensor, "m n"], options: PairingOptions, *, reversed_: bool = False
) -> Pairs:
    """The support slice for each query slice of a granted range.

    Args:
        shown: which slices of the annotated scan are among the structure's.
        alike: how much each query slice looks like each of the annotated scan's.
        options: number and form of chunks, which slice of a chunk.
        reversed_: whether the query's slices run in the other direction.
    """
    slices = shown.nonzero().flatten()
    chunks = chunk_pairs(len(slices), len(alike), options.chunks, options.chunk_form)
    pairs: Pairs = []
    for place, chunk in enumerate(reversed(chunks) if reversed_ else chunks):
        some = slices[chunk.slices.start : chunk.slices.stop]
        best = some[alike[place, some].argmax()] if options.in_chunk == "most alike" else slices[chunk.middle]
        pairs.append(best[None])
    return pairs


def pair_whole(
    shown: Bool[Tensor, " n"],
    lacking: Bool[Tensor, " n"],
    alike: Float[Tensor, "m n"],
    laid: Float[Tensor, " m"] | None,
    options: PairingOptions,
) -> Pairs:
    """The support slices for each slice of a whole volume; None where the structure cannot be.

    Args:
        shown: which slices of the annotated scan show the structure; at least one.
        lacking: which are known not to.
        alike: how much each query slice looks like each of the annotated scan's.
        laid: at which slice of the annotated scan each query slice lies; None: nobody knows, so it may be anywhere.
        options: number of shots, and how far beyond the structure's slices it may go on.
    """
    slices = shown.nonzero().flatten()
    if laid is None:
        best = alike[:, slices].topk(min(options.shots, len(slices)), dim=1).indices
        return list(slices[best])
    lowest, highest = _range(shown, lacking, options.reach)
    near = max(2.0, NEIGHBOURHOOD * float(slices[-1] - slices[0]))
    pairs: Pairs = []
    for place, position in enumerate(laid.tolist()):
        if not lowest <= position <= highest:
            pairs.append(None)
            continue
        away = (slices - position).abs()
        some = slices[away <= max(near, float(away.min()))]
        pairs.append(some[alike[place, some].topk(min(options.shots, len(some))).indices])
    return pairs


def _range(shown: Bool[Tensor, " n"], lacking: Bool[Tensor, " n"], reach: float) -> tuple[float, float]:
    """Between which slices the structure may be: up to the next ones that are known to lack it, and some more."""
    there, without = shown.nonzero().flatten(), lacking.nonzero().flatten()
    first, last = int(there[0]), int(there[-1])
    more = reach * (last - first)
    below, above = without[without < first], without[without > last]
    lowest = float(below.max()) - more if len(below) else -math.inf
    return lowest, float(above.min()) + more if len(above) else math.inf
