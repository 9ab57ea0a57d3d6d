"""What a method is, what it returns, and what comes out in the end.

Read this page before any method: everything else in the package either produces these or consumes them.
``tests/contract/`` checks every entry of the catalogue, and six fakes, against it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.imaging.scan import LabelledScan, Segmentation
from lowshot.registration.correspondence import Correspondence
from lowshot.task import LowShotTask
from lowshot.training.run import Run
from lowshot.transforms.slices import Slices


class Region(NamedTuple):
    """One piece of a prediction on the prepared grid, in whatever pieces suit the method.

    Tiles, slices, a chunk of classes over the whole volume, a finished label map: each is a region.
    Together the regions cover the prepared grid; every (voxel, class) is given at most once.
    """

    slices: tuple[slice, slice, slice]
    scores: Float[Tensor, "classes i j k"] | Int[Tensor, "i j k"]
    """Probabilities in [0, 1], or, as integers without a class axis, the indices of a finished label map."""
    classes: slice = slice(None)
    """Which structure indices the class axis of ``scores`` stands for; all of them unless told."""
    sure: bool = True
    """Whether scores tell how sure the model is. The shares of one label map that is laid upon a scan do not: they are
    below 1 along its borders, however well or badly it lies."""
    judged: Float[Tensor, "classes i j k"] | None = None
    """Probabilities that tell the Dice to expect, where the scores, by which is decided, are too bold or too shy."""


class State(NamedTuple):
    """All that a model or learner needs to be rebuilt: plain JSON values, and tensors by name."""

    header: dict[str, Any]
    tensors: dict[str, Tensor]


@runtime_checkable
class Model(Protocol):
    """Segments scans. It holds networks, prototypes or atlases; it is not a network."""

    @property
    def names(self) -> Names:
        """The structures it segments."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels (sequences) a scan must have, in this order."""

    @property
    def preparation(self) -> Preparation:
        """How a scan becomes its input."""

    def regions(self, prepared: Prepared, run: Run, options: Any) -> Iterator[Region]:
        """Predict piece by piece. ``options`` is an instance of the method's ``Options``."""

    def working_memory(self, shape: tuple[int, int, int], run: Run, options: Any) -> int:
        """Bytes that ``regions`` will take at its peak on a prepared grid of this shape, its input not counted."""

    def state(self) -> State:
        """What ``Method.restore`` rebuilds this model from."""


@runtime_checkable
class Embeds(Model, Protocol):
    """A model that classifies each voxel by a vector, and can show it. Not every model is one; ask ``isinstance``."""

    def embeddings(
        self, prepared: Prepared, run: Run, options: Any, voxels: Int[Tensor, "n 3"]
    ) -> Float[Tensor, "n size"]:
        """The vectors as its classifier gets them, float32, on the CPU; a model that changes them first says how.

        Args:
            prepared: the scan as the model sees it.
            run: device and precision.
            options: as for ``regions``, which decides by these vectors.
            voxels: at least one, as indices on the prepared grid, in any order.
        """


@runtime_checkable
class Deforms(Model, Protocol):
    """A model that finds each point of a scan in its annotated scans, and can show where. Ask ``isinstance``."""

    def correspondences(self, prepared: Prepared, run: Run, options: Any) -> Sequence[Correspondence]:
        """One for each annotated scan, on the CPU."""

    def copied(self, prepared: Prepared, found: Sequence[Correspondence]) -> Iterator[Region]:
        """What lies where ``correspondences`` lead: with them, what ``regions`` gives."""

    def likeness(self, prepared: Prepared, found: Sequence[Correspondence]) -> float:
        """How much the scan looks like an annotated one there, at best: 1 is the same, 0 something else."""


@runtime_checkable
class Learner(Protocol):
    """Knows how to learn a new structure from one example, in seconds and without a gradient step."""

    def adapt(self, support: Sequence[LabelledScan], names: Names, run: Run) -> Model:
        """A model for the structures of ``names``; it keeps this learner inside (``Adapted``).

        Raises:
            ChannelMismatch: the annotated scans have other channels than those it learned from.
        """

    def state(self) -> State:
        """What ``Method.restore`` rebuilds this learner from."""


@runtime_checkable
class Adapted(Model, Protocol):
    """A model that a learner made of an example, and that can be given another one. Ask ``isinstance``."""

    @property
    def learner(self) -> Learner:
        """What it was made by."""


@runtime_checkable
class Method(Protocol):
    """The settings of one method, as a frozen dataclass; ``fit`` is the only verb that trains."""

    Options: ClassVar[type]
    """What may be chosen at inference: ``SegmentOptions``, or more."""

    def problems(self, task: LowShotTask) -> list[str]:
        """Why this method cannot work on this task, before any work; empty if it can."""

    def fit(self, task: LowShotTask, run: Run) -> Model | Learner:
        """Learn from the task. Returns a learner where there is a base but no support yet."""

    def restore(self, state: State) -> Model | Learner:
        """Rebuild what ``fit`` returned from its ``state()``, without guessing."""


@runtime_checkable
class Synthesises(Method, Protocol):
    """A method that learns from slices it makes itself, and can show some. Not every method is one."""

    def samples(self, task: LowShotTask, run: Run) -> Slices:
        """A batch as a training step would get it, on the CPU."""


@dataclass(frozen=True)
class Quality:
    """An estimate, made without truth, of how good one structure of one result is."""

    expected_dice: float
    """Dice that the model itself expects: 2 Σ p·ŷ / (Σ p + Σ ŷ) over the probabilities p that it judges by (``Region``)
    and its decision ŷ."""


@dataclass(frozen=True, eq=False)
class Result:
    """A segmentation on the scan's own grid, and how far to trust it."""

    segmentation: Segmentation
    quality: dict[str, Quality | None] = field(default_factory=dict)
    """By structure name; None where the method gives no probabilities to estimate it from."""
    notes: tuple[str, ...] = ()
    """What the reader of the result should know, one sentence each."""
    folded: float | None = None
    """Share of the voxels where the displacement field turns an annotated scan inside out, mean over these scans; None
    of a model without such fields."""
