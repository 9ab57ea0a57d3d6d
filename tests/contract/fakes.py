"""Six methods of thirty lines each, as different as the real ones will be. If one needs a special case, the contract
is wrong: a patch method, a generator with a critic, a slice method in two stages, an adaptable one, an external program
that knows labels alone, and one that carries its atlases along."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam

from lowshot.catalogue import Entry
from lowshot.contract import Region, State
from lowshot.errors import ChannelMismatch
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.inference.sliding_window import tiles
from lowshot.options import SegmentOptions
from lowshot.training.loop import Goal, train
from lowshot.training.schedules import polynomial
from lowshot.transforms.support import prepare_support

PRESETS = {"paper": {}, "compact": {"steps": 3}}
EVERYWHERE = (slice(None), slice(None), slice(None))


@dataclass(eq=False)
class FakeModel:
    """What all of them keep: how a scan is prepared, and some tensors."""

    names: Names
    channels: tuple[str, ...]
    preparation: Preparation
    tensors: Mapping[str, torch.Tensor]

    def state(self):
        named = {"names": self.names.names, "values": self.names.values, "channels": self.channels}
        return State({**named, "preparation": self.preparation.to_json()}, dict(self.tensors))

    @classmethod
    def restored(cls, state):
        header = state.header
        names = Names(tuple(header["names"]), tuple(header["values"]))
        return cls(names, tuple(header["channels"]), Preparation.from_json(header["preparation"]), state.tensors)

    def working_memory(self, shape, run, options):
        return 4 * prod(shape) * (2 * len(self.names) + 4)

    def on(self, run):
        return {name: run.tensor(values) for name, values in self.tensors.items()}


def shared(task, run):
    """The first lines of most methods: the annotated scans as volumes, and what a model remembers of them."""
    preparation, volumes = prepare_support(task.support, Preparation(), None, run)
    return volumes, (task.names, task.channels, preparation)


def masked_cross_entropy(logits, volume):
    losses = F.cross_entropy(logits, volume.labels[None].long(), reduction="none")[0]
    return {"cross_entropy": losses[volume.known].mean()}


def needs(support=0, base=0):
    def problems(self, task):
        found = []
        if len(task.support) < support:
            found.append(f"needs {support} annotated scans, got {len(task.support)}")
        if len(task.base) < base:
            found.append(f"needs {base} scans labelled for other structures, got {len(task.base)}")
        return found

    return problems


# 1. A patch method.


@dataclass(frozen=True)
class TileOptions(SegmentOptions):
    tile: int = 8


class PatchModel(FakeModel):
    def regions(self, prepared, run, options):
        weights = self.on(run)
        for tile in tiles(prepared.grid.shape, (options.tile,) * 3, (1, 1, 1)):
            piece = run.tensor(prepared.voxels[(slice(None), *tile.slices)])
            logits = F.conv3d(piece[None], weights["weight"], weights["bias"])[0]
            yield Region(tile.slices, logits.softmax(0).cpu())


@dataclass(frozen=True)
class Patches:
    steps: int = 20
    Options: ClassVar = TileOptions
    problems = needs(support=1)

    def fit(self, task, run):
        volumes, described = shared(task, run)
        with run.seeded("weights"):
            network = nn.Conv3d(len(task.channels), len(task.names), 1)

        def batch(step, generator):
            i, j, k = (int(torch.randint(4, (), generator=generator)) for _ in range(3))
            volume = volumes[step % len(volumes)]
            where = (slice(i, i + 16), slice(j, j + 16), slice(k, None))
            parts = (volume.image[(slice(None), *where)], volume.labels[where], volume.known[where])
            return type(volume)(*map(run.tensor, parts), volume.spacing)

        def loss(patch, done):
            return masked_cross_entropy(network(patch.image[None]), patch)

        train([Goal(loss, network, Adam(network.parameters(), 0.1))], batch, steps=self.steps, run=run)
        return PatchModel(*described, network.state_dict())

    def restore(self, state):
        return PatchModel.restored(state)


# 2. A generator and its critic.


class WholeModel(FakeModel):
    def regions(self, prepared, run, options):
        weights = self.on(run)
        logits = F.conv3d(run.tensor(prepared.voxels)[None], weights["weight"], weights["bias"])[0]
        yield Region(EVERYWHERE, logits.softmax(0).cpu())


@dataclass(frozen=True)
class Adversarial:
    steps: int = 20
    Options: ClassVar = SegmentOptions
    problems = needs(support=1)

    def fit(self, task, run):
        (volume, *_), described = shared(task, run)
        with run.seeded("weights"):
            generator = nn.Conv3d(len(task.channels), len(task.names), 1)
            critic = nn.Sequential(nn.Conv3d(len(task.names), 4, 3), nn.BatchNorm3d(4), nn.Conv3d(4, 1, 3))
        real = F.one_hot(volume.labels.long(), len(task.names)).movedim(-1, 0)[None] * volume.known

        def batch(step, generator):
            noise = torch.randn(volume.image.shape, generator=generator)
            return run.tensor(volume.image + 0.01 * noise)[None]

        def fool(image, done):
            logits = generator(image)
            fake = logits.softmax(1) * run.tensor(volume.known)
            return {**masked_cross_entropy(logits, volume), "fool": -0.1 * critic(fake).mean()}

        def judge(image, done):
            fake = generator(image).softmax(1) * run.tensor(volume.known)
            return {"judge": critic(fake.detach()).mean() - critic(run.tensor(real.float())).mean()}

        goals = [
            Goal(fool, generator, Adam(generator.parameters(), 0.1), name="generator"),
            Goal(judge, critic, SGD(critic.parameters(), 1e-3), clip_norm=1.0, name="critic"),
        ]
        train(goals, batch, steps=self.steps, run=run)
        return WholeModel(*described, generator.state_dict())

    def restore(self, state):
        return WholeModel.restored(state)


# 3. Slices, in two stages with pseudo-labels between them.


class SliceModel(FakeModel):
    def regions(self, prepared, run, options):
        weights = self.on(run)
        for k in range(prepared.grid.shape[2]):
            image = run.tensor(prepared.voxels[..., k])[None]
            scores = F.conv2d(image, weights["weight"], weights["bias"])[0].softmax(0)
            yield Region((slice(None), slice(None), slice(k, k + 1)), scores[..., None].cpu())


@dataclass(frozen=True)
class TwoStages:
    steps: int = 20
    Options: ClassVar = SegmentOptions
    problems = needs(support=1)

    def fit(self, task, run):
        volumes, described = shared(task, run)
        with run.seeded("weights"):
            network = nn.Conv2d(len(task.channels), len(task.names), 1)

        def loss(volume, done):
            return masked_cross_entropy(network(volume.image[None]), volume)

        def learn(stage, pool):
            def batch(step, generator):
                volume = pool[step % len(pool)]
                annotated = volume.known.any((0, 1)).nonzero()[:, 0]
                k = int(annotated[torch.randint(len(annotated), (), generator=generator)])
                parts = (volume.image[..., k], volume.labels[..., k], volume.known[..., k])
                return Slice(*map(run.tensor, parts))

            goal = Goal(loss, network, Adam(network.parameters(), 0.1), polynomial(0.9))
            train([goal], batch, steps=self.steps, run=run, stage=stage, share=0.5)

        def predict():
            with torch.no_grad(), run.autocast():
                return [network(run.tensor(v.image).movedim(-1, 0)).argmax(1).movedim(0, -1).cpu() for v in volumes]

        learn("annotated slices", volumes)
        labels = run.stage("pseudo-labels", {"steps": self.steps}, predict)
        filled = [
            type(v)(v.image, torch.where(v.known, v.labels, guess.to(v.labels)), torch.ones_like(v.known), v.spacing)
            for v, guess in zip(volumes, labels, strict=True)
        ]
        learn("all slices", filled)
        return SliceModel(*described, network.state_dict())

    def restore(self, state):
        return SliceModel.restored(state)


@dataclass(frozen=True)
class Slice:
    image: torch.Tensor
    labels: torch.Tensor
    known: torch.Tensor


# 4. Learns from other structures, and adapts to new ones without a gradient step.


class PrototypeModel(FakeModel):
    def regions(self, prepared, run, options):
        tensors = self.on(run)
        features = F.conv3d(run.tensor(prepared.voxels)[None], tensors["weight"], tensors["bias"])[0]
        away = (features[None] - tensors["prototypes"][:, :, None, None, None]).square().sum(1)
        yield Region(EVERYWHERE, (-away).softmax(0).cpu())

    def working_memory(self, shape, run, options):
        return 4 * prod(shape) * 2 * self.tensors["prototypes"].numel() + super().working_memory(shape, run, options)

    @property
    def learner(self):
        return FakeLearner(self.channels, {name: self.tensors[name] for name in ("weight", "bias")})


@dataclass(eq=False)
class FakeLearner:
    channels: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]

    def adapt(self, support, names, run):
        if support[0].scan.channels != self.channels:
            raise ChannelMismatch(f"{support[0].scan.name}: has not the channels {', '.join(self.channels)}")
        preparation, volumes = prepare_support(support, Preparation(), None, run)
        features = [F.conv3d(v.image[None], self.weights["weight"], self.weights["bias"])[0] for v in volumes]
        picked = torch.cat([f[:, v.known] for f, v in zip(features, volumes, strict=True)], 1)
        labels = torch.cat([v.labels[v.known] for v in volumes])
        prototypes = [picked[:, labels == k].mean(1).nan_to_num(1e3) for k in range(len(names))]
        tensors = {**self.weights, "prototypes": torch.stack(prototypes)}
        return PrototypeModel(names, self.channels, preparation, tensors)

    def state(self):
        return State({"channels": self.channels}, dict(self.weights))


@dataclass(frozen=True)
class Adaptable:
    steps: int = 20
    Options: ClassVar = SegmentOptions
    problems = needs(base=1)

    def fit(self, task, run):
        _, volumes = prepare_support(task.base, Preparation(), None, run)
        classes = len(task.base[0].truth.names)
        with run.seeded("weights"):
            embedding = nn.Conv3d(len(task.channels), 3, 1)
            both = nn.Sequential(embedding, nn.Conv3d(3, classes, 1))

        def loss(volume, done):
            return masked_cross_entropy(both(run.tensor(volume.image)[None]), volume)

        goal = Goal(loss, both, Adam(both.parameters(), 0.1))
        train([goal], lambda step, generator: volumes[step % len(volumes)], steps=self.steps, run=run)
        weights = {name: values.cpu() for name, values in embedding.state_dict().items()}
        learner = FakeLearner(task.channels, weights)
        return learner.adapt(task.support, task.names, run) if task.support else learner

    def restore(self, state):
        if "prototypes" in state.tensors:
            return PrototypeModel.restored(state)
        return FakeLearner(tuple(state.header["channels"]), state.tensors)


# 5. A program outside, which gives labels and no probabilities.


class ExternalModel(FakeModel):
    def regions(self, prepared, run, options):
        import nibabel
        import numpy as np

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            nibabel.save(nibabel.Nifti1Image(prepared.voxels[0].numpy(), prepared.grid.affine), folder / "image.nii.gz")
            np.savetxt(folder / "means.txt", self.tensors["means"].numpy())
            files = [folder / "image.nii.gz", folder / "means.txt", folder / "labels.nii.gz"]
            subprocess.run([sys.executable, Path(__file__).with_name("nearest_mean.py"), *files], check=True)
            labels = np.asarray(nibabel.load(files[2]).dataobj).astype(np.int16)
        yield Region(EVERYWHERE, torch.from_numpy(labels))


@dataclass(frozen=True)
class External:
    steps: int = 0
    Options: ClassVar = SegmentOptions
    problems = needs(support=1)

    def fit(self, task, run):
        (volume, *_), described = shared(task, run)
        means = [volume.image[0][(volume.labels == k) & volume.known].mean() for k in range(len(task.names))]
        return ExternalModel(*described, {"means": torch.stack(means).nan_to_num(1e3)})

    def restore(self, state):
        return ExternalModel.restored(state)


# 6. Several atlases, moved onto the scan; classes come one after the other.


class AtlasModel(FakeModel):
    def regions(self, prepared, run, options):
        shape = prepared.grid.shape
        count = sum(name.startswith("labels") for name in self.tensors)
        atlases = [(self.tensors[f"labels {n}"], self.tensors[f"known {n}"]) for n in range(count)]
        moved = [[resized(values, shape) for values in atlas] for atlas in atlases]
        votes = sum(known.float() for _, known in moved).clamp(min=1)
        for k in range(len(self.names)):
            share = sum(((labels == k) & known).float() for labels, known in moved) / votes
            yield Region(EVERYWHERE, share[None], slice(k, k + 1))


def resized(values, shape):
    return F.interpolate(values[None, None].float(), shape, mode="nearest")[0, 0].to(values.dtype)


@dataclass(frozen=True)
class MultiAtlas:
    steps: int = 0
    Options: ClassVar = SegmentOptions
    problems = needs(support=2)

    def fit(self, task, run):
        volumes, described = shared(task, run)
        tensors = {f"labels {n}": torch.where(v.known, v.labels, 0) for n, v in enumerate(volumes)}
        return AtlasModel(*described, tensors | {f"known {n}": v.known for n, v in enumerate(volumes)})

    def restore(self, state):
        return AtlasModel.restored(state)


def entry(name, *uses):
    parts = frozenset({"support", *uses})
    return Entry(f"{name}, a fake", method=f"contract.fakes:{name}", presets="contract.fakes:PRESETS", uses=parts)


FAKES = {
    "fake patches": entry("Patches"),
    "fake adversarial": entry("Adversarial"),
    "fake two stages": entry("TwoStages"),
    "fake adaptable": entry("Adaptable", "base"),
    "fake external": entry("External"),
    "fake multi-atlas": entry("MultiAtlas"),
}
