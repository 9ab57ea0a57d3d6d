"""Voxels in the space in which a model tells structures apart: a picture, and numbers that do not depend on it.

The picture is t-SNE (van der Maaten and Hinton 2008), which keeps neighbours together; sizes of and distances between
its islands mean nothing. So how far structures are apart is measured in the embedding itself, not in the picture. Only
directions count, as in a classifier by cosine; all systems are measured alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from lowshot.imaging.names import Names
from lowshot.reporting.palette import colour
from lowshot.reporting.panels import figure_of_panels
from lowshot.reporting.tables import Cell, Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_STRUCTURE = 200
PERPLEXITY = 30.0
"""Of t-SNE: about how many neighbours a voxel is kept together with."""
NEIGHBOURS = 10
COLUMNS = 3
"""Panels beside each other."""
BACKGROUND, PAPER = "#9a9a9a", "#202020"
"""The palette is made to be seen on a dark scan."""


@dataclass(frozen=True, eq=False)
class EmbeddedVoxels:
    """Voxels of one scan in the embedding of one system."""

    system: str
    vectors: Float[np.ndarray, "n size"]
    labels: Int[np.ndarray, " n"]
    """What they truly are: structure indices, 0 for background."""
    places_mm: Float[np.ndarray, "n 3"]
    """RAS+ world coordinates."""

    @property
    def directions(self) -> Float[np.ndarray, "n size"]:
        """The vectors, brought to length 1."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return np.asarray(self.vectors / np.maximum(lengths, 1e-12))


@dataclass(frozen=True)
class Separation:
    """How far structures are apart in an embedding. NaN where there are fewer than two."""

    purity: float
    """Share of a voxel's nearest neighbours that are of its structure, averaged over the voxels of each structure, then
    over structures."""
    silhouette: float
    """Mean of (b − a) / max(a, b), a and b the mean distance to the own and to the nearest other structure; −1 to 1."""


def draw_voxels(
    labels: Int[np.ndarray, "i j k"],
    known: Bool[np.ndarray, "i j k"],
    seed: int = 0,
    per_structure: int = PER_STRUCTURE,
) -> Int[np.ndarray, "n 3"]:
    """Equally many known voxels of every structure and of background; all of one that has fewer."""
    random = np.random.default_rng(seed)
    drawn = []
    for index in np.unique(labels[known]):
        voxels = np.argwhere(known & (labels == index))
        drawn.append(random.permutation(voxels)[:per_structure])
    return np.concatenate(drawn)


def separation(voxels: EmbeddedVoxels) -> Separation:
    """Measured between directions, in the embedding itself."""
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import NearestNeighbors

    structures, counts = np.unique(voxels.labels, return_counts=True)
    if not 1 < len(structures) < len(voxels.labels):
        return Separation(np.nan, np.nan)
    # A structure of four voxels has no more than three neighbours of its kind.
    neighbours = int(np.clip(counts.min() - 1, 1, NEIGHBOURS))
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(voxels.directions).kneighbors(return_distance=False)
    alike = (voxels.labels[nearest] == voxels.labels[:, None]).mean(axis=1)
    purity = np.mean([alike[voxels.labels == index].mean() for index in structures])
    return Separation(float(purity), float(silhouette_score(voxels.directions, voxels.labels)))


def flattened(voxels: EmbeddedVoxels, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Their places in the picture, by t-SNE of directions; the same for the same seed."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(voxels.labels) - 1) / 3)
    # Threads would sum in another order each time.
    with threadpool_limits(limits=1):
        return np.asarray(TSNE(perplexity=perplexity, random_state=seed).fit_transform(voxels.directions))


def picture(
    embedded: Sequence[EmbeddedVoxels],
    points: Sequence[Float[np.ndarray, "n 2"]],
    measured: Sequence[Separation],
    names: Names,
) -> "Figure":
    """One panel for each system, with its separation above."""
    figure, panels = figure_of_panels(len(embedded), COLUMNS, (4.6, 4.9), around=(2.2, 0.0))
    for panel, voxels, places, found in zip(panels, embedded, points, measured, strict=True):
        # In random order: drawn one after the other, the last structure would cover the others.
        order = np.random.default_rng(0).permutation(len(places))
        colours = np.array([_colour(int(index)) for index in voxels.labels])
        panel.scatter(places[order, 0], places[order, 1], s=7, c=colours[order], linewidths=0)
        panel.set(xticks=[], yticks=[], facecolor=PAPER)
        panel.set_title(f"{voxels.system}\nneighbours alike {found.purity:.2f}, silhouette {found.silhouette:.2f}")
    indices = np.unique(np.concatenate([voxels.labels for voxels in embedded]))
    _legend(figure, [int(index) for index in indices], names)
    return figure


def _legend(figure: "Figure", indices: Sequence[int], names: Names) -> None:
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], linestyle="", marker="o", color=_colour(index), markeredgecolor=PAPER, label=names.names[index])
        for index in indices
    ]
    figure.legend(handles=dots, loc="outside right center", frameon=False)


def _colour(index: int) -> str:
    return colour(index) if index else BACKGROUND


def separation_table(embedded: Sequence[EmbeddedVoxels], measured: Sequence[Separation], case: str) -> Table:
    """The figures that a picture alone cannot prove."""
    columns = (
        Column("system", numeric=False),
        Column("voxels"),
        Column("neighbours alike", digits=3),
        Column("silhouette", digits=3),
    )
    rows = tuple(
        (voxels.system, len(voxels.labels), found.purity, found.silhouette)
        for voxels, found in zip(embedded, measured, strict=True)
    )
    title = (
        f"Embedding; voxels of {case}, equally many of each structure. Neighbours alike: share of the {NEIGHBOURS} "
        "nearest by angle (fewer where a structure has fewer voxels) that are of the same structure. "
        "Silhouette: from −1 to 1"
    )
    return Table(columns, rows, title)


def points_table(embedded: Sequence[EmbeddedVoxels], points: Sequence[Float[np.ndarray, "n 2"]], names: Names) -> Table:
    """Every dot of the picture: where it lies there, and in the scan."""
    headings = ("x_mm", "y_mm", "z_mm", "tsne_1", "tsne_2")
    columns = (*(Column(heading, numeric=False) for heading in ("system", "structure")), *map(Column, headings))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (voxels.system, names.names[int(label)], *_rounded(place), *_rounded(point))
        for voxels, flat in zip(embedded, points, strict=True)
        for label, place, point in zip(voxels.labels, voxels.places_mm, flat, strict=True)
    )
    return Table(columns, rows)


def _rounded(values: Shaped[np.ndarray, " n"]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
