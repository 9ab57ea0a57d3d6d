"""Every protocol by name, for ``lowshot bench``."""

from lowshot.errors import SettingsError
from lowshot.protocols import compact, elnet, few_shot, lt_net, mre_net, ultrasound
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
        lt_net.ATLASES,
        lt_net.UNLABELLED,
        lt_net.SUPERVISED,
        lt_net.PHANTOM_BRAIN,
        lt_net.PHANTOM_ABDOMEN,
        elnet.CARDIAC,
        elnet.PHANTOM_CARDIAC,
        ultrasound.ULTRASOUND,
        ultrasound.PHANTOM_ULTRASOUND,
        few_shot.MR,
        few_shot.MR_HIDDEN,
        few_shot.GCN_DE_MODULES,
        few_shot.APSCL_MODULES,
        few_shot.PHANTOM_MR,
        few_shot.PHANTOM_CT,
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
