"""One scan in, one result out."""

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.contract import Deforms, Model, Region, Result
from lowshot.errors import ChannelMismatch
from lowshot.imaging.axis_map import AxisMap
from lowshot.imaging.check import by_channel, refuse_blank, told_of_few_values
from lowshot.imaging.preparation import Prepared
from lowshot.imaging.scan import Scan, Segmentation
from lowshot.inference.assemble import ProbabilityFile, assemble
from lowshot.options import SegmentOptions
from lowshot.progress import Task
from lowshot.training.run import Run

MUCH_FOLDED = 0.01
"""Share of voxels: a deformation of a body that fits has hardly any."""
LEAST_ALIKE = 0.4
"""Correlation: 0.43 to 0.87 of hearts, abdomens and brains with others, 0.01 with noise, -0.25 to 0.4 with inverted
ones and most other parts of the body (a few registrations each, by hand). A long optimisation makes more of some: an
abdomen, made as small as a brain, came to 0.64 with it."""
MOST_SCALED = 4.0
"""Times in volume: other adults' brains, abdomens and hearts are as large within a half, a newborn's brain is a quarter
of its mother's; that abdomen is fourteen times as large as that brain."""


class Laid(NamedTuple):
    """How the annotated scans came to lie upon a scan."""

    folded: float
    """Share of the scan that lies in folds."""
    alike: float
    """Correlation with the one that looks most like the scan."""
    larger: float
    """Volume of the scan over that of the annotated one which fits best in size."""


def predict(
    model: Model,
    scan: Scan,
    run: Run,
    options: SegmentOptions,
    keep_probability: Callable[[str, Float[Tensor, "i j k"]], None] | None = None,
) -> Result:
    """Segment a scan on its own grid.

    Args:
        model: what ``fit`` or ``adapt`` returned.
        scan: with the model's channels, in the model's order.
        run: device and precision.
        options: an instance of the method's ``Options``.
        keep_probability: called with the name and the probabilities of one structure after the other, if given.

    Raises:
        ChannelMismatch: the scan has other channels than the model was made for.
    """
    return predict_prepared(model, scan, prepare(model, scan), run, options, keep_probability)


def look(model: Model, scan: Scan) -> AxisMap:
    """On which grid the model will see the scan: what its memory follows from, before it is taken.

    Raises:
        ChannelMismatch: the scan has other channels than the model was made for.
        InputError: there is nothing to see in it, or the grid would be absurdly large.
    """
    check_channels(model, scan)
    refuse_blank(scan)
    return model.preparation.axis_map(scan)


def prepare(model: Model, scan: Scan) -> Prepared:
    """The scan as the model sees it; the first half of ``predict``.

    Raises:
        ChannelMismatch: the scan has other channels than the model was made for.
        InputError: the grid would be absurdly large.
    """
    return model.preparation.apply(scan, look(model, scan))


def predict_prepared(
    model: Model,
    scan: Scan,
    prepared: Prepared,
    run: Run,
    options: SegmentOptions,
    keep_probability: Callable[[str, Float[Tensor, "i j k"]], None] | None = None,
) -> Result:
    """The second half of ``predict``, for those who ``look`` first how much memory it will take."""
    regions, laid = _regions(model, prepared, run, options)
    with run.progress.task(f"segmenting {prepared.name}", total=100) as task:
        told = _told(regions, prepared, len(model.names), task)
        decide = partial(assemble, told, prepared, model.preparation, model.names, one_piece=options.one_piece)
        if keep_probability is None:
            labels, quality = decide()
        else:
            with tempfile.TemporaryDirectory() as folder:
                scratch = ProbabilityFile(Path(folder) / "probabilities", prepared.grid.shape, len(model.names))
                labels, quality = decide(scratch)
                for k, name in enumerate(model.names.names):
                    keep_probability(name, scratch.on_scan(k, model.preparation, prepared))
    notes = [*_notes(model, scan, prepared), *_doubts(labels, laid)]
    return Result(
        Segmentation(labels, model.names, scan.affine), quality, tuple(notes), None if laid is None else laid.folded
    )


def _regions(
    model: Model, prepared: Prepared, run: Run, options: SegmentOptions
) -> tuple[Iterator[Region], Laid | None]:
    """The prediction piece by piece; of a model that deforms also how its annotated scans lie."""
    if not isinstance(model, Deforms):
        return model.regions(prepared, run, options), None
    with run.progress.task(f"registering {prepared.name}", total=1) as task:  # a task of its own: it may take a minute
        found = model.correspondences(prepared, run, options)
        task.advance()
    folded = sum(each.folded_share() for each in found) / len(found)
    larger = [1 / max(abs(float(np.linalg.det(each.world[:3, :3]))), 1e-9) for each in found]
    best = min(larger, key=lambda times: abs(math.log(times)))
    return model.copied(prepared, found), Laid(folded, model.likeness(prepared, found), best)


def _notes(model: Model, scan: Scan, prepared: Prepared) -> Iterator[str]:
    """How the scan was looked at, where its owner may not expect it."""
    yield from filter(None, (told_of_few_values(where, image) for where, image in by_channel(scan)))
    preparation, shape = model.preparation, scan.grid.shape
    seen = tuple(part.stop - part.start for part in prepared.axis_map.scan_box())
    if not isinstance(preparation.crop, str) and seen != shape:
        few, all_of_it = "×".join(map(str, seen)), "×".join(map(str, shape))
        yield f"the model looks at {few} of the {all_of_it} voxels, the middle of the scan; the rest is background"
    if not scan.spacing_known and preparation.spacing is not None:
        yield "the file does not say how large its pixels are; they were taken to be as large as the annotated scan's"


def _doubts(labels: Int[Tensor, "i j k"], laid: Laid | None) -> Iterator[str]:
    """Why the result may be wrong, whatever Dice the model expects of it."""
    if not bool(labels.any()):
        yield "nothing was found in this scan"
    if laid is None:
        return
    if laid.folded > MUCH_FOLDED:
        share = f"{100 * laid.folded:.1f} %"
        yield f"{share} of the voxels lie in folds of the deformation: the annotated scan hardly fits this one"
    if laid.alike < LEAST_ALIKE:
        yield (
            f"it does not look like the annotated scan (correlation {laid.alike:.2f} where they were laid upon each "
            "other): another part of the body, or another kind of picture? Do not trust the result"
        )
    if not 1 / MOST_SCALED < laid.larger < MOST_SCALED:
        times = f"{laid.larger:.0f} times as large" if laid.larger > 1 else f"{1 / laid.larger:.0f} times as small"
        yield (
            f"it is {times}, in volume, as the annotated scan that was laid upon it: another part of the body, or "
            "another unit? Do not trust the result"
        )


def _told(regions: Iterator[Region], prepared: Prepared, classes: int, task: Task) -> Iterator[Region]:
    """The regions, while the task is told how many per cent of the scan they cover."""
    voxels, done, told = math.prod(prepared.grid.shape), 0.0, 0
    for region in regions:
        yield region
        done += region.scores.numel() / (voxels * classes if region.scores.is_floating_point() else voxels)
        task.advance(round(100 * done) - told)
        told = round(100 * done)
    task.advance(100 - told)  # classes that are nowhere are not told of


def check_channels(model: Model, scan: Scan) -> None:
    """Refuse a scan whose channels are not the model's, in the model's order."""
    if scan.channels == model.channels:
        return
    advice = f"name the files, such as {model.channels[0]}=FILE.nii.gz"
    if sorted(scan.channels) == sorted(model.channels):
        advice = f"give them in the model's order: {','.join(f'{channel}=FILE' for channel in model.channels)}"
    raise ChannelMismatch(
        f"{scan.name}: the model was made for the channels {', '.join(model.channels)}, in this order, "
        f"the scan has {', '.join(scan.channels)}; {advice}"
    )
