"""SCS: breast lesions by the semantic classification of superpixels, in plain form.

Published idea (Huang et al., Medical Image Analysis 2020, quoted in MRE-Net's Table XII; known to us by its outline
alone): histogram equalisation, bilateral and mean-shift filters, SLIC superpixels, a bag of words for each, a small
neural network that classifies them, and relabelling by the nearest neighbours. All numbers are ours, and so is this:

- the region of interest that they draw by hand is the whole image;
- mean shift moves grey values alone: each climbs to the mode of those in its window, which stays where it is;
- a word is the nearest of the centres, by k-means, to the grey values of the square around a pixel;
- a superpixel is told by its words and by where it lies, and those of rare structures are learned from more often;
- relabelling takes the mean probability of a superpixel and its nearest ones, so that there are probabilities to give.

Volumes are taken slice by slice. Training by k-means and scikit-learn's perceptron; what they found is a small network.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from lowshot.contract import Region, State
from lowshot.errors import EmptySupport, SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared
from lowshot.inference.header import Header
from lowshot.inference.patch_model import load_weights
from lowshot.nn.geometry import Triple
from lowshot.options import SegmentOptions
from lowshot.settings import refuse_out_of_range
from lowshot.task import LowShotTask
from lowshot.training.run import METHODS_OWN_STEPS, Run
from lowshot.transforms.patches import Volume
from lowshot.transforms.slices import problems_of_slices, tell_of_lost
from lowshot.transforms.support import prepare_support

POSITIVE = (
    *("size", "bilateral_grey", "bilateral_pixels", "shift_grey", "superpixels", "compactness"),
    *("words", "sampled", "hidden", "epochs"),
)
NOT_NEGATIVE = ("shift_radius", "shift_steps", "patch_radius", "relabelled_by", "penalty")
MOST_PIXELS, MOST_SUPERPIXELS, MOST_WIDTH, MOST_RADIUS = 2048**2, 10_000, 4096, 15
BATCH = 32
"""Superpixels that the perceptron learns from at a time."""
NEVER = -30.0
"""Logit of a structure that no superpixel of the annotated scans is of."""


@dataclass(frozen=True, kw_only=True)
class SCS:
    """Superpixels, words and a perceptron. All settings are ours."""

    # Filters
    size: tuple[int, int] = (128, 128)
    """To which every image or slice is stretched."""
    bilateral_grey: float = 0.1
    """Deviation of grey values, of 1, over which the bilateral filter averages."""
    bilateral_pixels: float = 2.0
    """Deviation of positions over which it does."""
    shift_radius: int = 3
    """Mean shift: pixels of its window on either side."""
    shift_grey: float = 0.1
    """How far from a pixel's grey value those lie that count."""
    shift_steps: int = 3
    """How often a value moves to their mean."""

    # Superpixels and words
    superpixels: int = 400
    """About how many are in an image."""
    compactness: float = 0.3
    """Of SLIC: large values make them square."""
    patch_radius: int = 3
    """Of the square whose grey values are looked at around each pixel."""
    words: int = 16
    """Of the bag: kinds of patches that are told apart."""
    sampled: int = 20_000
    """Pixels of all annotated images from which words are found."""

    # Classification
    hidden: int = 32
    """Units of the perceptron."""
    epochs: int = 30
    """How often it sees every superpixel."""
    balance: float = 0.75
    """How far classes are learned from equally often: 0, as often as they occur; 1, all alike."""
    penalty: float = 0.1
    """Of the perceptron's squared weights."""
    relabelled_by: int = 8
    """How many of the nearest superpixels have a say in a label; 0: none."""

    Options: ClassVar[type] = SegmentOptions

    def __post_init__(self) -> None:
        refuse_out_of_range(self, positive=POSITIVE, not_negative=NOT_NEGATIVE)
        if not 0 <= self.balance <= 1:
            raise SettingsError(f"balance: expected a share from 0 to 1, got {self.balance}")
        most = {"superpixels": MOST_SUPERPIXELS, "words": MOST_WIDTH, "hidden": MOST_WIDTH}
        most |= {"shift_radius": MOST_RADIUS, "patch_radius": MOST_RADIUS}
        for name, limit in most.items():
            if getattr(self, name) > limit:
                raise SettingsError(f"{name}: expected at most {limit:,}, got {getattr(self, name)}")
        if math.prod(self.size) > MOST_PIXELS or min(self.size) <= MOST_RADIUS:
            raise SettingsError(f"size: expected more than {MOST_RADIUS} and at most 2048 pixels, got {self.size}")
        if self.words > min(self.sampled, math.prod(self.size)):
            raise SettingsError(
                f"words: expected no more than pixels they are found among (sampled, and of a slice), got {self.words}"
            )

    def problems(self, task: LowShotTask) -> list[str]:
        """Needs a support."""
        if not task.support:
            return ["SCS learns from annotated images or slices; give at least one"]
        return problems_of_slices(task.support)

    def fit(self, task: LowShotTask, run: Run) -> "SuperpixelModel":
        """Find words in the annotated images, then learn to tell superpixels by them, in as many epochs as are set."""
        if run.budget != METHODS_OWN_STEPS:
            run.progress.warn("steps and minutes make no difference here; its setting epochs does")
        preparation = Preparation("in-plane", None, "none", "percentiles", (*self.size, None))
        _, volumes = prepare_support(task.support, preparation, None, run)
        slices = list(_annotated_slices(volumes))
        pictures = [self.picture(image, labels) for image, labels in _one_by_one(slices, run)]
        network = self._network(len(task.channels), len(task.names))
        with run.seeded("superpixels"):  # the same in every process
            seed = int(torch.randint(2**31 - 1, ()))
        network.words.copy_(find_words([picture.patches for picture in pictures], self.sampled, self.words, seed))
        features = torch.cat([network.features(picture)[picture.labels >= 0] for picture in pictures])
        labels = torch.cat([picture.labels[picture.labels >= 0] for picture in pictures])
        if not bool((labels > 0).any()):
            raise EmptySupport("no superpixel is mostly of an annotated structure; make more of them (superpixels)")
        tell_of_lost(task, [labels], self.size, run.progress)
        chosen = balanced(labels, self.balance, Generator().manual_seed(seed))
        network.learn(features[chosen], labels[chosen], self.epochs, self.penalty, seed)
        return SuperpixelModel(network, task.names, task.channels, preparation, self)

    def restore(self, state: State) -> "SuperpixelModel":
        """The network's sizes follow from the settings."""
        header = Header.from_json(state.header)
        with torch.device("meta"):
            network = self._network(len(header.channels), len(header.names))
        load_weights(network, state.tensors)
        return SuperpixelModel(network, header.names, header.channels, header.preparation, self)

    def _network(self, channels: int, classes: int) -> "SuperpixelNetwork":
        values = channels * (2 * self.patch_radius + 1) ** 2
        return SuperpixelNetwork(values, self.words, self.hidden, classes, self.relabelled_by)

    def picture(self, image: Float[Tensor, "c i j"], labels: Int[Tensor, "i j"]) -> "Picture":
        """A slice with grey values in [0, 1], cut into superpixels; labels of −1 are not known."""
        smooth = torch.stack([self._filtered(channel) for channel in image])
        where = superpixels(smooth, self.superpixels, self.compactness)
        return Picture(where, patches_of(smooth, self.patch_radius), majority(where, labels))

    def _filtered(self, channel: Float[Tensor, "i j"]) -> Float[Tensor, "i j"]:
        from skimage.exposure import equalize_hist
        from skimage.restoration import denoise_bilateral

        grey, pixels = self.bilateral_grey, self.bilateral_pixels
        equal = equalize_hist(channel.numpy())  # type: ignore[no-untyped-call]
        smooth = denoise_bilateral(equal, sigma_color=grey, sigma_spatial=pixels, mode="edge")
        return shifted(torch.from_numpy(smooth).float(), self.shift_radius, self.shift_grey, self.shift_steps)


class Picture(NamedTuple):
    """A slice as its superpixels are classified."""

    where: Int[Tensor, "i j"]
    """Which superpixel each pixel is of, from 0 on without gaps."""
    patches: Float[Tensor, "i j v"]
    """The grey values around each pixel."""
    labels: Int[Tensor, " s"]
    """Of each superpixel; −1 where none is known."""


class SuperpixelNetwork(nn.Module):
    """From patches around pixels to probabilities of superpixels."""

    words: Tensor

    def __init__(self, values: int, words: int, hidden: int, classes: int, relabelled_by: int) -> None:
        super().__init__()
        self.relabelled_by = relabelled_by
        self.register_buffer("words", torch.zeros(words, values))
        self.hidden, self.output = nn.Linear(words + 2, hidden), nn.Linear(hidden, classes)

    def features(self, picture: Picture) -> Float[Tensor, "s f"]:
        """Square roots of the shares that words have of a superpixel, and its position from −1 to 1.

        The distance of such roots (Hellinger's) lets rare words count; with plain shares fewer lesions were found.
        """
        where, words = picture.where.flatten(), len(self.words)
        count = int(where.max()) + 1
        word = torch.cdist(picture.patches.flatten(0, 1), self.words).argmin(dim=1)
        found = torch.bincount(where * words + word, minlength=count * words).reshape(count, words).float()
        return torch.cat([(found / found.sum(dim=1, keepdim=True)).sqrt(), positions_of(picture.where)], dim=1)

    def forward(self, picture: Picture) -> Float[Tensor, "s k"]:
        """The probability of each class, after the nearest superpixels had their say."""
        probabilities = self.output(F.relu(self.hidden(self.features(picture)))).softmax(dim=1)
        relabelled: Tensor = probabilities[nearest(positions_of(picture.where), self.relabelled_by)].mean(dim=1)
        return relabelled

    def learn(
        self, features: Float[Tensor, "n f"], labels: Int[Tensor, " n"], epochs: int, penalty: float, seed: int
    ) -> None:
        """Train a perceptron with scikit-learn and take over its weights."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        perceptron = MLPClassifier(
            (self.hidden.out_features,),
            max_iter=epochs,
            alpha=penalty,
            batch_size=min(BATCH, len(labels)),
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting
            perceptron.fit(features.numpy(), labels.numpy())
        first, second = (torch.from_numpy(part).T for part in perceptron.coefs_)
        first_bias, second_bias = map(torch.from_numpy, perceptron.intercepts_)
        if perceptron.out_activation_ == "logistic":  # two classes have one logit, of the second against the first
            second = torch.cat([torch.zeros_like(second), second])
            second_bias = torch.cat([torch.zeros_like(second_bias), second_bias])
        with torch.no_grad():
            self.hidden.weight.copy_(first)
            self.hidden.bias.copy_(first_bias)
            self.output.weight.zero_()
            self.output.bias.fill_(NEVER)
            for row, label in enumerate(perceptron.classes_.tolist()):
                self.output.weight[label].copy_(second[row])
                self.output.bias[label] = second_bias[row]


@dataclass(eq=False)
class SuperpixelModel:
    """Words and a perceptron, and how slices are cut into the superpixels that they classify."""

    network: SuperpixelNetwork
    names: Names
    channels: tuple[str, ...]
    preparation: Preparation
    method: SCS

    def regions(self, prepared: Prepared, run: Run, options: SegmentOptions) -> Iterator[Region]:
        """Slice by slice."""
        everywhere = slice(None)
        for k in range(prepared.grid.shape[2]):
            image = prepared.voxels[..., k]
            with torch.inference_mode():
                picture = self.method.picture(image, torch.full(image.shape[1:], -1))
                scores = self.network(picture)[picture.where].movedim(-1, 0)
            yield Region((everywhere, everywhere, slice(k, k + 1)), scores[..., None])

    def working_memory(self, shape: Triple, run: Run, options: SegmentOptions) -> int:
        """Of one slice: patches and their distances from words, the windows of mean shift, distances, scores."""
        pixels, values = shape[0] * shape[1], self.network.words.numel() // len(self.network.words)
        window = (2 * self.method.shift_radius + 1) ** 2
        per_pixel = max(3 * values + 2 * len(self.network.words), 4 * window) + 4 * len(self.names) + 16
        most = 2 * self.method.superpixels
        return 4 * (pixels * per_pixel + 2 * most * most)

    def state(self) -> State:
        """Words and weights; structures and preparation in the header."""
        header = Header(self.names, self.channels, self.preparation)
        return State(header.to_json(), {name: value.detach() for name, value in self.network.state_dict().items()})


def shifted(image: Float[Tensor, "i j"], radius: int, grey: float, steps: int) -> Float[Tensor, "i j"]:
    """Every value moved, ``steps`` times, to the mean of those in its window that differ by at most ``grey``."""
    i, j = image.shape
    side = 2 * radius + 1
    padded = F.pad(image[None, None], (radius,) * 4, mode="replicate")
    windows = F.unfold(padded, side)[0].reshape(side * side, i, j)
    for _ in range(steps):
        near = (windows - image).abs() <= grey
        image = (windows * near).sum(dim=0) / near.sum(dim=0).clamp_min(1)
    return image


def superpixels(image: Float[Tensor, "c i j"], count: int, compactness: float) -> Int[Tensor, "i j"]:
    """About ``count`` of them by SLIC (Achanta et al., TPAMI 2012), numbered from 0 on without gaps."""
    from skimage.segmentation import slic

    found = slic(
        image.numpy(), n_segments=count, compactness=compactness, channel_axis=0, start_label=0, convert2lab=False
    )
    numbered: Tensor = torch.unique(torch.from_numpy(found), return_inverse=True)[1]
    return numbered


def patches_of(image: Float[Tensor, "c i j"], radius: int) -> Float[Tensor, "i j v"]:
    """The values of all channels in the square around each pixel; beyond the borders those at the border."""
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")
    return F.unfold(padded, 2 * radius + 1)[0].T.reshape(*image.shape[1:], -1)


def majority(where: Int[Tensor, "i j"], labels: Int[Tensor, "i j"]) -> Int[Tensor, " s"]:
    """The label that most pixels of each superpixel have; −1 is one of them."""
    classes = max(int(labels.max()), 0) + 2
    count = int(where.max()) + 1
    votes = torch.bincount((where * classes + labels.long() + 1).flatten(), minlength=count * classes)
    return votes.reshape(count, classes).argmax(dim=1) - 1


def balanced(labels: Int[Tensor, " n"], balance: float, generator: Generator) -> Int[Tensor, " m"]:
    """Indices at which classes occur more evenly: one of n entries, and N in the largest, N^balance n^(1 − balance).

    0: as often as before; 1: all as often as the largest. Repeated entries are drawn, beside each of them once.
    """
    pools = [(labels == k).nonzero()[:, 0] for k in torch.unique(labels)]
    most = max(map(len, pools))
    parts = []
    for pool in pools:
        more = round(most**balance * len(pool) ** (1 - balance)) - len(pool)
        parts += [pool, pool[torch.randint(len(pool), (more,), generator=generator)]]
    return torch.cat(parts)


def positions_of(where: Int[Tensor, "i j"]) -> Float[Tensor, "s 2"]:
    """The centre of each superpixel; the image lies between −1 and 1 along both axes."""
    lines = [torch.linspace(-1, 1, size) for size in where.shape]
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, 1)
    flat = where.flatten()
    sums = torch.zeros(int(where.max()) + 1, 2).index_add_(0, flat, points)
    return sums / flat.bincount()[:, None]


def nearest(points: Float[Tensor, "s d"], count: int) -> Int[Tensor, "s n"]:
    """Each point and the ``count`` nearest others, as many as there are."""
    exact = "donot_use_mm_for_euclid_dist"  # so that each is at 0 from itself
    return torch.cdist(points, points, compute_mode=exact).topk(min(count + 1, len(points)), largest=False).indices


def find_words(patches: Sequence[Float[Tensor, "i j v"]], sampled: int, words: int, seed: int) -> Float[Tensor, "w v"]:
    """Centres of k-means over ``sampled`` patches, evenly drawn from all slices."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    each = max(1, math.ceil(sampled / len(patches)))
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        part.flatten(0, 1)[torch.randperm(part.shape[0] * part.shape[1], generator=generator)[:each]]
        for part in patches
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different patches than words: some words are equal
        found = KMeans(words, n_init=1, random_state=seed).fit(torch.cat(drawn).numpy())
    return torch.from_numpy(found.cluster_centers_).float()


def _annotated_slices(volumes: Sequence[Volume]) -> Iterator[tuple[Float[Tensor, "c i j"], Int[Tensor, "i j"]]]:
    """Slices of which anything is known, with −1 where it is not."""
    for volume in volumes:
        labels = torch.where(volume.known, volume.labels, -1).long().cpu()
        for k in range(labels.shape[2]):
            if bool(volume.known[..., k].any()):
                yield volume.image[..., k].cpu(), labels[..., k]


def _one_by_one(slices: Sequence[tuple[Tensor, Tensor]], run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """Telling how far the work is."""
    with run.progress.task("superpixels", len(slices)) as task:
        for each in slices:
            yield each
            task.advance()
