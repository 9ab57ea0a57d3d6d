"""A whole abdomen, whatever it is imaged with: CT and MR of one seed show the same body."""

from lowshot.imaging.names import Names
from lowshot.phantoms.abdomen import organs, skeleton, surroundings, trunk
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.rendering import Body
from lowshot.phantoms.variability import Variability

FIELD_OF_VIEW_MM = (384.0, 384.0, 288.0)
"""Usual extent of a scan of the upper abdomen."""

CENTRE_MM = (0.0, 0.0, 20.0)
"""Its centre: the middle of the belly, 20 mm above L1."""

BTCV = Names.of(
    {
        1: "spleen",
        2: "right kidney",
        3: "left kidney",
        4: "gallbladder",
        5: "oesophagus",
        6: "liver",
        7: "stomach",
        8: "aorta",
        11: "pancreas",
    }
)
"""File values as in the BTCV challenge, where the numbers missing here are veins and adrenal glands."""


def body(seed: int, variation: float = 1.0) -> Body:
    """The body of one subject. Later parts lie on top of earlier ones.

    Body coordinates are RAS in mm; the origin lies in the midline, in the middle of the belly, at the level of L1.
    """
    own = Variability(seed, variation)
    around = trunk.trunk(own)
    parts = [
        *trunk.shell(around),
        *trunk.muscles(around, own),
        *surroundings.mediastinum(around, own),
        *skeleton.spine(around),
        *skeleton.ribs(own),
        *surroundings.small_bowel(around, own),
        *surroundings.colon(around, own),
        *organs.liver(around, own),
        *organs.spleen(around, own),
        *surroundings.adrenal_glands(around, own),
        *organs.kidney("right", around, own),
        *organs.kidney("left", around, own),
        *surroundings.vessels(around, own),
        *surroundings.duodenum(around, own),
        *organs.pancreas(around, own),
        *organs.gallbladder(around, own),
        *organs.oesophagus(around, own),
        *organs.stomach(around, own),
        *organs.aorta(own),
    ]
    return Body(parts, Deformation.draw(own))
