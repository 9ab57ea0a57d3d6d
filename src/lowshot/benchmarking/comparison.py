"""Every system against the reference, over the pairs of scan and structure that both have."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.results import rows
from lowshot.evaluation.statistics import (
    Interval,
    bonferroni,
    holm,
    interval_over_scans,
    paired_t,
    smallest_wilcoxon_p,
    wilcoxon,
)

Pair = tuple[str, str, str]
"""Fold, case, structure: what two systems are compared on."""


@dataclass(frozen=True)
class Corrected:
    """P of one test of one system, both sides, and what corrections for the number of systems make of it."""

    raw: float
    holm: float
    bonferroni: float


@dataclass(frozen=True)
class Tested:
    """Paired tests of one system."""

    pairs: int
    wilcoxon: Corrected
    """The signed-rank test."""
    t: Corrected
    smallest: float
    """What Holm's correction leaves of the smallest p of Wilcoxon's test that so many pairs allow, whatever the scores
    are."""


@dataclass(frozen=True)
class Comparison:
    """A system against the reference, over the pairs that both have, each the mean over the seeds that both have."""

    difference: float
    """Mean Dice of the system minus the reference's."""
    interval: Interval
    """Of the difference, over resampled scans."""
    folds: int
    """How many are common; where it is fewer than another row has, the two cannot be set against each other."""
    over_pairs: Tested
    over_scans: Tested
    """Over the mean of each scan's differences, as structures of one scan are not independent of each other."""

    @property
    def pairs(self) -> int:
        """How many are compared."""
        return self.over_pairs.pairs

    @property
    def p(self) -> float:
        """Of Wilcoxon's test over pairs, as Holm corrects it."""
        return self.over_pairs.wilcoxon.holm


def compare(records: Sequence[Record], reference: str, patient_of: Callable[[str], str] = str) -> dict[str, Comparison]:
    """Every system against the reference.

    Args:
        records: all of one kind (``lowshot.benchmarking.kinds``).
        reference: the system that the others are compared with.
        patient_of: whose scan a case is: two scans of one patient count as one, as they are not independent.
    """
    found = differences(records, reference)
    over_pairs = _tested([list(each.values()) for each in found.values()])
    over_scans = _tested([_of_scans(each, patient_of) for each in found.values()])
    return {
        name: Comparison(_mean(list(each.values())), _interval(each, patient_of), _folds(each), pairs, scans)
        for (name, each), pairs, scans in zip(found.items(), over_pairs, over_scans, strict=True)
    }


def differences(records: Sequence[Record], reference: str) -> dict[str, dict[Pair, float]]:
    """Dice of every other system minus the reference's, on each fold over the seeds that both have there.

    Systems without a common fold and seed are left out, and so is a pair that is empty on both sides for some seed: it
    has no Dice.
    """
    scores: dict[tuple[str, str], dict[int, dict[Pair, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows(records):
        scores[row.system, row.fold][row.seed][row.fold, row.case, row.structure] = row.dice
    found: dict[str, dict[Pair, float]] = {}
    for (system, fold), by_seed in sorted(scores.items()):
        references = scores.get((reference, fold), {})
        seeds = sorted(by_seed.keys() & references.keys())
        if system == reference or not seeds:
            continue
        ours, theirs = (_over_seeds([each[seed] for seed in seeds]) for each in (by_seed, references))
        common = {pair: ours[pair] - theirs[pair] for pair in sorted(ours.keys() & theirs.keys())}
        found.setdefault(system, {}).update(common)
    return found


def _over_seeds(scores: Sequence[Mapping[Pair, float]]) -> dict[Pair, float]:
    """The mean of each pair; pairs that some seed leaves out are left out."""
    means = {pair: float(np.mean([each.get(pair, math.nan) for each in scores])) for pair in scores[0]}
    return {pair: mean for pair, mean in means.items() if not math.isnan(mean)}


def _folds(differences: Mapping[Pair, float]) -> int:
    return len({fold for fold, _, _ in differences})


def _interval(differences: Mapping[Pair, float], patient_of: Callable[[str], str]) -> Interval:
    return interval_over_scans(list(differences.values()), [patient_of(case) for _, case, _ in differences])


def _of_scans(differences: Mapping[Pair, float], patient_of: Callable[[str], str]) -> list[float]:
    """The mean of each patient, over structures, scans, and the folds in which they are queries."""
    patients: dict[str, list[float]] = defaultdict(list)
    for (_, case, _), value in differences.items():
        patients[patient_of(case)].append(value)
    return [_mean(each) for each in patients.values()]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _tested(samples: Sequence[Sequence[float]]) -> list[Tested]:
    """Each sample of differences, corrected for their number."""
    signed_rank, t = (_corrected([test(sample) for sample in samples]) for test in (wilcoxon, paired_t))
    # Holm's correction of each p only rises with any of them, so that of the smallest ones is a bound.
    smallest = holm([smallest_wilcoxon_p(len(sample)) for sample in samples])
    tested = zip(map(len, samples), signed_rank, t, smallest, strict=True)
    return [Tested(*each) for each in tested]


def _corrected(raw: Sequence[float]) -> list[Corrected]:
    return [Corrected(*each) for each in zip(raw, holm(raw), bonferroni(raw), strict=True)]
