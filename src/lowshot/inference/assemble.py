"""The one consumer of regions: from pieces of scores to a label map on the scan's own grid, in bounded memory.

Whatever the number of classes, four volumes are kept on the prepared grid: the best class of every voxel, its
probability, that of the second best, and what the best is judged by. Resampling to the scan's grid needs no more than
the first three (``Preparation.undo_labels``).
"""

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.contract import Quality, Region
from lowshot.errors import LowshotError, OutputError
from lowshot.imaging.names import Names
from lowshot.imaging.pieces import largest_pieces
from lowshot.imaging.preparation import Preparation, Prepared

BYTES_PER_VOXEL = 2 + 4 + 4 + 4
"""Label as int16, three probabilities as float32."""


@dataclass(eq=False)
class Decision:
    """Running argmax over classes that may come in any pieces."""

    labels: Int[Tensor, "i j k"]
    best: Float[Tensor, "i j k"]
    second: Float[Tensor, "i j k"]
    judged: Float[Tensor, "i j k"]
    """Of the best class, the probability that tells the Dice to expect."""
    expected_size: Float[Tensor, " classes"]
    """Σ p over the voxels, for every class: how large the model expects it to be."""
    sure: bool = True
    """Whether scores tell how sure the model is: False once a region came as finished labels, or as a copied map."""

    @classmethod
    def empty(cls, shape: tuple[int, int, int], classes: int) -> "Decision":
        """Nothing decided yet."""
        return cls(
            labels=torch.zeros(shape, dtype=torch.int16),
            best=torch.full(shape, -1.0),
            second=torch.zeros(shape),
            judged=torch.zeros(shape),
            expected_size=torch.zeros(classes, dtype=torch.float64),
        )

    def add(self, region: Region) -> None:
        """Take one region into account."""
        if not region.scores.is_floating_point():
            self.labels[region.slices] = region.scores.to(self.labels.dtype)
            self.best[region.slices] = 1.0
            self.sure = False
            return
        self.sure &= region.sure
        scores, judged = region.scores, region.scores if region.judged is None else region.judged
        self.expected_size[region.classes] += judged.sum(dim=(1, 2, 3), dtype=torch.float64)
        top = scores.topk(min(2, len(scores)), dim=0)
        best, second = self.best[region.slices], self.second[region.slices]
        runner_up = top.values[1] if len(scores) > 1 else torch.zeros_like(best)
        wins = top.values[0] > best
        # The second best is the larger of the loser's best and the winner's own runner-up.
        second.copy_(torch.where(wins, torch.maximum(best, runner_up), torch.maximum(second, top.values[0])))
        offset = region.classes.start or 0
        labels = self.labels[region.slices]
        labels.copy_(torch.where(wins, (top.indices[0] + offset).to(labels.dtype), labels))
        best.copy_(torch.maximum(best, top.values[0]))
        own = self.judged[region.slices]
        own.copy_(torch.where(wins, judged.gather(0, top.indices[:1])[0], own))

    def margin(self) -> Float[Tensor, "i j k"]:
        """Probability of the winner minus that of the second best; 1 for finished labels."""
        return (self.best - self.second.clamp_min(0)).clamp_min(0)

    def keep_largest_pieces(self) -> None:
        """Of every structure; the others become background."""
        self.labels.masked_fill_(~largest_pieces(self.labels), 0)

    def quality(self, names: Names) -> dict[str, Quality | None]:
        """Expected Dice 2 Σ p·ŷ / (Σ p + Σ ŷ) of every structure; None without such, or where both are 0."""
        if not self.sure:
            return dict.fromkeys(names.foreground)
        agreed, sizes = torch.zeros(len(names), dtype=torch.float64), torch.zeros(len(names), dtype=torch.int64)
        for labels, judged in zip(self.labels, self.judged, strict=True):  # all at once would take 16 bytes per voxel
            flat = labels.flatten().long()
            agreed += torch.bincount(flat, judged.flatten().double(), minlength=len(names))
            sizes += torch.bincount(flat, minlength=len(names))
        found: dict[str, Quality | None] = {}
        for k, name in enumerate(names.foreground, start=1):
            total = float(self.expected_size[k] + sizes[k])
            found[name] = Quality(expected_dice=float(2 * agreed[k]) / total) if total >= 1 else None
        return found


def assemble(
    regions: Iterable[Region],
    prepared: Prepared,
    preparation: Preparation,
    names: Names,
    probabilities: "ProbabilityFile | None" = None,
    *,
    one_piece: bool = False,
) -> tuple[Int[Tensor, "i j k"], dict[str, Quality | None]]:
    """The label map on the scan's own grid, and how good the model expects it to be.

    Args:
        regions: pieces of scores on the prepared grid.
        prepared: the scan as the model saw it.
        preparation: how it came about.
        names: the structures.
        probabilities: where to keep every class's probabilities as well; None: nowhere.
        one_piece: whether of every structure the largest piece alone is kept.
    """
    decision = Decision.empty(prepared.grid.shape, len(names))
    for region in regions:
        decision.add(region)
        if probabilities is not None:
            probabilities.add(region)
    if not bool((decision.best >= 0).all()):  # negative as it began, or NaN
        raise LowshotError(f"{prepared.name}: the model gave no (finite) score for a part of the scan")
    if one_piece:
        decision.keep_largest_pieces()
    labels = preparation.undo_labels(decision.labels, prepared, decision.margin())
    if one_piece:  # again: on another grid a thin bridge may be gone
        labels = labels.masked_fill(~largest_pieces(labels), 0)
    return labels, decision.quality(names)


class ProbabilityFile:
    """Probabilities of all classes, streamed to a file on disk so that they never stand in memory together."""

    def __init__(self, path: Path, shape: tuple[int, int, int], classes: int) -> None:
        """Create the scratch file: float16, ``classes`` volumes one after the other.

        Raises:
            OutputError: the disk has not enough room for it.
        """
        size = classes * shape[0] * shape[1] * shape[2]
        _reserve(path, 2 * size)
        flat = torch.from_file(str(path), shared=True, size=size, dtype=torch.float16)
        with suppress(OSError):  # Windows keeps the name of a mapped file
            path.unlink()  # its room is free again once this process has ended, however it ends
        self._volumes = flat.reshape(classes, *shape)

    def add(self, region: Region) -> None:
        """Write one region's scores; finished labels become probabilities of 0 and 1."""
        target = (slice(None), *region.slices)
        if region.scores.is_floating_point():
            self._volumes[(region.classes, *region.slices)] = region.scores.half()
            return
        for k, volume in enumerate(self._volumes[target]):
            volume.copy_((region.scores == k).half())

    def on_scan(self, k: int, preparation: Preparation, prepared: Prepared) -> Float[Tensor, "i j k"]:
        """Probability of structure ``k`` on the scan's own grid; 0 outside of the crop."""
        return preparation.undo(self._volumes[k : k + 1].float(), prepared)[0]


def _reserve(path: Path, size: int) -> None:
    """Take the room for a file at once: writing to a mapped file on a full disk kills the process without a word."""
    free = shutil.disk_usage(path.parent).free
    full = size > free
    if not full and hasattr(os, "posix_fallocate"):  # others may be filling the disk meanwhile
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:  # not every file system knows how
            full = error.errno == errno.ENOSPC
    if full:
        raise OutputError(
            f"{path}: keeping all probabilities takes {size / 1e9:.1f} GB for a while, {free / 1e9:.1f} GB are free; "
            "make room, or choose another place for temporary files with the variable TMPDIR"
        )
