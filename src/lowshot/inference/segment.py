"""One scan in, one result out."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lowshot.contract import Model, Result
from lowshot.errors import ChannelMismatch
from lowshot.imaging.preparation import Prepared
from lowshot.imaging.scan import Scan, Segmentation
from lowshot.inference.assemble import BYTES_PER_VOXEL, ProbabilityFile, assemble
from lowshot.training.run import Run


def segment(
    model: Model,
    scan: Scan,
    run: Run,
    options: Any,
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
    check_channels(model, scan)
    prepared = model.preparation.apply(scan)
    regions = model.regions(prepared, run, options)
    if keep_probability is None:
        labels, quality = assemble(regions, prepared, model.preparation, model.names)
    else:
        with tempfile.TemporaryDirectory() as folder:
            scratch = ProbabilityFile(Path(folder) / "probabilities", prepared.grid.shape, len(model.names))
            labels, quality = assemble(regions, prepared, model.preparation, model.names, scratch)
            for k, name in enumerate(model.names.names):
                keep_probability(name, scratch.on_scan(k, model.preparation, prepared))
    return Result(Segmentation(labels, model.names, scan.affine), quality)


def check_channels(model: Model, scan: Scan) -> None:
    """Refuse a scan whose channels are not the model's, in the model's order."""
    if scan.channels != model.channels:
        raise ChannelMismatch(
            f"{scan.name}: the model was made for the channels {', '.join(model.channels)}, in this order, "
            f"the scan has {', '.join(scan.channels)}; name the files, such as {model.channels[0]}=FILE.nii.gz"
        )


def memory_needed(model: Model, prepared: Prepared, run: Run, options: Any) -> int:
    """Bytes that segmenting will add at its peak to a process that has read and prepared the scan."""
    x, y, z = prepared.grid.shape
    return model.working_memory((x, y, z), run, options) + BYTES_PER_VOXEL * x * y * z
