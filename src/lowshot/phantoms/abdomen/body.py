"""A whole abdomen, whatever it is imaged with: CT and MR of one seed show the same body."""

from lowshot.phantoms.abdomen import organs, skeleton, surroundings, trunk
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.rendering import Body
from lowshot.phantoms.variability import Variability


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
