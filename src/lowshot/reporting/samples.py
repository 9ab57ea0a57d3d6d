"""A batch of slices as a network gets them: one picture of all, with the outlines of their structures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.imaging.names import Names
from lowshot.reporting.figures import grey_window, rgba
from lowshot.reporting.outlines import outline_all
from lowshot.reporting.palette import colour
from lowshot.reporting.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
SIDE = 2.6
"""Of a panel, in inches."""
UNKNOWN = "#6e6e8c"


def write_samples(
    path: Path | str,
    image: Float[Tensor, "b c i j"],
    labels: Int[Tensor, "b i j"],
    names: Names,
    known: Bool[Tensor, "b i j"] | None = None,
) -> None:
    """Write ``picture`` as PNG.

    Raises:
        OutputError: full disk, no permission.
    """
    with atomic_path(path) as temporary:
        picture(image, labels, names, known).savefig(temporary, dpi=120, format="png")


def picture(
    image: Float[Tensor, "b c i j"],
    labels: Int[Tensor, "b i j"],
    names: Names,
    known: Bool[Tensor, "b i j"] | None = None,
) -> "Figure":
    """Every slice as it is, and again with outlines below; all in one grey window, so that their tones can be compared.

    The first channel is shown as on a clinical workstation: axes run to the right of the body and to its front or head,
    so the first is drawn from right to left and the second upwards. What is unknown is tinted.

    Args:
        image: slices.
        labels: structure indices.
        names: of the structures, for the legend.
        known: where labels are known; None: everywhere.
    """
    from matplotlib.figure import Figure

    slices = [_upright(*each) for each in zip(image[:, 0].float().cpu(), labels.cpu(), strict=True)]
    window = grey_window(slices)
    columns = min(COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    figure = Figure(figsize=(SIDE * columns, 2 * SIDE * rows + 0.5), layout="constrained", facecolor="black")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    for n, each in enumerate(slices):
        row, column = 2 * (n // columns), n % columns
        plain, outlined = panels[row, column], panels[row + 1, column]
        for panel in (plain, outlined):
            panel.imshow(each.image, cmap="gray", vmin=window[0], vmax=window[1], interpolation="bilinear")
        _outline(outlined, each, None if known is None else _turned(~known[n].cpu().numpy()))
    _legend(figure, np.unique(labels[labels > 0].cpu().numpy()).tolist(), names, known)
    return figure


def _upright(image: Float[Tensor, "i j"], labels: Int[Tensor, "i j"]) -> Slice:
    shown, outlined = _turned(image.numpy()), _turned(labels.numpy().astype(np.int16))
    return Slice("picture", 1, 1, "", shown, outlined, outlined, (1.0, 1.0), "")


def _turned(plane: Shaped[np.ndarray, "i j"]) -> Shaped[np.ndarray, "j i"]:
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def _outline(panel: "Axes", shown: Slice, unknown: Bool[np.ndarray, "rows columns"] | None) -> None:
    if unknown is not None:
        tint = np.zeros((*unknown.shape, 4), dtype=np.uint8)
        tint[unknown] = rgba(UNKNOWN) // np.array([1, 1, 1, 2], dtype=np.uint8)
        panel.imshow(tint)
    outline_all(panel, shown.truth)


def _legend(figure: "Figure", indices: Sequence[int], names: Names, known: Bool[Tensor, "b i j"] | None) -> None:
    from matplotlib.patches import Patch

    entries = [Patch(color=colour(index), label=names.names[index]) for index in indices]
    if known is not None and not bool(known.all()):
        entries.append(Patch(color=UNKNOWN, label="not known"))
    if entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=4, frameon=False, labelcolor="white")
