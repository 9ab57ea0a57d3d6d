"""The few-shot literature's protocol on whole data sets: five folds, each organ new in turn (GCN-DE, APSCL).

Scans are sorted by number and split into five blocks, which are segmented in turn. SSL-ALPNet's support is the scan
after the block, the first one after the last; from that set of block and support the ADNet family takes its last scan
as the support, RPT its first. GCN-DE's is the first of the block itself. All other scans are the base.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

from lowshot.datasets.recipe import ALPNET_CARDIAC, ALPNET_CHAOS, ALPNET_SYNAPSE
from lowshot.phantoms.study import Study
from lowshot.protocols.few_shot import (
    APSCL_MODULES,
    COMPARED,
    FURTHER,
    GCN_DE_MODULES,
    KIDNEYS,
    ORGANS,
    SETTING_1,
    SETTING_2,
    UPPER,
    and_whole,
)
from lowshot.protocols.protocol import Distributed, Fold, Layout, Protocol, Published, System

Support = Literal["next", "last", "first", "in block"]
FOLDS = 5
HEART = ("right ventricle", "left ventricle", "myocardium")
CHUNKS = {"ssl-alpnet": 3, "gcn-de": 8, "se-net": 12}
"""K in the released code of each (se-net: as RP-Net gives it); the others as SSL-ALPNet."""
MIDDLE, ONE_CHUNK = "adnet whole volume from the middle slice", {"pairing": "chunks", "chunks": 1}
"""ADNet's second way to be evaluated: the middle one of the support's slices is the example for a whole volume."""
GCN_DE_PIXELS = 10
"""That a slice has more of, to be among the structure's (GCN-DE's code)."""
TABLE_II = ("oslsm", "co-fcn", "panet", "sg-one", "se-net", "gcn-de")


def five_folds(
    cases: tuple[str, ...], organs: tuple[str, ...], support: Support = "next", setting: Literal[1, 2] = 1
) -> tuple[Fold, ...]:
    """A fold for every organ and block; blocks differ by one scan at most."""
    needed = 2 * FOLDS if support == "in block" else FOLDS + 1
    if len(cases) < needed:
        raise ValueError(f"needs {needed} annotated cases or more for five folds")
    folds = []
    for organ in organs:
        hidden = () if setting == 1 else UPPER if organ in UPPER else KIDNEYS
        for number in range(FOLDS):
            first, end = (len(cases) * n // FOLDS for n in (number, number + 1))
            after = end % len(cases)
            positions = list(range(first, end)) if support == "in block" else sorted({*range(first, end), after})
            taught = {"next": after, "last": positions[-1]}.get(support, positions[0])
            folds.append(
                Fold(
                    f"{organ} {number + 1}",
                    (cases[taught],),
                    tuple(cases[at] for at in positions if at != taught),
                    base=tuple(case for at, case in enumerate(cases) if at not in positions),
                    new=organ,
                    hidden=hidden,
                )
            )
    return tuple(folds)


def _rows() -> Mapping[str, System]:
    """Granted ranges, each with the number of chunks of its own protocol; whole volumes beside them."""
    granted = {
        name: replace(row, options={**row.options, "chunks": CHUNKS.get(row.method, 3)})
        for name, row in (COMPARED | FURTHER).items()
    }
    return and_whole(granted) | {MIDDLE: System(method="adnet", options=ONE_CHUNK, model_of="adnet")}


RANGE = (
    "granted range: the query is cut to the organ's slices; K = 3 chunks as SSL-ALPNet does, 8 for GCN-DE as in its "
    "code, 12 for SE-Net as RP-Net gives it; rows with 'whole volume' segment the whole scan with the same model, the "
    "example laid upon it and a prior of place added"
)
SCRATCH = "no pretrained backbone unless one is given as a setting (weights=FILE)"
PER_SCAN = "z-scores are of each scan; SSL-ALPNet's code takes mean and deviation of the training set for CT"
VARIANTS = {"btcv": "synapse", "ms-cmrseg": "heart"}
"""Presets of some methods for the images of a data set."""
SETTINGS = {1: f"{SETTING_1}; which one the paper has, it does not say", 2: SETTING_2}
SUPPORTS = {
    "next": "support: the scan after the block, as SSL-ALPNet",
    "last": "support: the last scan of block and next scan, as the ADNet family",
    "first": "support: the first scan of block and next scan, as RPT",
    "in block": "support: the first scan of the block, as in GCN-DE's code",
}


def _protocol(name: str, what: str, distributed: Distributed, support: Support, setting: int, study: Study) -> Protocol:
    of_ct = (PER_SCAN,) if distributed.dataset == "btcv" else ()
    return Protocol(
        name=name,
        summary=f"APSCL's table 1 on {what}, setting {setting}: five folds, every organ new in turn; "
        + SUPPORTS[support],
        folds=(),
        distributed=distributed,
        systems=_rows(),
        reference="apscl",
        layout=Layout(),
        study=study,
        preset="paper",
        variant=VARIANTS.get(distributed.dataset, ""),
        measures=("dice", "hd95", "volume_elsewhere"),
        paper="apscl",
        dataset={"chaos-mr": "chaos-t2", "btcv": "synapse"}.get(distributed.dataset, distributed.dataset),
        differs=(
            RANGE,
            SUPPORTS[support],
            SETTINGS[setting],
            SCRATCH,
            *of_ct,
        ),
    )


_ABDOMEN = Study(anatomy="abdomen-mr", shape=(64, 56, 16), subjects=6, variation=0.5, structures=ORGANS)
_CT = replace(_ABDOMEN, anatomy="abdomen-ct", shape=(160, 144, 16))
_HEART = Study(anatomy="cardiac-mr", shape=(64, 64, 8), subjects=6, variation=0.5)


def _chaos(name: str, support: Support = "next", setting: Literal[1, 2] = 1) -> Protocol:
    arrange = partial(five_folds, organs=ORGANS, support=support, setting=setting)
    distributed = Distributed(dataset="chaos-mr", recipe=ALPNET_CHAOS, arrange=arrange)
    return _protocol(name, "CHAOS", distributed, support, setting, _ABDOMEN)


CHAOS = _chaos("chaos-five-folds")
CHAOS_HIDDEN = _chaos("chaos-five-folds-hidden", setting=2)
CHAOS_LAST = _chaos("chaos-five-folds-last", support="last")
CHAOS_FIRST = _chaos("chaos-five-folds-first", support="first")


def _apscl(printed: str, table: str, **changes: int | float) -> System:
    where = Published(table, "apscl", printed)
    return replace(COMPARED["apscl"], settings=changes, published={"": where}, costs=(where,) if table == "4" else ())


APSCL_CHAOS = replace(
    CHAOS,
    name="apscl-five-folds",
    summary="APSCL's tables 2 to 4 on CHAOS: its modules, the weights of its losses, the number of its latent factors",
    systems=and_whole(
        {
            **{name: replace(row, seeds=(0,), folds=()) for name, row in APSCL_MODULES.systems.items()},
            "FEM + SCL + MGD": replace(
                APSCL_MODULES.systems["FEM + SCL + MGD"], seeds=(0,), costs=(Published("4", "apscl", "latent=32"),)
            ),
            **{
                f"KL weight {weight:g}": _apscl(f"lambda_kl={weight:g} lambda_scl=0.07", "3", divergence=weight)
                for weight in (0.08, 0.12)
            },
            **{
                f"SCL weight {weight:g}": _apscl(f"lambda_kl=0.1 lambda_scl={weight:g}", "3", contrast=weight)
                for weight in (0.05, 0.09)
            },
            **{f"{n} latent factors": _apscl(f"latent={n}", "4", factors=n) for n in (2, 4, 8, 16, 64, 128)},
        }
    ),
    reference="FEM + SCL + MGD",
    differs=(
        *CHAOS.differs,
        "all rows but 'base' to 'FEM + MGD' have the three modules; λ_KL = 0.1, λ_SCL = 0.07 and 32 latent factors "
        "where a row names no other",
        "the paper's first row is SE-Net itself; ours is the encoder with masked averages and cosines",
        "table 4 prints operations, too, which nothing here counts; its seconds are of one inference, ours of a scan",
    ),
)


def _synapse(name: str, support: Support = "next", setting: Literal[1, 2] = 1) -> Protocol:
    arrange = partial(five_folds, organs=ORGANS, support=support, setting=setting)
    distributed = Distributed(dataset="btcv", recipe=ALPNET_SYNAPSE, arrange=arrange, structures=ORGANS)
    return _protocol(name, "Synapse", distributed, support, setting, _CT)


SYNAPSE = _synapse("synapse-five-folds")
SYNAPSE_HIDDEN = _synapse("synapse-five-folds-hidden", setting=2)
SYNAPSE_LAST = _synapse("synapse-five-folds-last", support="last")
SYNAPSE_FIRST = _synapse("synapse-five-folds-first", support="first")


def _cardiac(name: str, support: Support = "next") -> Protocol:
    """Setting 1 alone: every slice of a heart shows more than the new structure."""
    arrange = partial(five_folds, organs=HEART, support=support)
    distributed = Distributed(dataset="ms-cmrseg", recipe=ALPNET_CARDIAC, arrange=arrange)
    return _protocol(name, "MS-CMRSeg", distributed, support, 1, _HEART)


CARDIAC = _cardiac("cardiac-five-folds")
CARDIAC_LAST = _cardiac("cardiac-five-folds-last", support="last")
CARDIAC_FIRST = _cardiac("cardiac-five-folds-first", support="first")


def _gcn_de_rows() -> Mapping[str, System]:
    """Table I's modules and table II's systems, in granted ranges and on whole volumes."""
    printed = {
        "gcn-de without both": (GCN_DE_MODULES.systems["neither"], "I", "gcn-de[]"),
        "gcn-de without embedding": (GCN_DE_MODULES.systems["correlation"], "I", "gcn"),
        **{name: (row, "II", name) for name, row in (COMPARED | FURTHER).items() if name in TABLE_II},
    }
    granted = {
        name: replace(
            row, seeds=(0,), options={**row.options, "chunks": 8}, published={"": Published(table, published)}
        )
        for name, (row, table, published) in printed.items()
    }
    return and_whole(granted)


def _gcn_de(name: str, what: str, distributed: Distributed, study: Study) -> Protocol:
    ct = distributed.dataset == "btcv"
    return replace(
        _protocol(name, what, distributed, "in block", 1, replace(study, subjects=2 * FOLDS)),
        summary=f"GCN-DE's tables I and II on {what}: five folds, every organ new in turn, K = 8 chunks",
        systems=_gcn_de_rows(),
        reference="gcn-de",
        measures=("dice", "dice_of_slices", "hd95", "volume_elsewhere"),
        granted_above=GCN_DE_PIXELS,
        paper="gcn-de",
        differs=(
            f"granted range: the query is cut to slices with more than {GCN_DE_PIXELS} pixels of the organ, K = 8 "
            "chunks; rows with 'whole volume' segment the whole scan with it, the example laid upon it and a prior of "
            "place added; " + SUPPORTS["in block"],
            "scans are resampled as for SSL-ALPNet; the paper does not describe it",
            "at the last step; the paper's code keeps the best epoch, and its Dice is the mean over slices, a column "
            "of its own",
            "the new organ is never trained on; the public code's sampler trains on spleen and kidneys even then",
            SCRATCH,
            *(("grey values of CT: the paper's window for gcn-de alone, z-scores of each scan for the others",) * ct),
        ),
    )


IN_BLOCK = partial(five_folds, organs=ORGANS, support="in block")
GCN_DE_CHAOS = _gcn_de(
    "gcn-de-five-folds", "CHAOS", Distributed(dataset="chaos-mr", recipe=ALPNET_CHAOS, arrange=IN_BLOCK), _ABDOMEN
)
GCN_DE_SYNAPSE = _gcn_de(
    "gcn-de-five-folds-ct",
    "Synapse",
    Distributed(dataset="btcv", recipe=ALPNET_SYNAPSE, arrange=IN_BLOCK, structures=ORGANS),
    _CT,
)
