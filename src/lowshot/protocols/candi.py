"""LT-Net's protocol on CANDI: one atlas, 82 scans without labels, 20 others as the test."""

import random
from dataclasses import replace

from lowshot.datasets.recipe import RAW
from lowshot.phantoms.study import Study
from lowshot.protocols.lt_net import ABLATION
from lowshot.protocols.protocol import Distributed, Fold, Protocol, Published, System

CASES, TESTED = 103, 20
SEED = 0
DRAWN = (
    f"test scans are drawn with seed {SEED}; the paper's are not known",
    "spread: over scans, as in the paper",
)
CROP = (
    "crop: lt-net and voxelmorph look at 160 × 128 × 160 voxels from left to right, back to front and foot to head, "
    "around the centroid of the body; the paper writes 160 × 160 × 128 and does not say along which axes: scans have "
    "128 to 158 slices, and these are coronal as far as we know. data-aug looks at "
    "160 × 192 × 224 around the centre; the other rows see whole scans"
)


def _split(cases: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test scans, drawn with one stored seed; on a subset in the paper's proportion."""
    if len(cases) < 4:
        raise ValueError("needs 4 annotated cases or more")
    drawn = random.Random(SEED).sample(cases, len(cases))  # noqa: S311 (nothing to keep secret)
    tested = max(1, round(len(cases) * TESTED / CASES))
    return tuple(drawn[tested:]), tuple(drawn[:tested])


def one_atlas(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Of the training scans the one closest to their average is the atlas, the others are the pool."""
    trained, tested = _split(cases)
    return (Fold("one atlas", trained, tested, unlabelled=trained, closest=True),)


def several_atlases(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Two to five atlases, as many as there are training scans."""
    trained, tested = _split(cases)
    return tuple(Fold(f"{n} atlases", trained[:n], tested) for n in (2, 3, 4, 5) if n <= len(trained))


def all_labelled(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Every training scan with its labels: the upper bound."""
    trained, tested = _split(cases)
    return (Fold(f"{len(trained)} labelled", trained, tested),)


ONE_ATLAS = Protocol(
    name="candi-one-atlas",
    summary="LT-Net's tables 2, 3 and 6 on CANDI: one atlas, a pool without labels, other scans as the test",
    folds=(),
    distributed=Distributed(dataset="candi", recipe=RAW, arrange=one_atlas),
    systems={name: replace(row, seeds=(0,)) for name, row in ABLATION.items()}
    | {
        "voxelmorph (tuned)": System(
            method="voxelmorph", settings={"smoothness": 1 / 3}, published={"": Published("6", "voxelmorph")}
        ),
        "data-aug": System(method="data-aug", published={"": Published("6", "dataaug")}),
        "lt-net --refine": System(method="lt-net", options={"refine": True}, model_of="lt-net"),
        "ants SyN": System(method="ants-syn"),
    },
    reference="lt-net",
    study=Study(anatomy="brain-mr", shape=(48, 56, 40), subjects=5),
    preset="paper",
    variant="ablation",
    merge_sides=True,
    paper="lt-net",
    dataset="candi",
    differs=(
        *DRAWN,
        "smoothness: 3 in every row, voxelmorph's too; 1/3 in voxelmorph (tuned), as its public code's 1 is of means "
        "over components, too",
        CROP,
    ),
)
ATLASES = replace(
    ONE_ATLAS,
    name="candi-atlases",
    summary="LT-Net's table 4 on CANDI: label fusion with two to five atlases",
    distributed=Distributed(dataset="candi", recipe=RAW, arrange=several_atlases),
    systems={
        "local vote": System(
            method="multi-atlas",
            settings={"vote": "local"},
            published={f"{n} atlases": Published("4", "mabmis", f"{n} atlases") for n in (2, 3, 4, 5)},
        ),
        "majority vote": System(method="multi-atlas", settings={"vote": "majority"}),
        "ants joint label fusion": System(method="ants-fusion"),
    },
    reference="local vote",
    quoted={"lt-net of one atlas (quoted)": {"": Published("4", "lt-net", "1-shot")}},
    differs=(
        f"test scans and atlases are drawn with seed {SEED}; the paper's are not known",
        "our registration and votes, not MABMIS itself",
    ),
)
SUPERVISED = replace(
    ONE_ATLAS,
    name="candi-supervised",
    summary="The upper bound in LT-Net's table 6: a U-Net from all training scans with their labels",
    distributed=Distributed(dataset="candi", recipe=RAW, arrange=all_labelled),
    systems={
        "unet": System(
            method="unet", settings={"crop": "foreground"}, published={"": Published("6", "u-net", "83 labelled")}
        )
    },
    reference="unet",
    differs=(*DRAWN, "the network learns from whole scans, not from the paper's crop of 160 × 160 × 128"),
)
