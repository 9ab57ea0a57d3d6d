"""MRE-Net's protocol on BTCV: seven scans, each the annotated one in turn; twenty others as pool, or as a bound."""

from dataclasses import replace

from lowshot.datasets.recipe import MRE_NET_BTCV
from lowshot.phantoms.study import Study
from lowshot.protocols.mrbrains import AUGMENTED, each_in_turn, leave_one_out
from lowshot.protocols.protocol import Distributed, Fold, Protocol, Published, System

ORGANS = ("spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "pancreas")
SEVEN = 7
POOLS = (5, 10, 20)


def seven_in_turn(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """The first seven cases; the paper drew its seven at random."""
    return each_in_turn(cases[:SEVEN])


def pools(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """The first case is the atlas, the rest of the seven the queries, 5, 10 or 20 of the others the pool."""
    needed = SEVEN + POOLS[0]
    if len(cases) < needed:
        raise ValueError(f"needs {needed} annotated cases or more")
    others = cases[SEVEN:]
    return tuple(
        Fold(f"{n} unlabelled", cases[:1], cases[1:SEVEN], unlabelled=others[:n]) for n in POOLS if n <= len(others)
    )


def bounds(cases: tuple[str, ...]) -> tuple[Fold, ...]:
    """Six of the seven, and the twenty others, as training scans."""
    folds = leave_one_out(cases[:SEVEN])
    others = cases[SEVEN : SEVEN + POOLS[-1]]
    return (*folds, Fold("20 others", others, cases[:SEVEN])) if others else folds


def _viii(method: str, setting: str = "1-shot") -> dict[str, Published]:
    return {"": Published("VIII", method, setting)}


ONE_SHOT = Protocol(
    name="btcv-one-shot",
    summary="MRE-Net's tables VIII and X on BTCV: seven CT scans, each the annotated one in turn",
    folds=(),
    distributed=Distributed(dataset="btcv", recipe=MRE_NET_BTCV, arrange=seven_in_turn, structures=ORGANS),
    systems={
        "mre-net": System(method="mre-net", published=_viii("mre-net")),
        "unet + augmentation": System(method="unet", settings=AUGMENTED, published=_viii("u-net-3d+aug")),
        "ants SyN": System(method="ants-syn", published=_viii("ants")),
        "sse-one-scan": System(method="sse-one-scan", published={"": Published("X", "se-net+aug", "1-shot k=10")}),
    },
    reference="mre-net",
    study=Study(anatomy="abdomen-ct", shape=(64, 56, 48), subjects=13, variation=0.5, structures=ORGANS),
    preset="paper",
    paper="mre-net",
    dataset="btcv",
    differs=(
        "the seven scans are the first by number; the paper's were drawn at random among 27",
        "scans are resized as a whole; the paper first cuts each to the box that DenseVNet's authors published",
        "spread: over the seven folds in the overview, as in the paper",
    ),
)
UNLABELLED = replace(
    ONE_SHOT,
    name="btcv-unlabelled",
    summary="MRE-Net's table XI on BTCV: DataAug with 5, 10 and 20 scans without labels",
    distributed=Distributed(dataset="btcv", recipe=MRE_NET_BTCV, arrange=pools, structures=ORGANS),
    systems={
        name: System(
            method="data-aug",
            settings=settings,
            published={f"{n} unlabelled": Published("XI", printed, f"{n} unlabelled") for n in POOLS},
        )
        for name, printed, settings in (
            ("IDS-aug", "dataaug-ids", {}),
            ("SAS-aug", "dataaug-sas", {"examples": "sas"}),
        )
    }
    | {"mre-net": System(method="mre-net", published={"": Published("XI", "mre-net", "1-shot")})},
    differs=(
        *ONE_SHOT.differs[:2],
        "the atlas is the first scan; the paper's is the one closest to the average of the seven",
    ),
)
BOUNDS = replace(
    ONE_SHOT,
    name="btcv-bounds",
    summary="MRE-Net's upper bounds on BTCV: U-Nets from six of the seven scans, and from twenty others",
    distributed=Distributed(dataset="btcv", recipe=MRE_NET_BTCV, arrange=bounds, structures=ORGANS),
    systems={
        "unet + augmentation": System(
            method="unet",
            settings=AUGMENTED,
            published={
                "": Published("VIII", "u-net-3d+aug", "leave-one-out"),
                "20 others": Published("VIII", "u-net-3d+aug", "20 training scans"),
            },
        )
    },
    reference="unet + augmentation",
)
