"""How the preset ``compact`` was found: one change at a time, on the demo's phantoms, so that anybody can repeat it."""

from collections.abc import Mapping
from typing import Any

from lowshot.phantoms.study import DEMO
from lowshot.protocols.protocol import Fold, Protocol, System

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "compact": {},
    "equal weight for every category (the paper's Eq. 5)": {"balance": 1.0},
    "weights by size alone": {"balance": 0.0},
    "hard examples late": {"mining": True},
    "hard examples from the start": {"mining": True, "mining_from": 0.0},
    "learning rate 0.003": {"learning_rate": 3e-3},
    "learning rate 0.0003": {"learning_rate": 3e-4},
    "running statistics as they are": {"settling_batches": 0},
    "loss over all voxels": {"loss_share": 1.0},
    "four patches a step": {"batch": 4},
    "no augmentation": {"augmentation": "none"},
}

COMPACT = Protocol(
    name="phantom-compact",
    summary="The preset compact, one change at a time, on the demo's synthetic abdomens",
    folds=(Fold("subject-01", ("subject-01",), tuple(f"subject-{n:02d}" for n in range(2, len(DEMO) + 1))),),
    systems={name: System(method="mre-net", settings=changes) for name, changes in CHANGES.items()},
    reference="compact",
    study=DEMO,
    steps=200,
    differs=(
        "nothing published stands beside this: it is a search, on easier scans than patients'",
        "hard examples make no difference here: none of these organs is a minority beside the others, and twenty times "
        "as many voxels of background as of organs are all that there are",
    ),
)
