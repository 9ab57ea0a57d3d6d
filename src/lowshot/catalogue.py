"""Every method by name. Strings, so that listing them imports no torch.

To add a method: its folder (or file) under ``methods/``, its tests, one entry here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from lowshot.errors import MissingExtra, SettingsError
from lowshot.settings import build

if TYPE_CHECKING:
    from lowshot.contract import Method


@dataclass(frozen=True)
class Entry:
    """Where a method is, and what it is called with."""

    summary: str
    """One line for ``lowshot methods``."""
    method: str
    """module:class"""
    presets: str
    """module:dictionary of named settings; the module imports nothing heavy."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What makes this entry of a class that serves several; presets and the user's settings go on top."""
    uses: frozenset[str] = frozenset({"support"})
    """The parts of a task that it learns from: support, unlabelled, base. What else is given is told to be unused."""
    extra: str | None = None
    """The optional dependencies that it needs: ``pip install lowshot[extra]``."""


DEFAULT_METHOD = "mre-net"
DEFAULT_PRESET = "compact"

CATALOGUE: dict[str, Entry] = {
    "mre-net": Entry(
        summary="MRE-Net: multi-scale embedding and prototypes; learns from one to three annotated scans alone",
        method="lowshot.methods.mre_net.method:MRENet",
        presets="lowshot.methods.mre_net.presets:MRE_NET",
    ),
    "unet": Entry(
        summary="3-D U-Net of Luna & Park with MRE-Net's loss and tiling: its baseline, row (a) of its ablation",
        method="lowshot.methods.mre_net.method:MRENet",
        presets="lowshot.methods.mre_net.presets:UNET",
        settings={"metric_learning": False, "attention": False, "coordinates": False, "mining": False},
    ),
    "ants-affine": Entry(
        summary="ANTs, affine: the labels of one annotated scan carried over; of several, the majority's",
        method="lowshot.methods.ants.method:Ants",
        presets="lowshot.methods.ants.presets:ANTS",
        settings={"transform": "affine"},
        extra="ants",
    ),
    "ants-syn": Entry(
        summary="ANTs, SyN: the same with a deformation, by mutual information",
        method="lowshot.methods.ants.method:Ants",
        presets="lowshot.methods.ants.presets:ANTS",
        settings={"transform": "syn"},
        extra="ants",
    ),
    "ants-syncc": Entry(
        summary="ANTs, SyNCC: the same with a deformation, by cross-correlation",
        method="lowshot.methods.ants.method:Ants",
        presets="lowshot.methods.ants.presets:SYNCC",
        settings={"transform": "syncc"},
        extra="ants",
    ),
    "ants-fusion": Entry(
        summary="ANTs, SyN and joint label fusion: two or more annotated scans, weighed where each looks like the scan",
        method="lowshot.methods.ants.method:Ants",
        presets="lowshot.methods.ants.presets:ANTS",
        settings={"transform": "syn", "fusion": "joint"},
        extra="ants",
    ),
    "lt-net": Entry(
        summary="LT-Net: a network learns to lay one annotated scan upon others, from scans without labels",
        method="lowshot.methods.lt_net.method:LTNet",
        presets="lowshot.methods.lt_net.presets:LT_NET",
        uses=frozenset({"support", "unlabelled"}),
    ),
    "voxelmorph": Entry(
        summary="VoxelMorph: the same without critic and cycles: similarity and smoothness alone",
        method="lowshot.methods.lt_net.method:LTNet",
        presets="lowshot.methods.lt_net.presets:VOXELMORPH",
        settings={
            "adversarial": 0.0,
            "image_cycle": 0.0,
            "transformation_cycle": 0.0,
            "anatomy_cycle": 0.0,
            "anatomy_difference": 0.0,
        },
        uses=frozenset({"support", "unlabelled"}),
    ),
    "elnet": Entry(
        summary="ELNet: one annotated slice, cut out and pasted anew, then its network's own labels of other slices",
        method="lowshot.methods.elnet.method:ELNet",
        presets="lowshot.methods.elnet.presets:ELNET",
        uses=frozenset({"support", "unlabelled"}),
    ),
    "mt-unet": Entry(
        summary="MT-UNet, ELNet's network, from the annotated slices alone: row one of its ablation",
        method="lowshot.methods.elnet.method:ELNet",
        presets="lowshot.methods.elnet.presets:MT_UNET",
        settings={"synthetic_loss": 0.0, "contrast": 0.0, "pseudo_loss": 0.0},
    ),
    "unet-slices": Entry(
        summary="2-D U-Net from the annotated slices alone, slice by slice",
        method="lowshot.methods.elnet.method:ELNet",
        presets="lowshot.methods.elnet.presets:UNET_SLICES",
        settings={"network": "unet", "synthetic_loss": 0.0, "contrast": 0.0, "pseudo_loss": 0.0},
    ),
    "mlds": Entry(
        summary="MLDS: a U-Net supervised at every size, and a mean teacher for slices without labels",
        method="lowshot.methods.mlds:MLDS",
        presets="lowshot.methods.presets:MLDS",
        uses=frozenset({"support", "unlabelled"}),
    ),
    "data-aug": Entry(
        summary="DataAug: a U-Net on scans made of one annotated scan by learned deformations and appearances",
        method="lowshot.methods.data_aug.method:DataAug",
        presets="lowshot.methods.data_aug.presets:DATA_AUG",
        uses=frozenset({"support", "unlabelled"}),
    ),
    "fcn": Entry(
        summary="FCN-8s on VGG-16, for 2-D images; MRE-Net's baseline on ultrasound",
        method="lowshot.methods.fcn:FCN",
        presets="lowshot.methods.presets:FCN",
    ),
    "scs": Entry(
        summary="SCS: superpixels, a bag of words, a small network and relabelling by neighbours, for 2-D images",
        method="lowshot.methods.scs:SCS",
        presets="lowshot.methods.presets:SCS",
    ),
    "copied-mask": Entry(
        summary="The annotated slices' masks, copied onto a scan: what few-shot systems have to surpass",
        method="lowshot.methods.copied_mask:CopiedMasks",
        presets="lowshot.methods.presets:COPIED_MASK",
    ),
    "multi-atlas": Entry(
        summary="Registration: one to five annotated scans, each deformed onto the scan, vote; trains nothing",
        method="lowshot.methods.multi_atlas:MultiAtlas",
        presets="lowshot.methods.presets:MULTI_ATLAS",
    ),
    "apscl": Entry(
        summary="APSCL: from scans annotated for other structures; a latent prior, spatial contrast, mutual guidance",
        method="lowshot.methods.apscl.method:APSCL",
        presets="lowshot.methods.apscl.presets:APSCL",
        uses=frozenset({"support", "base"}),
    ),
    "panet": Entry(
        summary="PANet: from scans annotated for other structures; one prototype each of structure and background",
        method="lowshot.methods.panet:PANet",
        presets="lowshot.methods.prototype_presets:PANET",
        uses=frozenset({"support", "base"}),
    ),
    "sg-one": Entry(
        summary="SG-One: from scans annotated for other structures; similarity to the example guides a segmenter",
        method="lowshot.methods.sg_one:SGOne",
        presets="lowshot.methods.prototype_presets:SG_ONE",
        uses=frozenset({"support", "base"}),
    ),
    "gcn-de": Entry(
        summary="GCN-DE: learns from other structures to mark in a slice what is marked in another, whatever it is",
        method="lowshot.methods.gcn_de.method:GCNDE",
        presets="lowshot.methods.gcn_de.presets:GCN_DE",
        uses=frozenset({"support", "base"}),
    ),
    "se-net": Entry(
        summary="SE-Net: the same by a conditioner whose maps weigh those of a segmenter (squeeze and excitation)",
        method="lowshot.methods.se_net:SENet",
        presets="lowshot.methods.two_arm_presets:SE_NET",
        uses=frozenset({"support", "base"}),
    ),
    "co-fcn": Entry(
        summary="co-FCN in SE-Net's arms: the conditioner's maps are laid beside the segmenter's",
        method="lowshot.methods.se_net:SENet",
        presets="lowshot.methods.two_arm_presets:SE_NET",
        settings={"link": "concatenate"},
        uses=frozenset({"support", "base"}),
    ),
    "oslsm": Entry(
        summary="OSLSM in SE-Net's arms: the conditioner gives the weights by which pixels are classified",
        method="lowshot.methods.se_net:SENet",
        presets="lowshot.methods.two_arm_presets:SE_NET",
        settings={"link": "weights"},
        uses=frozenset({"support", "base"}),
    ),
    "sse-one-scan": Entry(
        summary="SE-Net from slices of one annotated scan alone, which is also the example: a baseline of MRE-Net",
        method="lowshot.methods.se_net:SENet",
        presets="lowshot.methods.two_arm_presets:SSE_ONE_SCAN",
        settings={"learns_from": "support"},
    ),
    "ssl-alpnet": Entry(
        summary="SSL-ALPNet: from superpixels of scans, whose labels it leaves alone; local prototypes of the example",
        method="lowshot.methods.alpnet.method:SSLALPNet",
        presets="lowshot.methods.alpnet.presets:ALPNET",
        uses=frozenset({"support", "unlabelled", "base"}),
    ),
    "adnet": Entry(
        summary="ADNet: from supervoxels of scans; one prototype, and a learned threshold for what is too far from it",
        method="lowshot.methods.adnet:ADNet",
        presets="lowshot.methods.self_supervised_presets:ADNET",
        uses=frozenset({"support", "unlabelled", "base"}),
    ),
    "rp-net": Entry(
        summary="RP-Net: from scans annotated for other structures; a copied mask is refined pass after pass",
        method="lowshot.methods.rp_net:RPNet",
        presets="lowshot.methods.self_supervised_presets:RP_NET",
        uses=frozenset({"support", "base"}),
    ),
    "aas-dcl": Entry(
        summary="AAS-DCL: from scans annotated for other structures; two arms, and contrast with slices that lack it",
        method="lowshot.methods.aas_dcl:AASDCL",
        presets="lowshot.methods.self_supervised_presets:AAS_DCL",
        uses=frozenset({"support", "base"}),
    ),
    "poisson-seg": Entry(
        summary="PoissonSeg, in plain form: labels flow from the example to the query on a graph of alike cells",
        method="lowshot.methods.poisson_seg:PoissonSeg",
        presets="lowshot.methods.few_shot_presets:POISSON_SEG",
        uses=frozenset({"support", "base"}),
    ),
    "sr-net": Entry(
        summary="SRNet, in plain form: the query is compared with the example's prototypes, then with its own",
        method="lowshot.methods.sr_net:SRNet",
        presets="lowshot.methods.few_shot_presets:SR_NET",
        uses=frozenset({"support", "base"}),
    ),
    "lvqm": Entry(
        summary="LVQM, in plain form: the example as a vector quantiser, of a grid, of moving codes and of residuals",
        method="lowshot.methods.lvqm:LVQM",
        presets="lowshot.methods.few_shot_presets:LVQM",
        uses=frozenset({"support", "base"}),
    ),
}


def entry(name: str) -> Entry:
    """The entry of a method, or an error that suggests the nearest name."""
    if name not in CATALOGUE:
        close = get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(CATALOGUE)}"
        raise SettingsError(f"no method named {name!r}; {hint}")
    return CATALOGUE[name]


def presets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """The named settings of a method."""
    found: Mapping[str, Mapping[str, Any]] = _load(entry(name).presets)
    return found


def settings(name: str, preset: str = DEFAULT_PRESET, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a method is made with: its entry's settings, the preset's on top, then ``changes``."""
    named = presets(name)
    if preset not in named:
        raise SettingsError(f"{name} has no preset named {preset!r}; there are: {', '.join(named)}")
    return {**entry(name).settings, **named[preset], **(changes or {})}


def create(name: str, values: Mapping[str, Any]) -> "Method":
    """The method with these settings (see ``settings``), checked."""
    found = entry(name)
    try:
        cls = _load(found.method)
    except ModuleNotFoundError as error:
        if found.extra is None:
            raise
        raise MissingExtra(f"{name} needs {error.name}: pip install 'lowshot[{found.extra}]'") from error
    method: Method = build(cls, values, where=f"settings of {name}")
    return method


def _load(address: str) -> Any:
    module, _, attribute = address.partition(":")
    return getattr(importlib.import_module(module), attribute)
