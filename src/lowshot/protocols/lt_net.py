"""LT-Net's tables on brains: 28 structures, one annotated scan, and a pool that holds the very scans to be segmented.

The paper has 103 scans of CANDI, of which 82 are the pool and 20 others the queries; here are eight, so the pool is the
queries, without their labels. What else differs is said in ``differs``, above every table.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lowshot.phantoms.study import Study
from lowshot.protocols.mre_net import ADULTS, THREE
from lowshot.protocols.protocol import Fold, Layout, Protocol, Published, System

OFF = {"transformation_cycle": 0.0, "anatomy_cycle": 0.0, "anatomy_difference": 0.0}


def _lt_net(table: str, printed: str, **changes: Any) -> System:
    return System(method="lt-net", settings=changes, published={"": Published(table, printed)})


def _on(*terms: str) -> Mapping[str, float]:
    """The baseline's terms, and these."""
    return {name: value for name, value in OFF.items() if name not in terms}


ABLATION: Mapping[str, System] = {
    "voxelmorph": System(method="voxelmorph", seeds=THREE, published={"": Published("2", "voxelmorph")}),
    "+ GAN": _lt_net("2", "lt-net[gan]", image_cycle=0.0, **OFF),
    "+ GAN + cycle (baseline)": replace(_lt_net("2", "lt-net[gan,cyc]", **OFF), seeds=THREE),
    "baseline + transformation": _lt_net("3", "lt-net[gan,cyc,trans]", **_on("transformation_cycle")),
    "baseline + anatomy": _lt_net("3", "lt-net[gan,cyc,anat]", **_on("anatomy_cycle")),
    "baseline + transformation + anatomy": _lt_net(
        "3", "lt-net[gan,cyc,trans,anat]", **_on("transformation_cycle", "anatomy_cycle")
    ),
    "lt-net": replace(_lt_net("3", "lt-net[gan,cyc,trans,anat,diff]"), seeds=THREE),
}

OTHERS: Mapping[str, System] = {
    "lt-net --refine": System(method="lt-net", options={"refine": True}, model_of="lt-net"),
    "data-aug": System(method="data-aug", published={"": Published("6", "dataaug")}),
    "registration (multi-atlas)": System(method="multi-atlas"),
    "registration (fast)": System(method="multi-atlas", preset="fast"),
    "ants affine": System(method="ants-affine"),
    "ants SyN": System(method="ants-syn"),
    "ants SyNCC": System(method="ants-syncc"),
}

PEOPLE = (
    "data: 8 adults, 1 mm, skull-stripped, 28 structures; the paper: 103 children and adolescents of CANDI, 28 "
    "structures"
)
POOL = "pool: the seven scans to be segmented themselves, without labels; the paper: 82 scans, 20 others are segmented"
SMALLER = (
    "ours: the preset compact (affine alignment first, 4 mm, five times the generators' learning rate, a smaller "
    "critic at a two-hundredth of the weight, 8 structures drawn for each step, cycles along composed fields that come "
    "in over the first half of the training, of whose gradient a thirtieth on the way there) on a CPU; smoothness 1, "
    "of four the best for VoxelMorph, so that its row is also the tuned one. It was chosen on "
    "scans 1008 to 1010, three of the seven that are segmented here, with atlas 1001"
)
SPREAD = "spread: ours in the first table is over seeds, the paper's over scans, as ours in the table over scans"
FOLDS = (
    "folded: voxels of the grid on which a field is found, background included, where central differences give a "
    "determinant of 0 or less; forward differences count more"
)
SYNCC = (
    "ants SyNCC: SyN with cross-correlation as its metric, 40×20×0 iterations as SyN has, and so never at full size; "
    "what ANTs calls SyNCC (the preset paper) goes on there for hours"
)

ONE_SHOT = Protocol(
    name="atlas-one-shot",
    summary="LT-Net's tables 2, 3 and 6 on real brains: its losses one by one, and other ways to carry an atlas over",
    folds=(Fold("1000", ("1000",), ADULTS[1:], unlabelled=ADULTS[1:]),),
    systems={**ABLATION, **OTHERS},
    reference="lt-net",
    layout=Layout(labels="labels", names="labels.txt"),
    steps=600,
    merge_sides=True,
    paper="lt-net",
    dataset="candi",
    differs=(
        *(PEOPLE, POOL, SMALLER, SPREAD, FOLDS, SYNCC),
        "seconds a scan, of the registrations: of several machines; on the same cores they stand in atlas-two-cores",
        "folded, affine, SyN and SyNCC: none in any of the seven scans, counted on another day, with the same Dice",
    ),
)

EQUAL_MINUTES = replace(
    ONE_SHOT,
    name="atlas-equal-minutes",
    summary="LT-Net's tables 2 and 3 once more, every row trained for as many minutes instead of as many steps",
    systems=ABLATION,
    steps=None,
    minutes=4.0,
    differs=(
        *(PEOPLE, POOL, SMALLER, SPREAD, FOLDS),
        "minutes: four, turned into steps by 40 steps of each row that were timed on one core of the same machine, "
        "as the other core trained; what cells took in the end differs by what else ran",
        "baseline + anatomy: with the bound on gradients that came of it; without, its fields folded (Dice 0.002)",
    ),
)

LAST = ADULTS[5:]
TUNING = replace(
    ONE_SHOT,
    name="atlas-tuning",
    summary="Where the smoothness of compact was chosen: VoxelMorph, another atlas than that of the tables",
    folds=(Fold("1001", ("1001",), LAST, unlabelled=(ADULTS[0], *ADULTS[2:])),),
    systems={
        f"voxelmorph at smoothness {weight:g}": System(method="voxelmorph", settings={"smoothness": weight})
        for weight in (0.1, 0.3, 1.0, 3.0)
    },
    reference="voxelmorph at smoothness 1",
    paper="",
    differs=("all three scans are among the seven that atlas-one-shot segments", FOLDS),
)

TIMED = ("lt-net", "lt-net --refine", "registration (multi-atlas)", "ants affine", "ants SyN", "ants SyNCC")
TWO_CORES = replace(
    ONE_SHOT,
    name="atlas-two-cores",
    summary="What refining costs beside ANTs: one after the other on the same two cores, with two threads",
    folds=(Fold("1000", ("1000",), LAST, unlabelled=ADULTS[1:]),),
    systems={name: replace({**ABLATION, **OTHERS}[name], seeds=(0,)) for name in TIMED},
    differs=(
        *(PEOPLE, POOL, SMALLER, SPREAD, FOLDS, SYNCC),
        "seconds a scan: --threads 2, rows in turn, nothing else on the machine (while LT-Net trained there was)",
        "three of the seven scans",
    ),
)

WHOLE = {
    "most_voxels": 600_000,
    "widths": (16, 32, 64, 64, 64),
    "convolutions": (2, 2, 2, 2, 2),
    "patch_voxels": 64**3,
    "batch": 1,
}
COARSE = (
    "ours: the U-Net works at about 1.8 mm, in patches of 115 mm; in those of compact, 48 mm, it cannot tell left from "
    "right"
)

MABMIS = {f"{n} annotated": Published("4", "mabmis", f"{n} atlases") for n in (2, 3, 4, 5)}
ATLASES = replace(
    ONE_SHOT,
    name="atlas-fusion",
    summary="Two to five annotated brains: label fusion, as MABMIS in LT-Net's table 4; the same three queries",
    folds=tuple(Fold(f"{n} annotated", ADULTS[:n], LAST) for n in (2, 3, 4, 5)),
    systems={
        "local vote": System(method="multi-atlas", published=MABMIS),
        "local vote (fast)": System(method="multi-atlas", preset="fast", published=MABMIS),
        "majority vote (fast)": System(method="multi-atlas", preset="fast", settings={"vote": "majority"}),
        "ants joint label fusion": System(method="ants-fusion"),
        "unet": System(method="unet", settings=WHOLE),
    },
    reference="local vote",
    differs=(
        PEOPLE,
        "our registration and votes, not MABMIS itself, whose figures stand beside the local votes",
        "how votes are weighed was chosen with two of the annotated brains, of which the four others segmented each",
        "seconds a scan: of the local votes, and of joint label fusion of three to five, on a slower, busy machine; "
        "a quiet one needs half to three quarters of that",
        COARSE,
        "unet: 600 steps are few; of five brains 1,200 make 0.824 (atlas-supervised). Its minutes were taken beside "
        "other work",
        SPREAD,
        FOLDS,
    ),
)


UNLABELLED = replace(
    ONE_SHOT,
    name="atlas-unlabelled",
    summary="DataAug with three, five and seven brains without labels; the same three queries",
    folds=tuple(Fold(f"{n} unlabelled", ADULTS[:1], LAST, unlabelled=ADULTS[-n:]) for n in (3, 5, 7)),
    systems={
        "IDS-aug": System(method="data-aug"),
        "coupled": System(method="data-aug", settings={"examples": "coupled"}),
        "SAS-aug": System(method="data-aug", settings={"examples": "sas"}),
    },
    reference="IDS-aug",
    differs=(
        PEOPLE,
        "pool: always holds the three scans to be segmented; MRE-Net's table XI (5, 10, 20) is of abdominal CT",
    ),
)

SUPERVISED = replace(
    ONE_SHOT,
    name="atlas-supervised",
    summary="A U-Net that learns from four or five annotated brains: the upper bound in LT-Net's table 6",
    folds=(Fold("first half", ADULTS[:5], LAST), Fold("second half", (ADULTS[0], *LAST), ADULTS[1:5])),
    systems={"unet": System(method="unet", settings=WHOLE, published={"": Published("6", "u-net")})},
    reference="unet",
    steps=1200,
    differs=(
        PEOPLE,
        COARSE,
        "each scan but 1000 is segmented by the one of two networks that has not seen it; the paper: 83",
        "an upper bound only in the paper's sense: from so few brains a U-Net stays below registration from one",
    ),
)


def _phantom(anatomy: str, name: str, what: str) -> Protocol:
    queries = tuple(f"subject-{n:02d}" for n in range(2, 6))
    return replace(
        ONE_SHOT,
        name=name,
        summary=f"LT-Net, VoxelMorph and other ways to carry an atlas over on synthetic {what}, which needs no data",
        folds=(Fold("subject-01", ("subject-01",), queries, unlabelled=queries),),
        systems={name: replace(ABLATION[name], published={}, seeds=(0,)) for name in ("lt-net", "voxelmorph")}
        | {name: replace(system, published={}) for name, system in OTHERS.items()},
        study=Study(anatomy=anatomy, shape=(64, 64, 64), subjects=5),
        layout=Layout(),
        steps=200,
        differs=("nothing published stands beside this", FOLDS, SYNCC),
    )


PHANTOM_BRAIN = _phantom("brain-mr", "atlas-phantom-brain", "brains")
PHANTOM_ABDOMEN = _phantom("abdomen-ct", "atlas-phantom-abdomen", "abdominal CT")
