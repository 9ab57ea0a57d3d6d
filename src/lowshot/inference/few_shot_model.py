"""What a few-shot system learns, and what becomes of it with one annotated scan: a network, and slices as examples."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowshot.contract import Region, State
from lowshot.errors import ChannelMismatch, EmptySupport, GridMismatch, ModelFileError
from lowshot.fewshot.base_slices import partly_known, warn_of_unknown
from lowshot.fewshot.examples import Examples, Paired, Shots, shots, slices_of, together
from lowshot.fewshot.laying import by_place, laying_bytes
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.calibration import UNCHANGED, Calibration
from lowshot.inference.header import Header
from lowshot.inference.memory import activation_bytes
from lowshot.inference.patch_model import load_weights
from lowshot.nn.geometry import Triple
from lowshot.nn.prototypes import enlarged
from lowshot.settings import build
from lowshot.task import LowShotTask
from lowshot.training.run import Run
from lowshot.transforms.slices import problems_of_slices
from lowshot.transforms.support import annotated_structures

NETWORK = "network."
ABSENT = -30.0
"""Logit of a structure where it cannot be."""
MOST_EXAMPLES = 100
"""Annotated scans in a model file; real ones have three."""


@dataclass(frozen=True)
class Knowledge:
    """What a learner is besides its network."""

    channels: tuple[str, ...]
    preparation: Preparation
    structures: tuple[str, ...]
    """Of the base, background not among them: what it has learned from."""
    calibration: Calibration = UNCHANGED
    """What its probabilities are worth in whole volumes: of two classes, what is asked for being the second."""

    def __post_init__(self) -> None:
        if len(self.calibration.offsets) not in (0, 2):
            raise ModelFileError(f"calibration: expected 2 offsets, got {len(self.calibration.offsets)}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "channels": list(self.channels),
            "preparation": self.preparation.to_json(),
            "structures": list(self.structures),
            "calibration": self.calibration.to_json(),
        }

    @classmethod
    def from_json(cls, header: Mapping[str, Any]) -> "Knowledge":
        """What ``to_json`` described, every type checked; files of before 29 November 2026 have no calibration."""
        values = {
            "channels": header["channels"],
            "preparation": build(Preparation, header["preparation"], "preparation"),
            "structures": header["structures"],
            "calibration": build(Calibration, header.get("calibration", {}), "calibration"),
        }
        return build(cls, values, "learner")


@dataclass(eq=False)
class FewShotLearner:
    """A network that marks in query slices what is marked in support slices, whatever that is.

    ``network(support, masks, query)`` takes k support slices (n k c i j) with their masks (n k i j) and query slices
    (m c i j), and gives the logit (m i j) of being inside; n is m, or 1: the same support for all.
    """

    network: nn.Module
    knowledge: Knowledge

    def __post_init__(self) -> None:
        self.network.eval()

    def adapt(
        self, support: Sequence[LabelledScan], names: Names, run: Run, *, some_lacking: bool = False
    ) -> "FewShotModel":
        """Keep the annotated scans as examples; nothing is trained.

        Args:
            support: annotated scans.
            names: of all structures.
            run: tells what will not be looked for.
            some_lacking: whether structures may be shown in none of them; these are never found.

        Raises:
            EmptySupport: a structure is not shown in any of them; none is; or slices are annotated along another axis.
            ChannelMismatch: other channels than those of the base.
            GridMismatch: some scans know their voxel size and some do not.
        """
        if len({labelled.scan.spacing_known for labelled in support}) > 1:
            raise GridMismatch("some annotated scans know their voxel size and some (PNG, TIFF) do not; use one kind")
        for labelled in support:
            if labelled.scan.channels != self.knowledge.channels:
                raise ChannelMismatch(
                    f"{labelled.scan.name}: has the channels {', '.join(labelled.scan.channels)}, what was learned "
                    f"from has {', '.join(self.knowledge.channels)}"
                )
        if across := problems_of_slices(support):
            raise EmptySupport("; ".join(across))
        examples = [Examples.of(labelled, self.knowledge.preparation) for labelled in support]
        warn_of_unknown([labelled.scan.name for labelled in support if partly_known(labelled)], run.progress)
        unseen = [k for k in range(1, len(names)) if not any(bool(each.shown(k).any()) for each in examples)]
        missing = [names.names[k] for k in unseen]
        if missing and some_lacking and len(missing) < len(names.foreground):
            run.progress.warn(f"the annotated scans show no {', no '.join(missing)}, which will not be looked for")
        elif missing:
            marked = annotated_structures(support, names)
            lost = [name for name in missing if name in marked]
            raise EmptySupport(_without_example(support, examples[0], missing, lost))
        return _with_examples(self, names, examples)

    def state(self) -> State:
        """Network weights; channels and preparation in the header."""
        weights = {NETWORK + name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        return State(self.knowledge.to_json(), weights)


def _without_example(
    support: Sequence[LabelledScan], prepared: Examples, missing: Sequence[str], lost: Sequence[str]
) -> str:
    """What to do about structures that no prepared scan shows, though the ``lost`` ones are marked in the scans."""
    scans = ", ".join(labelled.scan.name for labelled in support)
    if lost:
        i, j, _ = prepared.shape
        return (
            f"{scans}: {', '.join(lost)} is too small to be seen in slices of {i}×{j} pixels, to which this model "
            "brings scans; learn it again with a larger size, or with crop=foreground (fit --set)"
        )
    return (
        f"{scans}: shows no {', no '.join(missing)}, so there is no example of it; annotate it, or take it out of the "
        "names"
    )


@dataclass(eq=False)
class FewShotModel:
    """A learner with examples."""

    learner: FewShotLearner
    names: Names
    examples: Sequence[Examples]

    @property
    def channels(self) -> tuple[str, ...]:
        """As in the base."""
        return self.learner.knowledge.channels

    @property
    def preparation(self) -> Preparation:
        """As of the base."""
        return self.learner.knowledge.preparation

    def regions(self, prepared: Prepared, run: Run, options: PairingOptions) -> Iterator[Region]:
        """A few slices at a time, each structure by its own examples; background has the logit 0 among theirs."""
        everywhere, calibration = slice(None), self.learner.knowledge.calibration
        judges = calibration != UNCHANGED and options.pairing == "whole volume"
        for places, logits in self.logits(prepared, run, options, range(1, len(self.names))):
            probabilities = logits.softmax(dim=0).movedim(1, -1).cpu()
            judged = _judged(logits, calibration).movedim(1, -1).cpu() if judges else None
            part = slice(int(places[0]), int(places[-1]) + 1)
            yield Region((everywhere, everywhere, part), probabilities, sure=self._has_learned, judged=judged)

    def logits(
        self,
        prepared: Prepared,
        run: Run,
        options: PairingOptions,
        structures: Iterable[int],
        wanted: Int[Tensor, " m"] | None = None,
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "classes n i j"]]]:
        """A few slices at a time, by number, and their logits; ``ABSENT`` where a structure cannot be.

        Args:
            prepared: the scan as the model sees it.
            run: device and precision.
            options: which examples go with which slices.
            structures: that are asked for; of the others all is ``ABSENT``.
            wanted: the slices; None: all.
        """
        run.place(self.learner.network)
        image = slices_of(prepared.voxels)
        there = [k for k in structures if any(bool(each.shown(k).any()) for each in self.examples)]
        paired = [Paired.of(each, there, image, prepared.grid, options) for each in self.examples]
        laid = all(each.matrix is not None for each in paired)
        every = torch.arange(len(image)) if wanted is None else wanted
        for places in torch.split(every, options.slices_at_once):
            some = run.tensor(image[places])
            logits = torch.full((len(self.names), len(some), *image.shape[2:]), ABSENT, device=run.device)
            logits[0] = 0
            for k in there:
                for here in together(paired, k, places):
                    examples = shots(paired, k, places[here])
                    logits[k, here] = self._logits(some[here], examples, run)
                    if options.prior and laid:
                        logits[k, here] += options.prior * by_place(examples.masks, options.softness).to(run.device)
            yield places, logits

    @property
    def _has_learned(self) -> bool:
        """A network without weights copies masks, and how sure it seems tells nothing."""
        return next(self.learner.network.parameters(), None) is not None

    def _logits(self, query: Float[Tensor, "m c i j"], examples: Shots, run: Run) -> Float[Tensor, "m i j"]:
        support, masks = examples
        image = run.tensor(support.flatten(0, 1))
        with torch.inference_mode(), run.autocast():
            found: Tensor = self.learner.network(
                torch.unflatten(image, 0, support.shape[:2]), masks.to(run.device), query
            )
        return found.float()

    def working_memory(self, shape: Triple, run: Run, options: PairingOptions) -> int:
        """Activations of one forward pass, scores of the slices that are looked at together, and the examples."""
        dtype = run.dtype
        count, plane = min(options.slices_at_once, shape[2]), shape[:2]
        if self.preparation.resize is not None:
            plane = self.preparation.resize[:2]
        channels, chunks = len(self.channels), options.pairing == "chunks"
        sets, shots_each = (1, 1) if chunks else (count, options.shots)
        shots_each *= len(self.examples)
        support = torch.empty(sets, shots_each, channels, *plane, device="meta", dtype=dtype)
        masks = torch.empty(sets, shots_each, *plane, device="meta", dtype=dtype)
        query = torch.empty(count, channels, *plane, device="meta", dtype=dtype)
        scores = 4 * 4 * count * len(self.names) * math.prod(plane)
        examples = 4 * sum(each.image.numel() + each.labels.numel() * len(self.names) for each in self.examples)
        laying = 0 if chunks else max(laying_bytes((*plane, shape[2]), each.shape) for each in self.examples)
        return max(laying, activation_bytes(self.learner.network, (support, masks, query)) + scores) + examples

    def state(self) -> State:
        """The learner's state, and the examples."""
        learner = self.learner.state()
        header = {"names": list(self.names.names), "values": list(self.names.values), "scans": len(self.examples)}
        tensors = {
            f"example {n} {field}": getattr(each, field) for n, each in enumerate(self.examples) for field in FIELDS
        }
        return State({**learner.header, **header}, {**learner.tensors, **tensors})


def _judged(logits: Float[Tensor, "classes *space"], calibration: Calibration) -> Float[Tensor, "classes *space"]:
    """Probabilities with each structure's logit against background as it was calibrated, where the structure can be."""
    offset = calibration.offsets[1] if calibration.offsets else 0.0
    shifted = torch.where(logits > ABSENT, logits / calibration.temperature + offset, ABSENT)
    shifted[0] = 0
    return shifted.softmax(dim=0)


FIELDS = ("image", "labels", "known", "looked_for", "affine")


@runtime_checkable
class ComparesFeatures(Protocol):
    """A network that compares the features of a query's cells with those of examples, and can give them."""

    def features(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        """Of single images, whether they are queries or examples."""


@dataclass(eq=False)
class EmbeddingFewShotModel(FewShotModel):
    """A learner whose network compares features, with examples: it can show them (``lowshot.contract.Embeds``)."""

    def embeddings(
        self, prepared: Prepared, run: Run, options: PairingOptions, voxels: Int[Tensor, "n 3"]
    ) -> Float[Tensor, "n size"]:
        """What the network knows of each pixel before it looks at an example, so it is the same whatever is asked for.

        These are the features of cells, enlarged linearly to pixels. The network compares the cells themselves and
        enlarges what comes out; APSCL's mutual guidance, where it is on, changes them once more by the example.

        Raises:
            ValueError: a voxel lies outside of the prepared grid.
        """
        shape = prepared.grid.shape
        if bool(((voxels < 0) | (voxels >= torch.tensor(shape))).any()):
            raise ValueError(f"voxels outside of a grid of {shape}")
        run.place(self.learner.network)
        network, image = cast("ComparesFeatures", self.learner.network), slices_of(prepared.voxels)
        vectors, order = [], []
        for places in torch.unique(voxels[:, 2]).split(options.slices_at_once):
            with torch.inference_mode(), run.autocast():
                maps = network.features(run.tensor(image[places])).float()
            for place, cells in zip(places, maps, strict=True):
                here = (voxels[:, 2] == place).nonzero().flatten()
                i, j = voxels[here, :2].to(cells.device).unbind(dim=1)
                vectors.append(enlarged(cells[None], shape[:2])[0, :, i, j].T.cpu())
                order.append(here)
        return torch.cat(vectors)[torch.cat(order).argsort()]


def _with_examples(learner: FewShotLearner, names: Names, examples: Sequence[Examples]) -> FewShotModel:
    embeds = isinstance(learner.network, ComparesFeatures)
    return (EmbeddingFewShotModel if embeds else FewShotModel)(learner, names, examples)


def adapted(
    learner: FewShotLearner, task: LowShotTask, run: Run, *, some_lacking: bool = False
) -> FewShotLearner | FewShotModel:
    """What ``fit`` returns: the learner, or its model where the task has an annotated scan already."""
    return learner.adapt(task.support, task.names, run, some_lacking=some_lacking) if task.support else learner


def restore(network: Callable[[int], nn.Module], state: State) -> FewShotLearner | FewShotModel:
    """Rebuild a learner, or a learner with examples.

    Args:
        network: from a number of channels to a network of the same architecture.
        state: of either.
    """
    knowledge = Knowledge.from_json(state.header)
    with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
        empty = network(len(knowledge.channels))
    weights = {name.removeprefix(NETWORK): value for name, value in state.tensors.items() if name.startswith(NETWORK)}
    load_weights(empty, weights)
    learner = FewShotLearner(empty, knowledge)
    if "names" not in state.header:
        return learner
    header = Header.from_json({**state.header, "preparation": knowledge.preparation.to_json()})
    count = state.header["scans"]
    if not isinstance(count, int) or not 1 <= count <= MOST_EXAMPLES:
        raise ModelFileError(f"expected 1 to {MOST_EXAMPLES} annotated scans, got {count!r}")
    return _with_examples(learner, header.names, [_stored(n, state.tensors, header) for n in range(count)])


def _stored(number: int, tensors: Mapping[str, Tensor], header: Header) -> Examples:
    """The examples of one annotated scan; a model file may come from anywhere.

    Raises:
        LowshotError, KeyError: these are none.
    """
    made = Examples(**{field: tensors[f"example {number} {field}"] for field in FIELDS})
    wanted = (torch.float32, torch.int16, torch.bool, torch.bool, torch.float64)
    found = tuple(getattr(made, field).dtype for field in FIELDS)
    grid = (made.image.shape[:1] + made.image.shape[2:]) if made.image.ndim == 4 else ()
    if found != wanted or not made.image.numel() or made.image.shape[1] != len(header.channels):
        raise ModelFileError(f"example {number}: expected slices of {len(header.channels)} channels, got {found}")
    if made.labels.shape != grid or made.known.shape != grid or made.looked_for.shape != (len(header.names),):
        raise ModelFileError(f"example {number}: its image, labels and names do not fit each other")
    if not bool(made.image.isfinite().all()) or not 0 <= int(made.labels.min()) <= int(made.labels.max()) < len(
        header.names
    ):
        raise ModelFileError(f"example {number}: values that no image or no label map has")
    if made.affine.shape != (4, 4) or not bool(made.affine.isfinite().all()) or not float(made.affine.det()):
        raise ModelFileError(f"example {number}: expected an affine of its slices")
    return made
