"""MRE-Net's protocol on MRBrainS18: seven brains, each the annotated one in turn; two or three of them; all but one."""

import random
from dataclasses import replace
from itertools import combinations
from typing import Any

from lowshot.datasets.recipe import MRE_NET_BRAINS
from lowshot.phantoms.study import Study
from lowshot.protocols.mre_net import COSTS, QUOTED
from lowshot.protocols.protocol import Distributed, Fold, Protocol, Published, System

DRAWS = 7
SEED = 0


def each_in_turn(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Every scan teaches once, all others are segmented."""
    if len(cases) < 2:
        raise ValueError("needs 2 annotated cases or more")
    return tuple(Fold(f"from {case}", (case,), tuple(c for c in cases if c != case)) for case in cases)


def drawn_shots(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Seven pairs and seven triplets, drawn without replacement from one stored seed; the rest is segmented."""
    if len(cases) < 4:
        raise ValueError("needs 4 annotated cases or more for three shots")
    draw, folds = random.Random(SEED), []  # noqa: S311 (nothing to keep secret)
    for shots in (2, 3):
        possible = list(combinations(cases, shots))
        for number, chosen in enumerate(draw.sample(possible, min(DRAWS, len(possible))), start=1):
            folds.append(Fold(f"{shots} shots {number}", chosen, tuple(c for c in cases if c not in chosen)))
    return tuple(folds)


def leave_one_out(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Every scan is segmented by what all others taught."""
    if len(cases) < 2:
        raise ValueError("needs 2 annotated cases or more")
    return tuple(Fold(f"all but {case}", tuple(c for c in cases if c != case), (case,)) for case in cases)


def _table_vii(name: str, setting: str) -> dict[str, Published]:
    return {"": Published("VII", name, setting)}


def full(*majority: str, **changes: Any) -> dict[str, Any]:
    """Settings of the whole of MRE-Net under any preset: hard examples in the paper's groups, nothing augmented."""
    return {"augmentation": "none", "mining": True, "majority": majority, **changes}


STUDY = Study(anatomy="brain-mr", shape=(48, 56, 40), subjects=4)
PLAIN, AUGMENTED = {"augmentation": "none"}, {"augmentation": "strong"}
MAJORITY = ("cortical grey matter", "white matter", "ventricles")
WITHOUT = {
    "without hard examples (d)": ("dml,coord,ams", {"mining": False}),
    "without AMS (c)": ("dml,coord", {"mining": False, "attention": False}),
    "without AMS and coordinates (b)": ("dml", {"mining": False, "attention": False, "coordinates": False}),
    "without metric learning (f)": ("coord,ams,ohem", {"metric_learning": False}),
    "without coordinates (g)": ("dml,ams,ohem", {"coordinates": False}),
}


def ablation(*majority: str) -> dict[str, System]:
    """Rows of tables II and VI, which are printed for brains and abdomens: (a) is a U-Net, (e) is MRE-Net."""
    euclidean = Published("VI", "mre-net", "distance squared-euclidean")
    return {
        name: _changed(Published("II", f"mre-net[{modules}]"), *majority, **changes)
        for name, (modules, changes) in WITHOUT.items()
    } | {
        "squared Euclidean distance": replace(_changed(euclidean, *majority, distance="euclidean"), costs=(euclidean,))
    }


def _changed(published: Published, *majority: str, **changes: Any) -> System:
    return System(method="mre-net", settings=full(*majority, **changes), published={"": published})


def _mre_net(published: Published, **changes: Any) -> System:
    return _changed(published, *MAJORITY, **changes)


def _embedding_of(size: int) -> System:
    where = Published("III", "mre-net", f"Ne={size}")
    return replace(_mre_net(where, embedding_size=size), costs=(where,))


MODES = {"one mode (M = 1)": 1, "two modes (M = 2)": 2, "four modes (M = 4)": 4, "five modes (M = 5)": 5}
"""Three are MRE-Net."""
ABLATION = {
    **ablation(*MAJORITY),
    **{f"embedding of {size} channels": _embedding_of(size) for size in (512, 1024, 4096)},
    **{name: _mre_net(Published("IV", "mre-net", f"M={modes} 1-shot"), modes=modes) for name, modes in MODES.items()},
    "mixing: one-hot": _mre_net(Published("V", "mre-net", "mixing one-hot"), mixing="one-hot"),
    "mixing: average": _mre_net(Published("V", "mre-net", "mixing average"), mixing="average"),
}
UNKNOWN = (
    "infarctions and others (labels 9, 10) are unknown to training and scores, K = 9; in the paper they are trained as "
    "classes, K = 11, and left out of the scores"
)
ONE_SCAN = System(method="sse-one-scan", published={"": Published("X", "se-net+aug", "1-shot k=max")})
ONE_SCAN_DIFFERS = (
    "sse-one-scan: examples are chosen among all annotated slices (the paper's k = max), three for each slice of the "
    "whole volume, by where the annotated scan is laid; k = 10 is for a range of slices that is granted, for one "
    "structure at a time"
)
ONE_SHOT = Protocol(
    name="mrbrains-one-shot",
    summary="MRE-Net's tables II to VII and X on MRBrainS18: seven brains, each the annotated one in turn",
    folds=(),
    distributed=Distributed(dataset="mrbrains18", recipe=MRE_NET_BRAINS, arrange=each_in_turn),
    systems={
        "mre-net": replace(
            _mre_net(Published("VII", "mre-net", "1-shot")),
            costs=(Published("IX", "mre-net", "1-shot"), Published("VI", "mre-net", "distance cosine")),
        ),
        "mre-net + augmentation": _mre_net(Published("VII", "mre-net+aug", "1-shot"), **AUGMENTED),
        "unet": System(method="unet", settings=PLAIN, published=_table_vii("u-net-3d", "1-shot")),
        "unet + augmentation": System(
            method="unet",
            settings=AUGMENTED,
            published=_table_vii("u-net-3d+aug", "1-shot"),
            costs=(Published("IX", "u-net-3d+aug", "1-shot"),),
        ),
        "ants SyN": System(
            method="ants-syn",
            preset="paper",
            published=_table_vii("ants", "1-shot"),
            costs=(Published("IX", "ants", "1-shot"),),
        ),
        "sse-one-scan": ONE_SCAN,
        **ABLATION,
    },
    reference="mre-net",
    study=STUDY,
    preset="paper",
    paper="mre-net",
    dataset="mrbrains18",
    measures=("dice", "hd95_in_plane"),
    quoted=QUOTED,
    partial_means={"mean without wmh": ("white matter hyperintensities",)},
    differs=(
        "HD95: as MRBrainS18's scorer computes it, from borders that are drawn in each slice",
        "spread: over the seven folds in the overview, as in the paper",
        "augmentation: ours is stronger than the paper's flips and contrast",
        UNKNOWN,
        "ants SyN: what is unknown of the annotated scan is carried over as background",
        ONE_SCAN_DIFFERS,
        COSTS,
    ),
)


def _in_shots(row: System, method: str, table: str, settings: dict[int, str]) -> System:
    """The row with what is printed of it, by shots, beside every draw of as many."""
    published = {
        f"{shots} shots {draw}": Published(table, method, setting)
        for shots, setting in settings.items()
        for draw in range(1, DRAWS + 1)
    }
    return replace(row, published=published, costs=())


SHOTS = replace(
    ONE_SHOT,
    name="mrbrains-shots",
    summary="MRE-Net's tables IV and VII: two and three annotated brains, seven draws of each",
    distributed=Distributed(dataset="mrbrains18", recipe=MRE_NET_BRAINS, arrange=drawn_shots),
    systems={
        name: _in_shots(ONE_SHOT.systems[name], printed, "VII", {2: "2-shot", 3: "3-shot"})
        for name, printed in (("mre-net", "mre-net"), ("mre-net + augmentation", "mre-net+aug"))
    }
    | {
        name: _in_shots(ONE_SHOT.systems[name], "mre-net", "IV", {3: f"M={modes} 3-shot"})
        for name, modes in MODES.items()
    },
    differs=(*ONE_SHOT.differs[:4], f"pairs and triplets are drawn with seed {SEED}; the paper's are not known"),
)
LEAVE_ONE_OUT = replace(
    ONE_SHOT,
    name="mrbrains-leave-one-out",
    summary="MRE-Net's upper bound: a U-Net from all brains but the one that is segmented",
    distributed=Distributed(dataset="mrbrains18", recipe=MRE_NET_BRAINS, arrange=leave_one_out),
    systems={
        "unet": System(method="unet", settings=PLAIN, published=_table_vii("u-net-3d", "leave-one-out")),
        "unet + augmentation": System(
            method="unet", settings=AUGMENTED, published=_table_vii("u-net-3d+aug", "leave-one-out")
        ),
    },
    reference="unet + augmentation",
    differs=ONE_SHOT.differs[:4],
)
