"""A penalty between |u| and u²: small errors are forgiven less than by squares, large ones more."""

from jaxtyping import Float
from torch import Tensor


def charbonnier(u: Float[Tensor, "*shape"], epsilon: float = 1e-3, exponent: float = 0.45) -> Float[Tensor, "*shape"]:
    """(u² + ε²)^exponent of every element, in float32: the generalised Charbonnier penalty (Sun et al., IJCV 2014).

    Defaults are LT-Net's (Wang et al., CVPR 2020). Unlike |u| it has a gradient at zero, where it is not 0 but
    ε^(2 exponent).
    """
    return (u.float().square() + epsilon**2) ** exponent
