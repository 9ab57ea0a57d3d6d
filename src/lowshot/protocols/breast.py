"""MRE-Net's ultrasound protocol on whole data sets: 220 images to train on, 100 as the test."""

import random
from dataclasses import replace

from lowshot.datasets.recipe import RAW
from lowshot.phantoms.study import Study
from lowshot.protocols.protocol import Distributed, Fold, Published, System
from lowshot.protocols.ultrasound import FIVE, SIZES, ULTRASOUND

SEED = 0
TRAINED, TESTED = 220, 100


def sizes(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """A fold for 2, 11 and 22 training images, drawn by each cell's seed, and one for all; the test is the same."""
    if len(cases) < 4:
        raise ValueError("needs 4 annotated images or more")
    drawn = random.Random(SEED).sample(cases, len(cases))[: TRAINED + TESTED]  # noqa: S311 (nothing to keep secret)
    tested = max(1, round(len(drawn) * TESTED / (TRAINED + TESTED)))
    test, pool = tuple(drawn[:tested]), tuple(drawn[tested:])
    few = tuple(Fold(f"{n} images", pool, test, drawn=n) for n in SIZES if n < len(pool))
    return (*few, Fold("220 images", pool, test))


def sizes_with_lesions(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """The same without images of normal breasts: the paper's ratios are of a lesion's area, so that each shows one."""
    return sizes(tuple(case for case in cases if not case.startswith("normal")))


def _printed(method: str, *settings: str) -> dict[str, Published]:
    return {setting.removesuffix(" re-run"): Published("XII", method, setting) for setting in settings}


FEW = tuple(f"{n} images" for n in SIZES)
BUSI = replace(
    ULTRASOUND,
    name="busi-images",
    summary="MRE-Net's table XII on BUSI: 2, 11, 22 and 220 annotated images, 100 others as the test",
    folds=(),
    distributed=Distributed(dataset="busi", recipe=RAW, arrange=sizes_with_lesions),
    systems={
        "mre-net": System(method="mre-net", seeds=FIVE, published=_printed("mre-net", *FEW)),
        "fcn": System(method="fcn", seeds=FIVE, published=_printed("fcn", *FEW, "220 images")),
        "scs": System(method="scs", seeds=FIVE, published=_printed("scs", "220 images re-run")),
    },
    study=Study(anatomy="breast-us", shape=(96, 80, 1), subjects=6),
    preset="paper",
    minutes=None,
    quoted={"SCS (as its paper reports)": {"220 images": Published("XII", "scs", "220 images reported")}},
    differs=(
        f"data: 320 images of BUSI, drawn with seed {SEED}; the paper: 320 images of another set",
        "images of normal breasts, which have no lesion, are left out",
        "each seed draws the training images",
        "SCS: as MRE-Net's authors ran it again, beside what its own paper reports",
    ),
)
ORIGINAL_GT = replace(
    BUSI,
    name="ultrasound-images",
    summary="MRE-Net, FCN and SCS on any folder of images in original/ and masks in GT/",
    distributed=Distributed(dataset="original-gt", recipe=RAW, arrange=sizes),
    quoted={},
    differs=(f"data: whatever lies there, split with seed {SEED}", "each seed draws the training images"),
)
