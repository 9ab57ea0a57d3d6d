"""What a few-shot learner's probabilities are worth, learned from its base.

A network that marks what an example marks is far too sure of itself in whole volumes, of structures that it has learned
from no less than of new ones: GCN-DE expected a Dice of 0.88, and reached 0.69 where one scan of its base was the
example for another, 0.71 with a new organ. So after the last step scans of the base play both parts, and a temperature
and an offset are found at which the logits of their structures explain the labels best, as in ``calibration.py``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.fewshot.examples import Examples
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.calibration import STAGE, UNCHANGED, Calibration, best_calibration
from lowshot.inference.few_shot_model import ABSENT, FewShotLearner, FewShotModel
from lowshot.training.run import Run

SCANS = 4
"""Of the base, each the example for the next: as many pairs."""
STRUCTURES = 3
"""Of a pair, that are asked for."""
SLICES = 24
"""Of a query, that are looked at, from its first to its last: hundreds would take longer than some trainings."""
VOXELS = 20_000
"""That are drawn from a pair for each of them: two numbers need no more."""


def calibrated(learner: FewShotLearner, base: Sequence[LabelledScan], run: Run) -> FewShotLearner:
    """The learner, which now knows what its probabilities are worth, if two scans of the base share a structure.

    Args:
        learner: trained.
        base: annotated scans; a few of them are prepared once more.
        run: device and precision; every process gets the calibration of process 0.
    """
    generator = run.generator(STAGE)
    drawn = torch.randperm(len(base), generator=generator)[:SCANS].tolist()
    found: list[tuple[Tensor, Tensor]] = []
    if len(drawn) > 1:
        with run.progress.task(STAGE, len(drawn)) as task:
            for number, following in zip(drawn, [*drawn[1:], drawn[0]], strict=True):
                found += _asked(learner, base[number], base[following], run, generator)
                task.advance()
    calibration = UNCHANGED if not found else _of_two_classes(*map(torch.cat, zip(*found, strict=True)))
    return replace(learner, knowledge=replace(learner.knowledge, calibration=run.broadcast(calibration)))


def _asked(
    learner: FewShotLearner, example: LabelledScan, query: LabelledScan, run: Run, generator: torch.Generator
) -> Iterator[tuple[Float[Tensor, " n"], Int[Tensor, " n"]]]:
    """Of some structures that the example shows: logits of the query's voxels where it can be, and whether it is."""
    preparation, names, theirs = learner.knowledge.preparation, example.truth.names, query.truth.names
    examples, truth = Examples.of(example, preparation), Examples.of(query, preparation)
    shared = [
        k
        for k, name in enumerate(names.foreground, start=1)
        if bool(examples.shown(k).any()) and name in theirs.foreground and bool(truth.looked_for[theirs.index(name)])
    ]
    chosen = [shared[n] for n in torch.randperm(len(shared), generator=generator)[:STRUCTURES].tolist()]
    if not chosen:
        return
    model = FewShotModel(learner, names, [examples])
    places = torch.linspace(0, len(truth.image) - 1, min(SLICES, len(truth.image))).round().long()
    parts = model.logits(preparation.apply(query.scan), run, PairingOptions(), chosen, places)
    logits = torch.cat([part[chosen].cpu() for _, part in parts], dim=1)
    for k, own in zip(chosen, logits, strict=True):
        here = (own > ABSENT) & truth.known[places]
        scores, inside = own[here], (truth.labels[places] == theirs.index(names.names[k]))[here].long()
        some = torch.randperm(len(scores), generator=generator)[:VOXELS]
        if len(some):  # it may be laid where nothing is known
            yield scores[some], inside[some]


def _of_two_classes(logits: Float[Tensor, " n"], inside: Int[Tensor, " n"]) -> Calibration:
    return best_calibration(torch.stack([torch.zeros_like(logits), logits], dim=1), inside)
