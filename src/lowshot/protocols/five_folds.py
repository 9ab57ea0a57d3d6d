"""The few-shot literature's protocol on whole data sets: five folds, each organ new in turn (GCN-DE, APSCL).

Scans are sorted by number and split into five blocks, which are segmented in turn. SSL-ALPNet's support is the scan
after the block, the first one after the last; from that set of block and support the ADNet family takes its last scan
as the support, RPT its first. All other scans are the base.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

from lowshot.datasets.recipe import ALPNET_CARDIAC, ALPNET_CHAOS, ALPNET_SYNAPSE
from lowshot.phantoms.study import Study
from lowshot.protocols.few_shot import COMPARED, FURTHER, KIDNEYS, ORGANS, UPPER
from lowshot.protocols.protocol import Distributed, Fold, Layout, Protocol, Published, System

Support = Literal["next", "last", "first"]
FOLDS = 5
HEART = ("right ventricle", "left ventricle", "myocardium")
CHUNKS = {"ssl-alpnet": 3, "gcn-de": 8, "se-net": 12}
"""K in the released code of each (se-net: as RP-Net gives it); the others as SSL-ALPNet."""


def five_folds(
    cases: tuple[str, ...], organs: tuple[str, ...], support: Support = "next", setting: Literal[1, 2] = 1
) -> tuple[Fold, ...]:
    """A fold for every organ and block; blocks differ by one scan at most."""
    if len(cases) < FOLDS + 1:
        raise ValueError(f"needs {FOLDS + 1} annotated cases or more for five folds")
    folds = []
    for organ in organs:
        hidden = () if setting == 1 else UPPER if organ in UPPER else KIDNEYS
        for number in range(FOLDS):
            first, end = (len(cases) * n // FOLDS for n in (number, number + 1))
            positions = sorted({*range(first, end), end % len(cases)})
            taught = {"next": end % len(cases), "last": positions[-1], "first": positions[0]}[support]
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
    """Granted ranges, each with the number of chunks of its own protocol."""
    return {
        name: replace(row, options={**row.options, "chunks": CHUNKS.get(row.method, 3)})
        for name, row in (COMPARED | FURTHER).items()
    }


RANGE = (
    "granted range: the query is cut to the organ's slices; K = 3 chunks as SSL-ALPNet does, 8 for GCN-DE as in its "
    "code, 12 for SE-Net as RP-Net gives it"
)
SCRATCH = "no pretrained backbone unless one is given as a setting (weights=FILE)"
SUPPORTS = {
    "next": "support: the scan after the block, as SSL-ALPNet",
    "last": "support: the last scan of block and next scan, as the ADNet family",
    "first": "support: the first scan of block and next scan, as RPT",
}


def _protocol(name: str, what: str, distributed: Distributed, support: Support, setting: int, study: Study) -> Protocol:
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
        measures=("dice", "hd95", "volume_elsewhere"),
        paper="apscl",
        dataset={"chaos-mr": "chaos-t2", "btcv": "synapse"}.get(distributed.dataset, distributed.dataset),
        differs=(RANGE, SUPPORTS[support], SCRATCH),
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


def _synapse(name: str, setting: Literal[1, 2]) -> Protocol:
    arrange = partial(five_folds, organs=ORGANS, setting=setting)
    distributed = Distributed(dataset="btcv", recipe=ALPNET_SYNAPSE, arrange=arrange, structures=ORGANS)
    return _protocol(name, "Synapse", distributed, "next", setting, _CT)


SYNAPSE = _synapse("synapse-five-folds", 1)
SYNAPSE_HIDDEN = _synapse("synapse-five-folds-hidden", 2)
CARDIAC = _protocol(
    "cardiac-five-folds",
    "MS-CMRSeg",
    Distributed(dataset="ms-cmrseg", recipe=ALPNET_CARDIAC, arrange=partial(five_folds, organs=HEART)),
    "next",
    1,
    _HEART,
)
GCN_DE_CHAOS = replace(
    CHAOS,
    name="gcn-de-five-folds",
    summary="GCN-DE's tables I and II on CHAOS: five folds, every organ new in turn, K = 8 chunks",
    systems={
        name: replace(row, options={**row.options, "chunks": 8}, published={"": Published("II", printed)})
        for name, printed, row in (
            ("oslsm", "oslsm", FURTHER["oslsm"]),
            ("co-fcn", "co-fcn", FURTHER["co-fcn"]),
            ("panet", "panet", COMPARED["panet"]),
            ("sg-one", "sg-one", FURTHER["sg-one"]),
            ("se-net", "se-net", COMPARED["se-net"]),
            ("gcn-de", "gcn-de", COMPARED["gcn-de"]),
        )
    },
    reference="gcn-de",
    paper="gcn-de",
    differs=("granted range: the query is cut to the organ's slices, K = 8 chunks", SUPPORTS["next"], SCRATCH),
)
