"""Every system that the five papers' tables name, and what it is here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lowshot.protocols.published import figures

Standing = Literal["implemented", "quoted only", "missing"]
METHODS = {
    **{name: name for name in ("adnet", "apscl", "aas-dcl", "co-fcn", "elnet", "fcn", "gcn-de", "lt-net", "lvqm")},
    **{name: name for name in ("mlds", "mre-net", "mt-unet", "oslsm", "panet", "rp-net", "scs", "se-net", "sg-one")},
    **{"voxelmorph": "voxelmorph", "alpnet": "ssl-alpnet", "poissonseg": "poisson-seg", "srnet": "sr-net"},
    **{"mre-net+aug": "mre-net", "u-net-3d": "unet", "u-net-3d+aug": "unet", "se-net+aug": "sse-one-scan"},
    **{"ants": "ants-syn", "dataaug": "data-aug", "dataaug-ids": "data-aug", "dataaug-sas": "data-aug"},
    **{"gcn": "gcn-de"},
}
"""Name in ``published.csv``, without its switches, to method in the catalogue."""
ELSEWHERE = {"u-net": {"lt-net": "unet", "elnet": "unet-slices"}}
"""Names that mean something else in each paper."""
QUOTED_SETTINGS = ("non-low-shot", "220 images reported")
"""Trained on many scans; their figures are quoted from their own papers."""
OF_MANY = ("20 training scans",)
"""Trained on many scans by the authors of the paper, and here."""
STANDS_IN = {"mabmis": "multi-atlas and ants-fusion stand in its place"}
"""Missing here."""


@dataclass(frozen=True)
class PublishedSystem:
    """One system of the tables."""

    name: str
    tables: tuple[str, ...]
    """Paper and number of each: "mre-net VII"."""
    standing: Standing
    method: str
    """In the catalogue, or a word about why there is none."""


def published_systems() -> Sequence[PublishedSystem]:
    """All of them, by name; what a paper ablates is one system, and quotations of other papers are apart."""
    tables: dict[tuple[str, Standing, str], dict[str, None]] = {}
    for figure in figures():
        name = figure.method.partition("[")[0]
        quoted = figure.setting in QUOTED_SETTINGS
        apart = quoted or figure.setting in OF_MANY
        key = (f"{name}, {figure.setting}" if apart else name, *_standing(name, figure.paper, quoted))
        tables.setdefault(key, {})[f"{figure.paper} {figure.table}"] = None
    return [
        PublishedSystem(name, tuple(where), standing, method)
        for (name, standing, method), where in sorted(tables.items())
    ]


def _standing(name: str, paper: str, quoted: bool) -> tuple[Standing, str]:
    if quoted:
        return "quoted only", "trained on many scans"
    method = METHODS.get(name) or ELSEWHERE.get(name, {}).get(paper)
    if method is not None:
        return "implemented", method
    return "missing", STANDS_IN.get(name, "")
