"""Colours of structures, told apart with any kind of colour vision."""

COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2",
    "#870fff", "#d2f0a5", "#78ffff", "#d2003c", "#9669ff", "#d2a55a", "#b4ff78",
    "#87d2a5", "#a53c78", "#d200b4", "#ff4b78", "#6996f0", "#1e783c", "#b43c0f",
    "#00d2e1", "#783ce1", "#96ffd2", "#b4d24b", "#00e178", "#96962d", "#c3875a",
)  # fmt: skip
"""The first seven are Okabe and Ito's (2008), without their black. Each of the others is the one farthest from all
before it in CIELAB, as seen with normal vision, protanopia, deuteranopia and tritanopia (Machado et al. 2009), among
those bright and colourful enough to be seen on a grey scan. The test computes how far apart they are."""


def colour(index: int) -> str:
    """Colour of structure ``index`` (1, 2, …) as #rrggbb; after 28 they come again."""
    return COLOURS[(index - 1) % len(COLOURS)]
