"""Episodes: base structures play the part of the new one; some slices are the support, another is the query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from lowshot.errors import EmptySupport
from lowshot.fewshot.base_slices import Base
from lowshot.progress import Progress
from lowshot.training.run import Run
from lowshot.transforms.levels import AUGMENTATION, Augmentation
from lowshot.transforms.slices import Slices, varied
from lowshot.wording import listed


class Episode(NamedTuple):
    """n binary tasks: mark in the query what is marked in its k support slices."""

    support: Float[Tensor, "n k c i j"]
    masks: Float[Tensor, "n k i j"]
    """1 inside of the structure, 0 elsewhere."""
    query: Float[Tensor, "n c i j"]
    truth: Float[Tensor, "n i j"]
    known: Bool[Tensor, "n i j"]
    """Where the query's truth is known."""
    structure: Int[Tensor, " n"]
    """Which structure of the base is asked for; of pseudo-labels, a number that is the same for the same region."""
    slices: Int[Tensor, " n"]
    """Which query slice of the base it is."""
    pair: Int[Tensor, " n"]
    """Tasks with the same support and query share the number."""


@dataclass(frozen=True)
class Sampling:
    """How episodes are drawn from annotated slices."""

    tasks: int = 1
    """Pairs of support and query drawn in a step: of different structures where there are as many, by
    ``draw_structures``; each for itself by ``draw_pairs``."""
    shots: int = 1
    augmentation: Augmentation = AUGMENTATION["none"]


class Shown:
    """Which slices of a base show which structures, from which episodes are drawn."""

    def __init__(self, base: Base, least_share: float, *, same_scan: bool = False) -> None:
        """Look through the base.

        Args:
            base: with at least two slices of some structure.
            least_share: of a slice, that a structure has to cover more of to count as shown (GCN-DE: 0.5 %).
            same_scan: whether support and query come from one scan, as where only one is annotated at all.

        Raises:
            EmptySupport: no structure is shown by two slices that could be support and query of each other.
        """
        self.base, self.same_scan = base, same_scan
        shares = base.shares()
        self.shown: Bool[Tensor, "n k"] = (shares > least_share).cpu()
        """Never where nothing is known of a slice."""
        self.shown[:, 0] = False
        self._scan = base.scan.cpu()
        counts = torch.zeros(len(base.spacing), len(base.structures), dtype=torch.int64)
        counts.index_add_(0, self._scan, self.shown.long())
        self._askable = self.shown & ((counts[self._scan] if same_scan else counts.sum(dim=0)) > 1)
        self.across_scans = bool(((counts > 0).sum(dim=0) > 1).any())
        """Whether some structure is shown in two scans."""
        self.structures: list[int] = self._askable.any(dim=0).nonzero().flatten().tolist()
        """That can be asked for: some slice that shows one has a partner."""
        present: list[int] = (shares > 0).any(dim=0).nonzero().flatten().tolist()
        self.never = [k for k in present if k and k not in self.structures]
        """That are there, but can never be asked for."""
        if not self.structures:
            where = "one scan" if same_scan else "the base"
            raise EmptySupport(
                f"no structure is shown by two slices of {where}, so none can be asked for after the example of "
                f"another slice; a slice shows what covers more than {least_share:.2%} of it"
            )

    @classmethod
    def of(cls, base: Base, least_share: float, progress: Progress, *, same_scan: bool = False) -> "Shown":
        """Look through the base, and tell which of its structures can never be asked for."""
        shown = cls(base, least_share, same_scan=same_scan)
        if shown.never:
            progress.warn(
                f"nothing is learned from {listed([base.structures[k] for k in shown.never])}: fewer than two slices "
                f"show as much of it as {least_share:.2%} of a slice (setting least_share), so it is background in all"
            )
        if not same_scan and len(base.spacing) > 1 and not shown.across_scans:
            progress.warn(
                "no structure is annotated in two scans of the base, so that example and query always come from one "
                "scan: what is learned may not hold between two"
            )
        return shown

    def draw(self, structure: int, shots: int, generator: Generator) -> tuple[int, Int[Tensor, " k"]]:
        """A query slice and the support slices for it: others that show the structure, of whichever scan.

        Where there are fewer than ``shots``, some are repeated.
        """
        query = _one_of(self._askable[:, structure], generator)
        return query, _some_of(self._partners(query, self.shown[:, structure]), shots, generator)

    def draw_alike(self, shots: int, generator: Generator) -> tuple[int, Int[Tensor, " k"], list[int]]:
        """A query, and support slices that show exactly the same structures, of which there is at least one (GCN-DE).

        A slice whose set no other slice has gets partners that show one of its structures, which alone is asked for.
        """
        query = _one_of(self._askable.any(dim=1), generator)
        structures: list[int] = self.shown[query].nonzero().flatten().tolist()
        partners = self._partners(query, (self.shown == self.shown[query]).all(dim=1))
        if not bool(partners.any()):
            structures = [_one_of(self._askable[query], generator)]
            partners = self._partners(query, self.shown[:, structures[0]])
        return query, _some_of(partners, shots, generator), structures

    def _partners(self, query: int, fitting: Bool[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Fitting slices that may be the support of this one."""
        partners = fitting & (self._scan == self._scan[query]) if self.same_scan else fitting.clone()
        partners[query] = False
        return partners


def _one_of(flags: Bool[Tensor, " n"], generator: Generator) -> int:
    places = flags.nonzero().flatten()
    return int(places[torch.randint(len(places), (), generator=generator)])


def _some_of(flags: Bool[Tensor, " n"], count: int, generator: Generator) -> Int[Tensor, " m"]:
    """Each once, and again from the first on where there are fewer."""
    places = flags.nonzero().flatten()
    order = torch.randperm(len(places), generator=generator)
    return places[order.repeat(1 + count // len(order))[:count]]


def draw_structures(shown: Shown, sampling: Sampling, run: Run, step: int, generator: Generator) -> Episode:
    """One task for each of some structures: a batch as a function of the step."""
    order = torch.randperm(len(shown.structures), generator=generator)
    order = order.repeat(1 + sampling.tasks // len(order))[: sampling.tasks]
    asked = [shown.structures[int(k)] for k in order]
    tasks = [(*shown.draw(structure, sampling.shots, generator), [structure]) for structure in asked]
    return episode(shown.base, tasks, sampling.augmentation, run, generator)


def draw_pairs(shown: Shown, sampling: Sampling, run: Run, step: int, generator: Generator) -> Episode:
    """Some pairs of slices that show the same structures, each of which is one task (GCN-DE's sampling)."""
    drawn = [shown.draw_alike(sampling.shots, generator) for _ in range(sampling.tasks)]
    return episode(shown.base, drawn, sampling.augmentation, run, generator)


def episode(
    base: Base,
    drawn: Sequence[tuple[int, Int[Tensor, " k"], Sequence[int]]],
    augmentation: Augmentation,
    run: Run,
    generator: Generator,
) -> Episode:
    """Tasks on slices of the base, every slice varied once however many structures are asked for in it.

    Args:
        base: where the slices are.
        drawn: for each pair the query, its support slices, and the structures that are asked for.
        augmentation: support and query get different transforms.
        run: device.
        generator: on the CPU.
    """
    shots = len(drawn[0][1])
    chosen = torch.cat([torch.tensor([query, *support]) for query, support, _ in drawn]).to(base.image.device)
    slices = varied(Slices(base.image[chosen], base.labels[chosen], base.known[chosen]), augmentation, generator)
    rows = [(pair, structure) for pair, (_, _, structures) in enumerate(drawn) for structure in structures]
    pair, structure = torch.tensor(rows, device=base.image.device).unbind(dim=1)
    image, labels, known = (part.reshape(len(drawn), 1 + shots, *part.shape[1:])[pair] for part in slices)
    inside = ((labels == structure[:, None, None, None]) & known).float()
    return Episode(
        support=image[:, 1:],
        masks=inside[:, 1:],
        query=run.tensor(image[:, 0]),
        truth=inside[:, 0],
        known=known[:, 0],
        structure=structure,
        slices=torch.tensor([query for query, _, _ in drawn], device=structure.device)[pair],
        pair=pair,
    )
