"""How subjects differ from the average one: random deviations, all scaled by a single number."""

import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from lowshot.phantoms.noise import SmoothNoise


@dataclass(frozen=True, eq=False)
class Variability:
    """Deviations of one subject, or of one part of it.

    Deviations are normal but never beyond two standard deviations, so that no organ leaves the body.
    Every part draws from a stream of its own (``of``): adding an organ leaves the others as they were.
    """

    seed: int
    amount: float = 1.0
    """0: every subject is the average one; 1: as different as adults are."""
    part: str = ""
    generator: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        stream = np.random.default_rng([self.seed, zlib.crc32(self.part.encode())])
        object.__setattr__(self, "generator", stream)

    def of(self, part: str) -> "Variability":
        """The deviations of a part, by its name."""
        return Variability(self.seed, self.amount, f"{self.part}/{part}")

    def by(self, spread: float) -> float:
        """A deviation of standard deviation ``spread``, in the unit of ``spread``."""
        return float(self._normal(1)[0] * spread)

    def factor(self, spread: float) -> float:
        """A factor around 1 whose logarithm has standard deviation ``spread``."""
        return float(np.exp(self.by(spread)))

    def shift(self, spread_mm: float) -> npt.NDArray[np.float64]:
        """A displacement (3,) in mm, ``spread_mm`` along every axis."""
        return self._normal(3) * spread_mm

    def moved(self, knots_mm: npt.ArrayLike, together_mm: float, each_mm: float = 0.0) -> npt.NDArray[np.float64]:
        """The knots (n, 3) of a curve, displaced all together, and each by itself."""
        knots = np.asarray(knots_mm, dtype=np.float64)
        return knots + self.shift(together_mm) + self._normal(knots.size).reshape(knots.shape) * each_mm

    def axes(
        self, x_degrees: float = 0.0, y_degrees: float = 0.0, z_degrees: float = 0.0, *, spread_degrees: float
    ) -> npt.NDArray[np.float64]:
        """Rotation matrix of turns about x, then y, then z, each with its deviation."""
        angles = np.array([x_degrees, y_degrees, z_degrees]) + self._normal(3) * spread_degrees
        return np.asarray(Rotation.from_euler("xyz", angles, degrees=True).as_matrix())

    def happens(self, probability: float) -> bool:
        """Whether something rare befalls this subject, such as a disease.

        With this probability where subjects differ in full, never where they differ half as much (amount 0.5) or less.
        """
        likely = min(max(2.0 * self.amount - 1.0, 0.0), 1.0)
        return bool(self.generator.uniform() < probability * likely)

    def noise(self, shortest_mm: float, longest_mm: float) -> SmoothNoise:
        """Smooth noise with wavelengths in this band; its strength is for the caller to scale by ``amount``."""
        return SmoothNoise.draw(self.generator, (shortest_mm, longest_mm))

    def _normal(self, count: int) -> npt.NDArray[np.float64]:
        return np.clip(self.generator.normal(size=count), -2.0, 2.0) * self.amount
