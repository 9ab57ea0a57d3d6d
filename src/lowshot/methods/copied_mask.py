"""The annotated slice's mask, copied onto the slice it is the example for: what a few-shot system has to surpass.

It knows nothing of grey values. What it reaches in a granted range tells how much is given away by the range alone.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from lowshot.contract import State
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.preparation import Preparation
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, restore
from lowshot.task import LowShotTask
from lowshot.training.run import Run
from lowshot.transforms.slices import refuse_plane

SURE = 6.0
"""Logit inside of a copied mask; outside of it −6."""


class CopiedMask(nn.Module):
    """A few-shot network without weights: the mean of the support masks, whatever the query shows."""

    def forward(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> Float[Tensor, "m i j"]:
        """Logits of being inside."""
        return SURE * (2 * masks.mean(dim=1) - 1).expand(len(query), -1, -1)


@dataclass(frozen=True, kw_only=True)
class CopiedMasks:
    """Nothing is learned; slices are prepared as for the systems that this is compared with."""

    size: tuple[int, int] = (256, 256)  # ours: as most of them
    crop: Literal["none", "foreground"] = "none"  # ours: what is cut out before

    Options: ClassVar[type] = PairingOptions

    def __post_init__(self) -> None:
        self._preparation()
        refuse_plane(self.size, 1)

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a support."""
        return [] if task.support else ["copies the annotated scan's masks; give at least one"]

    def fit(self, task: LowShotTask, run: Run) -> FewShotModel:
        """Keep the annotated scans."""
        run.warn_of_no_training()
        learner = FewShotLearner(CopiedMask(), Knowledge(task.channels, self._preparation(), ()))
        return learner.adapt(task.support, task.names, run)

    def restore(self, state: State) -> FewShotLearner | FewShotModel:
        """The annotated scans are all there is."""
        return restore(lambda channels: CopiedMask(), state)

    def _preparation(self) -> Preparation:
        return Preparation("in-plane", None, self.crop, "zscore", (*self.size, None))
