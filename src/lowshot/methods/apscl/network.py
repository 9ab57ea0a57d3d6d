"""APSCL's network: features that a latent prior enhances, and a decoder in which support and query guide each other.

Symbols are the paper's: f features, z latent factors, Z what the decoder compares. ``APSCLNetwork`` is all that
segments; ``Teaching`` adds what only its training needs. What the paper leaves open and how it is filled here stands in
this folder's README.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.losses.gaussian import Gaussian
from lowshot.nn.dilated_encoder import DilatedEncoder
from lowshot.nn.prototypes import fit_masks, prototype_logit


class LatentFactors(nn.Module):
    """Prior or posterior: from a map of features to a Gaussian over latent factors, by three linear layers.

    The map is pooled first (ours): at 32×32 cells the first layer alone would have 134 million weights.

    Args:
        inputs: length of the features.
        factors: number of latent factors.
        pooled: cells along each side of the pooled map.
        hidden: widths between the layers.
    """

    def __init__(self, inputs: int, factors: int, *, pooled: int = 8, hidden: Sequence[int] = (512, 128)) -> None:
        super().__init__()
        self.pooled = pooled
        self.layers = perceptron((inputs * pooled**2, *hidden), 2 * factors)

    def forward(self, features: Float[Tensor, "n e h w"]) -> Gaussian:
        """In float32."""
        cells = F.adaptive_avg_pool2d(features, self.pooled)
        mean, log_variance = self.layers(cells.flatten(1)).float().chunk(2, dim=1)
        return Gaussian(mean, log_variance)


class FeatureEnhancement(nn.Module):
    """FEM: f' = β f + α, with β and α for each channel from the latent factors, 1 and 0 at first."""

    def __init__(self, outputs: int, factors: int, width: int = 128) -> None:
        super().__init__()
        self.scale = perceptron((factors, width, width), outputs, start=1.0)
        self.shift = perceptron((factors, width, width), outputs, start=0.0)

    def forward(self, features: Float[Tensor, "n e h w"], z: Float[Tensor, "n z"]) -> Float[Tensor, "n e h w"]:
        beta, alpha = self.scale(z)[..., None, None], self.shift(z)[..., None, None]
        enhanced: Tensor = beta * features + alpha
        return enhanced


class SpatialInteraction(nn.Module):
    """SIM: how relevant images are to each other, by attention between their positions.

    V_{j|i} = softmax(Q_i K_jᵀ/√E') V_j is the content of image j brought to the positions of image i, and the relevance
    r of the two is the mean over positions of cos(V_i, V_{j|i}) + cos(V_j, V_{i|j}).
    """

    def __init__(self, inputs: int, width: int = 128) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(inputs, width, 1) for _ in range(3))

    def forward(
        self, features: Float[Tensor, "m e h w"], masks: Float[Tensor, "m i j"] | None = None
    ) -> Float[Tensor, "m m"]:
        """The relevance r of every two images, in float32.

        Args:
            features: of m images.
            masks: where positions count (ours); None: everywhere, as published.
        """
        q, k, v = (part(features).flatten(2).mT for part in (self.query, self.key, self.value))
        pairs = (len(features), len(features), *q.shape[1:])
        aligned = F.scaled_dot_product_attention(q[:, None].expand(pairs), k.expand(pairs), v.expand(pairs))
        cosine = F.cosine_similarity(v[:, None].float(), aligned.float(), dim=-1)  # (i, j, positions of i)
        if masks is None:
            one_way = cosine.mean(dim=-1)
        else:
            counted = fit_masks(masks.float(), (features.shape[2], features.shape[3])).flatten(1)
            one_way = (cosine * counted[:, None]).sum(dim=-1) / counted.sum(dim=-1).clamp_min(1e-5)[:, None]
        return one_way + one_way.mT


class MutualGuidance(nn.Module):
    """MGD, up to its prototypes: Z of the support, and Z̃_q = Z_q Aᵀ + Z_q with A = (Z_qᵀ Z_q + Z_sᵀ Z_q) / M.

    Z are M cells of E1 numbers each, from one 1×1 convolution for both. A is divided by M (ours), so that it does not
    depend on the size of the image. Of several support images Z_s in A is the mean.

    Args:
        inputs: length of the features.
        width: E1.
        softmax: of every row of A (ours, off as published).
        unit: cells of Z have length 1 (ours, off as published). The cosines that follow do not ask for lengths, but A
            does: with long cells the query is little else than its own mean direction, and nothing is learned at first.
    """

    def __init__(self, inputs: int, width: int = 256, *, softmax: bool = False, unit: bool = False) -> None:
        super().__init__()
        self.softmax, self.unit = softmax, unit
        self.project = nn.Conv2d(inputs, width, 1)

    def forward(
        self, support: Float[Tensor, "n k e h w"], query: Float[Tensor, "m e h w"]
    ) -> tuple[Float[Tensor, "n k d h w"], Float[Tensor, "m d h w"]]:
        """Z_s, and Z̃_q; n is m, or 1."""
        z_s = self._cells(support.flatten(0, 1))
        z_s = z_s.reshape(*support.shape[:2], *z_s.shape[1:])
        z_q = self._cells(query).flatten(2)  # (m, E1, M)
        a = (z_q + z_s.mean(dim=1).flatten(2)) @ (z_q / z_q.shape[2]).mT
        if self.softmax:
            a = a.softmax(dim=2)
        guided: Tensor = a @ z_q + z_q
        return z_s, guided.reshape(*guided.shape[:2], *query.shape[2:])

    def _cells(self, features: Float[Tensor, "n e h w"]) -> Float[Tensor, "n d h w"]:
        z: Tensor = self.project(features)
        return F.normalize(z, dim=1) if self.unit else z


class APSCLNetwork(nn.Module):
    """Logit of being inside of what is marked in the support; of any number of shots, by averaged prototypes.

    Args:
        encoder: of the images.
        prior: None, with ``enhancement``: without FEM.
        enhancement: from latent factors.
        guidance: None: features are compared as they are.
    """

    def __init__(
        self,
        encoder: DilatedEncoder,
        prior: LatentFactors | None,
        enhancement: FeatureEnhancement | None,
        guidance: MutualGuidance | None,
    ) -> None:
        super().__init__()
        self.encoder, self.prior, self.enhancement, self.guidance = encoder, prior, enhancement, guidance

    def forward(
        self, support: Float[Tensor, "n k c i j"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m c i j"]
    ) -> Float[Tensor, "m i j"]:
        """As many examples as queries, or one (n = 1) for all of them."""
        shots = self.features(support.flatten(0, 1))
        return self.compare(shots.reshape(*masks.shape[:2], *shots.shape[1:]), masks, self.features(query))

    def features(self, image: Float[Tensor, "b c i j"]) -> Float[Tensor, "b e h w"]:
        """Of single images f', with z the prior's mean; without FEM f."""
        f: Tensor = self.encoder(image)
        return f if self.prior is None else self.enhance(f, self.prior(f).mean)

    def enhance(self, features: Float[Tensor, "b e h w"], z: Float[Tensor, "b z"]) -> Float[Tensor, "b e h w"]:
        """FEM; what comes in, where it is off."""
        enhanced: Tensor = features if self.enhancement is None else self.enhancement(features, z)
        return enhanced

    def compare(
        self, support: Float[Tensor, "n k e h w"], masks: Float[Tensor, "n k i j"], query: Float[Tensor, "m e h w"]
    ) -> Float[Tensor, "m i j"]:
        """The decoder: the query's cells against the prototypes of foreground and background."""
        if self.guidance is not None:
            support, query = self.guidance(support, query)
        return prototype_logit(support, masks, query)


class Teaching(nn.Module):
    """The network, and what is left behind after training: the label encoder with its posterior, and SIM."""

    def __init__(
        self,
        network: APSCLNetwork,
        label_encoder: DilatedEncoder | None,
        posterior: LatentFactors | None,
        interaction: SpatialInteraction | None,
    ) -> None:
        super().__init__()
        self.network, self.interaction = network, interaction
        self.label_encoder, self.posterior = label_encoder, posterior

    def of_labels(self, masks: Float[Tensor, "b i j"]) -> Gaussian | None:
        """The posterior; None without FEM."""
        if self.label_encoder is None or self.posterior is None:
            return None
        found: Gaussian = self.posterior(self.label_encoder(masks[:, None]))
        return found


def perceptron(widths: Sequence[int], outputs: int, *, start: float | None = None) -> nn.Sequential:
    """Linear layers with ReLU between them; given a start, all outputs begin as that number whatever comes in."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    last = nn.Linear(widths[-1], outputs)
    if start is not None:
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, start)
    return nn.Sequential(*layers, last)
