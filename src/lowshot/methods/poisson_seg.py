"""PoissonSeg: the example's labels flow to the query on a graph of alike cells (Shen et al., 2021), in plain form.

"PoissonSeg: semi-supervised few-shot medical image segmentation via Poisson learning"; no code is public, and the paper
was not read. From its summary is the idea: Poisson learning (Calder et al., ICML 2020) relates cells with labels to
cells without. Cells of the encoder's maps of support and query are the nodes of a graph, each joined to those that are
most alike. Labelled cells are sources, of which the structure's give one unit together and the background's take one,
so that their mean is zero; the potential u with L u = b is high where the structure is.

Ours is all else: what is joined to what, a fixed number of damped Jacobi steps, how a potential becomes a logit,
training on annotated structures (and regions) of the base alone, and a loss on prototypes beside that on potentials.
The paper's unlabelled scans and its spatial consistency calibration are left out. Encoder and training of the preset
"paper" are SSL-ALPNet's. Several shots: all of their cells are in the graph.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import Base, problems_of_base, read_base
from lowshot.fewshot.episodes import Episode, Sampling, Shown
from lowshot.fewshot.mixture import Draw, Regions
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_calibration import calibrated
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, adapted, restore
from lowshot.losses.binary import binary_cross_entropy
from lowshot.nn.dilated_encoder import STRIDE, DilatedEncoder
from lowshot.nn.prototypes import cosines, enlarged, fit_masks, prototype_logit
from lowshot.nn.resnet import Depth
from lowshot.nn.support_and_query import encode_both
from lowshot.nn.weights import problems_of_weights, refuse_width, take_weights
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.loop import Goal, train
from lowshot.training.optimisers import OptimiserName, optimiser_of
from lowshot.training.run import Run
from lowshot.training.schedules import Schedule, cosine, stepwise
from lowshot.transforms.levels import Level, augmentation_of
from lowshot.transforms.slices import refuse_plane

POSITIVE = (
    *("size", "width", "features", "neighbours", "iterations", "tasks", "least_voxels", "least_pixels", "steps"),
    *("learning_rate", "decay_every"),
)
SHARES = ("background_weight", "least_share", "region_share", "momentum", "decay")
NOT_NEGATIVE = ("prototypes", "weight_decay")
MOST_NEIGHBOURS, MOST_ITERATIONS = 100, 1000
LEAST_DISTANCE = 1e-4
"""1 − cosine; nearer cells are as good as the same."""
LEAST_UNIT = 0.1
"""Of the distance between sources and sinks, by which potentials are measured at least."""
SHARPNESS, THRESHOLD = 10.0, 0.5
"""Of the logit, before training: inside from halfway between the background's potential and the structure's on."""


@dataclass(frozen=True, kw_only=True)
class PoissonSeg:
    """No published settings are known: defaults are SSL-ALPNet's where it has the same ones."""

    # What the network sees
    size: tuple[int, int] = (256, 256)  # ours: SSL-ALPNet's
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before
    intensity: str = "zscore"  # ours: SSL-ALPNet's

    # Network
    depth: Depth = 101  # ours: SSL-ALPNet's, like the next two
    width: float = 1.0  # ours: times as many channels as published
    features: int = 256  # ours: channels of the map that is compared
    weights: str | None = None
    """File with the backbone's weights as torchvision saves them; None: random ones."""

    # Graph
    neighbours: int = 10  # ours: of each cell, in the support and in the query each
    iterations: int = 50  # ours: damped Jacobi steps

    # Loss
    background_weight: float = 0.1  # ours: ADNet's
    prototypes: float = 1.0  # ours: of PANet's cross-entropy, since the choice of neighbours has no gradient

    # What is in a batch
    tasks: int = 1  # ours: structures, each with a support and a query, in a step
    least_share: float = 0.005  # ours (GCN-DE's): of a slice, that a structure covers to count as shown
    augmentation: Level = "none"  # ours: how much examples are changed at random
    region_share: float = 0.0  # ours: of the steps, that are about supervoxels of the base's images instead
    least_voxels: int = 5000  # code of ADNet: of a supervoxel, where slices have 256×256
    least_pixels: int = 200  # code of ADNet: of a supervoxel in a slice

    # Training
    optimiser: OptimiserName = "sgd"  # ours: SSL-ALPNet's, like all that follows
    schedule: Literal["stepwise", "cosine"] = "stepwise"  # ours: how the learning rate falls
    steps: int = 100_000  # ours: of training
    learning_rate: float = 1e-3  # ours: at the start
    decay: float = 0.95  # ours: factor of the learning rate where it falls stepwise
    decay_every: int = 1000  # ours: steps from one fall to the next
    momentum: float = 0.9  # ours: SGD's; AdamW has its own
    weight_decay: float = 5e-4  # ours: pull of weights towards 0

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_out_of_range(self, positive=POSITIVE, shares=SHARES, not_negative=NOT_NEGATIVE)
        refuse_plane(self.size, STRIDE, least=2)  # a single cell has no neighbours
        refuse_width(self.width)
        if self.neighbours > MOST_NEIGHBOURS or self.iterations > MOST_ITERATIONS:
            raise SettingsError(
                f"neighbours, iterations: expected at most {MOST_NEIGHBOURS} and {MOST_ITERATIONS}, got "
                f"{self.neighbours} and {self.iterations}"
            )

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a base; weights from a file need a grey image, or three channels."""
        return [*problems_of_base(task), *problems_of_weights(self.weights, "a ResNet", len(task.channels))]

    def fit(self, task: LowShotTask, run: Run) -> FewShotLearner | FewShotModel:
        """Train on episodes in which structures of the base play the part of the new one."""
        base = read_base(task.base, self._preparation(), task.channels, run)
        with run.seeded("weights"):
            network = self._network(len(task.channels))
        if self.weights is not None:
            take_weights(network.encoder.backbone, Path(self.weights), run.progress)
        goal = Goal(partial(self._loss, network), network, optimiser_of(self, network), self._schedule())
        train([goal], self._draw(base, run), steps=self.steps, run=run)
        knowledge = Knowledge(task.channels, self._preparation(), base.structures[1:])
        learner = calibrated(FewShotLearner(network, knowledge), task.base, run)
        return adapted(learner, task, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The network's architecture follows from the settings."""
        return restore(self._network, state)

    def _loss(self, network: "PropagationNetwork", episode: Episode, done: float) -> Mapping[str, Tensor]:
        """Of the query by potentials, and by prototypes."""
        support, query = encode_both(network.encoder, episode.support, episode.query)
        logit = network.segment(support, episode.masks, query)
        terms = {"query": binary_cross_entropy(logit, episode.truth, episode.known, self.background_weight)}
        if self.prototypes:
            nearest = prototype_logit(support, episode.masks, query)
            found = binary_cross_entropy(nearest, episode.truth, episode.known, self.background_weight)
            terms["prototypes"] = self.prototypes * found
        return terms

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, self.intensity, (*self.size, None))

    def _draw(self, base: Base, run: Run) -> Draw:
        regions = Regions(self.region_share, self.least_voxels, self.least_pixels)
        sampling = Sampling(self.tasks, 1, augmentation_of(self.augmentation, self.intensity))
        return regions.beside_structures(Shown.of(base, self.least_share, run.progress), sampling, run)

    def _network(self, channels: int) -> "PropagationNetwork":
        return PropagationNetwork(
            channels,
            self.features,
            depth=self.depth,
            width=self.width,
            neighbours=self.neighbours,
            iterations=self.iterations,
        )

    def _schedule(self) -> Schedule:
        if self.schedule == "cosine":
            return cosine(warmup=0.05)
        return stepwise(self.decay, self.decay_every, self.steps)


class PropagationNetwork(nn.Module):
    """A few-shot network whose answer is a potential on a graph of the encoder's cells.

    Args:
        channels: of the image.
        features: length of the vectors that are compared.
        depth: of the ResNet.
        width: by which its published widths are multiplied.
        neighbours: of each cell, in the support and in the query each.
        iterations: damped Jacobi steps.
    """

    def __init__(
        self,
        channels: int,
        features: int = 256,
        *,
        depth: Depth = 101,
        width: float = 1.0,
        neighbours: int = 10,
        iterations: int = 50,
    ) -> None:
        super().__init__()
        self.encoder = DilatedEncoder(channels, features, depth=depth, width=width)
        self.neighbours, self.iterations = neighbours, iterations
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.threshold = nn.Parameter(torch.tensor(THRESHOLD))

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        examples, features = encode_both(self.encoder, support, query)
        return self.segment(examples, masks, features)

    def segment(
        self,
        support: Float[Tensor, "n k e h w"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m e h w"],
    ) -> Float[Tensor, "m i j"]:
        """The logit from features, at the size of the masks: where a potential lies between those of the two labels."""
        size = (query.shape[2], query.shape[3])
        inside = fit_masks(masks.flatten(0, 1).float(), size).reshape(len(masks), -1)
        labelled = inside.shape[1]
        examples = support.movedim(2, 1).flatten(2)
        cells = torch.cat([examples.expand(len(query), -1, -1), query.flatten(2)], dim=2)
        # The potential is a result of linear algebra that bfloat16 would spoil.
        with nullcontext() if query.is_meta else torch.autocast(query.device.type, enabled=False):
            graph = nearest_cells(cells.float(), labelled, self.neighbours)
            outflow, inflow = (each / each.sum(dim=1, keepdim=True).clamp_min(1e-6) for each in (inside, 1 - inside))
            sources = mean_zero(outflow, inflow)
            sources = torch.cat([sources.expand(len(query), -1), query.new_zeros(len(query), size[0] * size[1])], dim=1)
            u = potential(graph, sources.float(), self.iterations)
            place = place_between(u, graph.sums(u) / graph.degrees(), outflow, inflow)[:, labelled:]
            logit = self.sharpness.float() * (place - self.threshold.float())
        return enlarged(logit.reshape(-1, 1, *size), (masks.shape[2], masks.shape[3]))[:, 0]


class Graph(NamedTuple):
    """Weighted edges from every node to some others; they are followed in both directions, with half of the weight."""

    neighbours: Int[Tensor, "m nodes edges"]
    weights: Float[Tensor, "m nodes edges"]

    def sums(self, u: Float[Tensor, "m nodes"]) -> Float[Tensor, "m nodes"]:
        """W u: for each node the weighted sum over those that it is joined to."""
        to = self.neighbours.flatten(1)
        there = (self.weights * u.gather(1, to).reshape(self.weights.shape)).sum(dim=2)
        back = torch.zeros_like(u).scatter_add(1, to, (self.weights * u[..., None]).flatten(1))
        return (there + back) / 2

    def degrees(self) -> Float[Tensor, "m nodes"]:
        """D: the weights of all of a node's edges together."""
        return self.sums(torch.ones_like(self.weights[..., 0])).clamp_min(1e-6)


def nearest_cells(cells: Float[Tensor, "m e nodes"], labelled: int, neighbours: int) -> Graph:
    """Every cell with its nearest ones by cosine: as many of the support as of the query, so that both are joined.

    The weight is exp(−4 d²/D²), d being the distance and D that of the furthest of these neighbours (as in Poisson
    learning), for support and query each: what is the nearest counts, however unlike the two images are.

    Args:
        cells: of the support, then of the query.
        labelled: how many are the support's.
        neighbours: in each of the two; fewer where there are not as many.
    """
    every = cosines(cells[..., None], cells.mT)[..., 0]
    itself = torch.eye(every.shape[1], dtype=torch.bool, device=every.device)
    found: list[Graph] = []
    for first, some in ((0, labelled), (labelled, every.shape[1] - labelled)):
        distance = (1 - every[..., first : first + some]).masked_fill(itself[:, first : first + some], torch.inf)
        nearest = distance.topk(min(neighbours, some - 1), dim=2, largest=False)
        squared = nearest.values.clamp_min(0)  # half of d²
        furthest = squared[..., -1:].clamp_min(LEAST_DISTANCE)
        found.append(Graph(nearest.indices + first, torch.exp(-4 * squared / furthest)))
    return Graph(*(torch.cat(parts, dim=2) for parts in zip(*found, strict=True)))


def mean_zero(outflow: Float[Tensor, "n cells"], inflow: Float[Tensor, "n cells"]) -> Float[Tensor, "n cells"]:
    """Sources that sum to zero; none at all where one of the two is empty, since nothing can flow."""
    both = outflow.any(dim=1, keepdim=True) & inflow.any(dim=1, keepdim=True)
    sources = torch.where(both, outflow - inflow, 0)
    return sources - sources.mean(dim=1, keepdim=True)


def potential(graph: Graph, sources: Float[Tensor, "m nodes"], iterations: int) -> Float[Tensor, "m nodes"]:
    """The u with (D − W) u = b, D being the nodes' degrees, by damped Jacobi steps u ← ½ u + ½ D⁻¹ (b + W u) from 0.

    Of the solutions, which differ by a constant, it is that with Σ D u = 0, as long as Σ b = 0. A part of the graph
    with sources and without sinks has none: there u grows with every step, the right way. Damped, they never swing
    between two states, and Σ b u is positive after any number of them.
    """
    degrees = graph.degrees()
    u = torch.zeros_like(sources)
    for _ in range(iterations):
        u = (u + (sources + graph.sums(u)) / degrees) / 2
    return u


def place_between(
    u: Float[Tensor, "m nodes"],
    around: Float[Tensor, "m nodes"],
    outflow: Float[Tensor, "n cells"],
    inflow: Float[Tensor, "n cells"],
) -> Float[Tensor, "m nodes"]:
    """Where every node lies between the sinks (0) and the sources (1).

    A source stands out above what is around it and a cell of the query does not, so what is around is compared. Where
    that tells the two hardly apart, the unit is a tenth of the distance between sources and sinks themselves.

    Args:
        u: potential.
        around: its mean over each node's neighbours.
        outflow: what each labelled cell gives; they are the first of the nodes.
        inflow: what each takes.
    """
    labelled = outflow.shape[1]
    own = ((outflow - inflow) * u[:, :labelled]).sum(dim=1, keepdim=True)
    high, low = ((each * around[:, :labelled]).sum(dim=1, keepdim=True) for each in (outflow, inflow))
    unit = torch.maximum(high - low, LEAST_UNIT * own).clamp_min(1e-6)
    return (around - (high + low) / 2) / unit + 0.5
