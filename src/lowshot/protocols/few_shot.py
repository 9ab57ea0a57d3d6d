"""A new organ from one example: APSCL's table 1 and both papers' ablations, each of four organs held out in turn.

Rows come in two kinds, which are never compared with each other without saying so. In a **granted range** the query is
first cut to the slices that show the organ, as in the published protocols; support slices are paired by K = 3 chunks.
In the **whole volume** (rows ending so) nothing is granted: that is what a user gets.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lowshot.methods.gcn_de.presets import RELEASED
from lowshot.phantoms.study import Study
from lowshot.protocols.protocol import Fold, Layout, Protocol, Published, System

ORGANS = ("liver", "left kidney", "right kidney", "spleen")
CASES = ("mr01", "mr02", "mr03", "mr05", "mr08", "mr10", "mr13", "mr15", "mr19", "mr20")
FIRST, SECOND = CASES[:5], CASES[5:]
CHUNKS = 3


def _fold(organ: str, name: str, base: tuple[str, ...], others: tuple[str, ...]) -> Fold:
    return Fold(f"{organ} {name}", others[:1], others[1:], base=base, new=organ)


def _granted(method: str, printed: str = "", **changes: Any) -> System:
    published = {"": Published("1", printed)} if printed else {}
    chunks = {"pairing": "chunks", "chunks": CHUNKS}
    return System(method=method, settings=changes, options=chunks, granted=True, published=published)


def and_whole(rows: Mapping[str, System]) -> dict[str, System]:
    """Each row, and the same model on whole volumes, where nothing published stands beside it."""
    whole = {
        f"{name} whole volume": replace(row, options={}, granted=False, published={}, model_of=name)
        for name, row in rows.items()
    }
    return dict(rows) | whole


def _on_one_fold(rows: Mapping[str, System], but: tuple[str, ...]) -> dict[str, System]:
    """The rows, all but some of them on a single fold."""
    return {name: row if name in but else replace(row, folds=("right kidney A",)) for name, row in rows.items()}


COMPARED = {
    "copied mask": _granted("copied-mask"),
    "se-net": _granted("se-net", "se-net"),
    "panet": _granted("panet", "panet"),
    "ssl-alpnet": _granted("ssl-alpnet", "alpnet"),
    "adnet": _granted("adnet", "adnet"),
    "gcn-de": _granted("gcn-de", "gcn-de"),
    "apscl": _granted("apscl", "apscl"),
}
FURTHER = {
    "co-fcn": _granted("co-fcn"),
    "oslsm": _granted("oslsm"),
    "sg-one": _granted("sg-one"),
    "rp-net": _granted("rp-net", "rp-net"),
    "aas-dcl": _granted("aas-dcl", "aas-dcl"),
    "poisson-seg": _granted("poisson-seg", "poissonseg"),
    "sr-net": _granted("sr-net", "srnet"),
    "lvqm": _granted("lvqm", "lvqm"),
}

GRANTED = (
    f"granted range: the query is cut to the organ's slices, K = {CHUNKS} chunks, as SSL-ALPNet does; rows ending in "
    "'whole volume' segment the whole scan with the same model, the example laid upon it and a prior of place added"
)
SCRATCH = (
    "no pretrained backbone; the preset compact (128×128, narrow networks, strong augmentation) on a CPU; in it all "
    "but PANet, AAS-DCL and RP-Net learn from regions of the base's images in half of the steps or more, as only "
    "SSL-ALPNet (superpixels) and ADNet (supervoxels) do in their papers: with labels of three structures alone SE-Net "
    "finds these"
)
SETTING_1 = "setting 1: the new organ may be seen in slices of the base, as background"
SETTING_2 = (
    "setting 2: slices of the base that show liver or spleen (or a kidney, where kidneys are tested) are not used"
)

MR = Protocol(
    name="new-organ-mr",
    summary="APSCL's table 1 on abdominal MR: four organs, each new in turn, from one annotated scan",
    folds=tuple(
        _fold(organ, name, base, others)
        for name, base, others in (("A", FIRST, SECOND), ("B", SECOND, FIRST))
        for organ in ORGANS
    ),
    systems=and_whole(COMPARED | _on_one_fold(FURTHER, but=("rp-net",))),
    reference="apscl",
    layout=Layout(names="labels.txt"),
    steps=800,
    measures=("dice", "hd95", "volume_elsewhere"),
    paper="apscl",
    dataset="chaos-t2",
    differs=(
        "data: 10 scans of CHAOS, 5 for the base, 1 support, 4 queries, and the other way round; paper: 20, five folds",
        GRANTED,
        SETTING_1,
        SCRATCH,
    ),
)

UPPER, KIDNEYS = ("liver", "spleen"), ("left kidney", "right kidney")
MR_HIDDEN = replace(
    MR,
    name="new-organ-mr-hidden",
    summary="new-organ-mr in setting 2: slices that show a tested organ, or its group, are kept out of the base",
    folds=tuple(
        replace(fold, hidden=UPPER if fold.new in UPPER else KIDNEYS) for fold in MR.folds if fold.name.endswith("A")
    ),
    systems=and_whole({name: COMPARED[name] for name in ("copied mask", "ssl-alpnet", "adnet")}),
    reference="ssl-alpnet",
    differs=(
        *MR.differs[:2],
        SETTING_2,
        SCRATCH,
    ),
)

THREE = (0, 1, 2)


def _ablation(method: str, table: str, rows: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, System]:
    """Rows with three seeds each: what they are called, where they are printed, what they change."""
    return {
        name: replace(_granted(method, **changes), seeds=THREE, published={"": Published(table, printed)})
        for name, (printed, changes) in rows.items()
    }


RELEASED_EMBEDDING: dict[str, Any] = {
    name: RELEASED[name] for name in ("embedding_stage", "embedding_distance", "embedding_form")
}
GCN_DE_MODULES = replace(
    MR,
    name="gcn-de-modules",
    summary="GCN-DE's table I: without global correlation and discriminative embedding, with the one, with both",
    folds=tuple(fold for fold in MR.folds if fold.name.endswith("A")),
    systems=_ablation(
        "gcn-de",
        "I",
        {
            "neither": ("gcn-de[]", {"correlation": False, "embedding_weight": 0.0}),
            "correlation": ("gcn", {"embedding_weight": 0.0}),
        },
    )
    | _ablation("gcn-de", "II", {"correlation + embedding": ("gcn-de", {})})
    | {"correlation + the code's embedding": replace(_granted("gcn-de", **RELEASED_EMBEDDING), seeds=THREE)},
    reference="neither",
    paper="gcn-de",
    differs=(*MR.differs, "the paper's code has K = 8 chunks"),
)

FEM, SCL, MGD = {"enhancement": False}, {"contrast": 0.0}, {"guidance": False}
APSCL_MODULES = replace(
    MR,
    name="apscl-modules",
    summary="APSCL's table 2: its three modules, one by one and together",
    folds=GCN_DE_MODULES.folds,
    systems=_on_one_fold(
        _ablation(
            "apscl",
            "2",
            {
                "base": ("apscl[]", FEM | SCL | MGD),
                "FEM": ("apscl[fem]", SCL | MGD),
                "SCL": ("apscl[scl]", FEM | MGD),
                "MGD": ("apscl[mgd]", FEM | SCL),
                "FEM + SCL": ("apscl[fem,scl]", MGD),
                "SCL + MGD": ("apscl[scl,mgd]", FEM),
                "FEM + MGD": ("apscl[fem,mgd]", SCL),
                "FEM + SCL + MGD": ("apscl[fem,scl,mgd]", {}),
            },
        ),
        but=("base", "FEM + SCL + MGD"),
    ),
    reference="base",
    differs=(
        *MR.differs,
        "the paper's first row is SE-Net itself; ours is the encoder with masked averages and cosines",
    ),
)


def _phantom(anatomy: str, name: str, what: str, organs: tuple[str, ...]) -> Protocol:
    subjects = tuple(f"subject-{n:02d}" for n in range(1, 7))
    return replace(
        MR,
        name=name,
        summary=f"A new organ from one scan, on synthetic {what}, which needs no data",
        folds=(_fold(organs[0], "A", subjects[:3], subjects[3:]),),
        systems={row: replace(system, published={}, folds=()) for row, system in MR.systems.items()},
        study=Study(anatomy=anatomy, shape=(96, 80, 24), subjects=6, variation=0.5, structures=organs),
        layout=Layout(),
        steps=60,
        differs=("nothing published stands beside this", *MR.differs[1:3]),
    )


PHANTOM_MR = _phantom("abdomen-mr", "phantom-new-organ-mr", "abdominal MR", ORGANS)
PHANTOM_CT = _phantom("abdomen-ct", "phantom-new-organ-ct", "abdominal CT", ORGANS)
