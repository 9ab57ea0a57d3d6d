"""What ails some of the hearts: one of the four diseases that the ACDC challenge tells from health."""

from lowshot.phantoms.variability import Variability

PROBABILITY = {
    "dilated": 0.18,
    "hypertrophic": 0.18,
    "infarcted": 0.18,
    "dilated right ventricle": 0.18,
}
"""Of each disease, where subjects differ in full; see ``Variability.happens``. Nobody has two of them."""


def disease(heart: Variability) -> str | None:
    """What this heart suffers from, a key of ``PROBABILITY``; None: it is well."""
    own, free = heart.of("disease"), 1.0
    for name, probability in PROBABILITY.items():
        if own.happens(probability / free):  # of those whom no earlier disease befell
            return name
        free -= probability
    return None
