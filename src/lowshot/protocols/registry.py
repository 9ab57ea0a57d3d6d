"""Every protocol by name, for ``lowshot bench``."""

from lowshot.errors import SettingsError
from lowshot.protocols import (
    breast,
    btcv,
    candi,
    compact,
    elnet,
    few_shot,
    five_folds,
    lt_net,
    mrbrains,
    mre_net,
    one_slice,
    ultrasound,
)
from lowshot.protocols.protocol import Protocol

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        mre_net.ONE_SHOT,
        mre_net.SHOTS,
        mre_net.STRUCTURES,
        mre_net.PHANTOM,
        mre_net.TUNING,
        compact.COMPACT,
        lt_net.ONE_SHOT,
        lt_net.EQUAL_MINUTES,
        lt_net.TWO_CORES,
        lt_net.TUNING,
        lt_net.ATLASES,
        lt_net.UNLABELLED,
        lt_net.SUPERVISED,
        lt_net.PHANTOM_BRAIN,
        lt_net.PHANTOM_ABDOMEN,
        elnet.CARDIAC,
        elnet.HALF_HOUR,
        elnet.IN_THE_POOL,
        elnet.PHANTOM_CARDIAC,
        ultrasound.ULTRASOUND,
        ultrasound.PHANTOM_ULTRASOUND,
        few_shot.MR,
        few_shot.MR_HIDDEN,
        few_shot.GCN_DE_MODULES,
        few_shot.APSCL_MODULES,
        few_shot.PHANTOM_MR,
        few_shot.PHANTOM_CT,
        mrbrains.ONE_SHOT,
        mrbrains.SHOTS,
        mrbrains.LEAVE_ONE_OUT,
        btcv.ONE_SHOT,
        btcv.UNLABELLED,
        btcv.BOUNDS,
        candi.ONE_ATLAS,
        candi.ATLASES,
        candi.SUPERVISED,
        one_slice.ACDC,
        one_slice.SYNAPSE,
        five_folds.CHAOS,
        five_folds.CHAOS_HIDDEN,
        five_folds.CHAOS_LAST,
        five_folds.CHAOS_FIRST,
        five_folds.SYNAPSE,
        five_folds.SYNAPSE_HIDDEN,
        five_folds.SYNAPSE_LAST,
        five_folds.SYNAPSE_FIRST,
        five_folds.CARDIAC,
        five_folds.CARDIAC_LAST,
        five_folds.CARDIAC_FIRST,
        five_folds.APSCL_CHAOS,
        five_folds.GCN_DE_CHAOS,
        five_folds.GCN_DE_SYNAPSE,
        breast.BUSI,
        breast.ORIGINAL_GT,
    )
}


def protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        SettingsError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise SettingsError(f"no protocol named {name!r}; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
