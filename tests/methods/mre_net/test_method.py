import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from lowshot import catalogue
from lowshot.errors import EmptySupport, SettingsError
from lowshot.imaging.names import Names
from lowshot.inference.patch_model import TileOptions
from lowshot.inference.predict import predict
from lowshot.methods.mre_net.method import MRENet
from lowshot.methods.mre_net.network import Embedding, PrototypeClassifier
from lowshot.nn.geometry import Geometry
from lowshot.nn.voxelwise import Planar, VoxelwiseNetwork
from lowshot.task import LowShotTask
from lowshot.transforms.patches import Volume
from methods.mre_net.balls import FLAT, NAMES, TINY, dice, fit, run, subject, task
from nn.hand_count import convolution, luna_park, norm

PAPER = Geometry(3, ((2, 2, 2), (2, 2, 1)), (36, 36, 12), (4, 4, 2))
CHANNELS, CLASSES, EMBEDDING = 3, 11, 2048


# Every row of the paper's ablation is reachable by settings.

HEAD = convolution(EMBEDDING, CLASSES, kernel=1)
DML = CLASSES * 3 * EMBEDDING + 1 + convolution(EMBEDDING, 512, 1) + convolution(512, 3 * CLASSES, 1)


def ams(inputs):
    squeeze = convolution(inputs, 28, 1) + convolution(28, inputs, 1)
    point = convolution(inputs, 256, 1) + norm(256)
    dilated = 3 * (convolution(inputs, 256) + norm(256))
    pooled = convolution(inputs, 256, 1)
    return squeeze + point + dilated + pooled + convolution(1280, EMBEDDING, 1)


ROWS = {
    "a": (
        {"metric_learning": False, "attention": False, "coordinates": False, "mining": False},
        convolution(64, CLASSES, kernel=1),
    ),
    "b": ({"attention": False, "coordinates": False, "mining": False}, convolution(64, EMBEDDING, 1) + DML),
    "c": ({"attention": False, "mining": False}, convolution(64 + 3, EMBEDDING, 1) + DML),
    "d": ({"mining": False}, ams(451) + DML),
    "e": ({}, ams(451) + DML),
    "f": ({"metric_learning": False}, ams(451) + HEAD),
    "g": ({"coordinates": False}, ams(448) + DML),
}
"""Settings of each row, and its parameters on top of the backbone."""


def network_of(method, geometry=PAPER):
    with torch.device("meta"):
        return method._network(CHANNELS, CLASSES, geometry)


def has(network, kind):
    return any(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_ablation_has_its_parts_and_its_parameters(row):
    settings, on_top = ROWS[row]
    method = catalogue.create("mre-net", catalogue.settings("mre-net", "paper", settings))
    network = network_of(method)
    assert has(network, PrototypeClassifier) == (row in "bcdeg")
    assert hasattr(network.features, "pyramid") == (row in "defg")
    assert network.features.coordinates == (row in "cdef")
    assert (method._majority(names(CLASSES), [volume_of_counts()]) is not None) == (row in "efg")
    assert sum(p.numel() for p in network.parameters()) == luna_park(CHANNELS) + on_top


def test_row_a_is_the_entry_unet():
    row = catalogue.create("mre-net", catalogue.settings("mre-net", "paper", ROWS["a"][0]))
    unet = catalogue.create("unet", catalogue.settings("unet", "paper"))
    assert unet == replace(row, batch=unet.batch, steps=unet.steps, decay_at=unet.decay_at)


def names(classes):
    return Names(tuple(f"structure {k}" for k in range(classes)), tuple(range(classes)))


def volume_of_counts(*counts):
    labels = torch.repeat_interleave(torch.arange(len(counts) or 1), torch.tensor(counts or (5,))).to(torch.int16)
    labels = labels.reshape(-1, 1, 1)
    return Volume(labels[None].float(), labels, torch.ones_like(labels, dtype=torch.bool), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("modes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("embedding_size", [512, 4096])
def test_modes_and_embedding_size_are_settings(modes, embedding_size):
    network = network_of(MRENet(modes=modes, embedding_size=embedding_size))
    assert tuple(network.head[1].prototypes.shape) == (modes * CLASSES, embedding_size)
    assert tuple(network.head[0].weight.shape) == (embedding_size, 1280)


def test_mixing_distance_and_norm_are_settings():
    classifier = network_of(MRENet(mixing="one-hot", distance="euclidean", scale=5.0)).head[1]
    assert (classifier.mixing, classifier.distance, classifier.mixer) == ("one-hot", "euclidean", None)
    network = network_of(MRENet(norm="instance"))
    assert not has(network, nn.BatchNorm3d)


def test_two_dimensions_are_the_same_code():
    flat = replace(PAPER, dimensions=2, patch=(36, 36, 1), margin=(4, 4, 0))
    network = network_of(MRENet(dimensions=2, patch=flat.patch, margin=flat.margin), flat)
    assert isinstance(network.features, Planar)
    assert isinstance(network.features.features, Embedding)
    assert not has(network, nn.Conv3d)


# Geometry, groups, problems


def volume(shape, spacing=(1.0, 1.0, 1.0)):
    labels = torch.zeros(shape, dtype=torch.int16)
    return Volume(labels[None].float(), labels, labels == 0, spacing)


def test_given_patch_and_strides_are_taken():
    assert MRENet()._geometry(volume((50, 50, 50))) == PAPER


def test_what_is_not_given_follows_from_the_scan():
    method = MRENet(patch=None, strides=None, dimensions=None, patch_voxels=48**3)
    flat = method._geometry(volume((256, 256, 1)))
    assert (flat.dimensions, flat.strides, flat.patch[2]) == (2, ((2, 2, 1), (2, 2, 1)), 1)
    thick = method._geometry(volume((256, 256, 37), (1.25, 1.25, 7.7)))
    assert (thick.dimensions, thick.strides) == (3, ((2, 2, 1), (2, 2, 1)))
    slices = replace(method, dimensions=2)._geometry(volume((256, 256, 37), (1.25, 1.25, 7.7)))
    assert (slices.dimensions, slices.patch[2], slices.margin[2]) == (2, 1, 0)


def test_groups_come_from_the_settings_or_from_the_counts():
    table = Names(("background", "GM", "WM", "lesion"), (0, 1, 2, 3))
    volumes = [volume_of_counts(500, 100, 80, 2)]
    assert MRENet(majority=("WM",))._majority(table, volumes) == (0, 2)
    assert MRENet()._majority(table, volumes) == (0, 1, 2)
    assert MRENet(mining=False)._majority(table, volumes) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": (35, 36, 12)}, "multiples of the strides' product 4"),
        ({"margin": (18, 4, 2)}, "nothing is left"),
        ({"dimensions": 2}, "last size of 1"),
        ({"widths": (8, 16)}, "widths and convolutions: 2 and 3"),
        ({"strides": ((2, 2, 2),)}, "3 levels need 2"),
        ({"steps": 0}, "steps: expected more than 0, got 0"),
        ({"batch": -1}, "batch"),
        ({"modes": 0}, "modes"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"balanced": 1.5}, "balanced: expected shares? from 0 to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        MRENet(**settings)


@pytest.mark.parametrize("alone", [{"norm": "instance"}, {"norm": "batch", "batch": 1}])
def test_a_norm_of_one_value_is_refused_before_it_is_computed(alone):
    strides = ((2, 2, 2), (2, 2, 2))
    tiny = MRENet(patch=(4, 4, 4), margin=(1, 1, 1), strides=strides, crop="none", **alone)
    with pytest.raises(SettingsError, match=r"of patches of \(4, 4, 4\) a single value is left"):
        tiny.fit(LowShotTask(NAMES, [subject(0)]), run())


def test_problems_are_told_before_any_work():
    given = task(subject(0))
    assert MRENet().problems(given) == []
    assert "annotated scans" in MRENet().problems(LowShotTask(NAMES, base=[subject(0)]))[0]
    assert "unknown structures: heart" in MRENet(majority=("left ball", "heart")).problems(given)[0]
    assert "would mix its slices into one" in MRENet(resize=(32, 32, 1), crop="none").problems(given)[0]
    assert "left and right twins" in MRENet(mirror=True).problems(given)[0]
    paired = task(subject(0), mirror_pairs=((1, 2),))
    assert MRENet(mirror=True).problems(paired) == []
    assert "where left is" in MRENet(mirror=True, orientation=None).problems(paired)[0]


def test_a_support_that_the_crop_empties_is_refused():
    with pytest.raises(EmptySupport):
        fit(task(subject(0)), TINY | {"crop": [1, 1, 1]})


# Learning


def test_it_learns_two_balls_from_one_scan():
    model = fit(task(subject(0)), TINY)
    assert min(dice(model, subject(1))) > 0.7


def test_it_learns_an_image():
    shape = (32, 32, 1)
    model = fit(task(subject(0, shape)), FLAT)
    assert model.geometry.dimensions == 2
    assert min(dice(model, subject(1, shape))) > 0.7


def test_it_learns_from_two_scans_with_two_channels():
    shape, channels = (24, 24, 24), ("T1", "FLAIR")
    support = [subject(seed, shape, channels) for seed in (0, 3)]
    model = fit(task(*support), TINY)
    assert model.channels == channels
    assert min(dice(model, subject(1, shape, channels))) > 0.7


def test_it_learns_from_one_annotated_slice():
    labelled = subject(0, (32, 32, 12))
    known = torch.zeros(32, 32, 12, dtype=torch.bool)
    known[:, :, 6] = True
    settings = FLAT | {"batch": 6}
    model = fit(task(replace(labelled, known=known)), settings)
    assert min(dice(model, subject(1, (32, 32, 12)))) > 0.6


SHORT = TINY | {"steps": 3, "augmentation": "strong"}


def weights(model):
    return model.network.state_dict()


def same(first, second):
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


def test_labels_that_are_not_known_change_no_weight():
    labelled = subject(0)
    known = torch.zeros(24, 24, 24, dtype=torch.bool)
    known[:, :, 12] = True
    poisoned = torch.where(known, labelled.truth.labels, 2)
    lie = replace(labelled, truth=replace(labelled.truth, labels=poisoned), known=known)
    honest = replace(labelled, known=known)
    assert same(fit(task(honest), SHORT), fit(task(lie), SHORT))
    assert not same(fit(task(honest), SHORT), fit(task(labelled), SHORT))


def test_the_seed_decides_everything():
    first, again, other = (fit(task(subject(0)), SHORT, seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains_segments_and_comes_back(row):
    settings = SHORT | ROWS[row][0]
    method = catalogue.create("mre-net", settings)
    model = method.fit(task(subject(0)), run())
    state = model.state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert same(model, restored)
    query = subject(1).scan
    one, two = (predict(each, query, run(), TileOptions()).segmentation.labels for each in (model, restored))
    assert torch.equal(one, two)
    assert set(one.unique().tolist()) <= {0, 1, 2}


def test_every_parameter_of_the_full_model_is_trained():
    method = catalogue.create("mre-net", SHORT | {"steps": 1})
    with run().seeded("weights"):
        before = method._network(1, len(NAMES), Geometry(3, ((2, 2, 2),), (16, 16, 16), (2, 2, 2))).state_dict()
    after = weights(method.fit(task(subject(0)), run()))
    still = [name for name, value in before.items() if value.is_floating_point() and torch.equal(value, after[name])]
    assert still == []


def test_the_model_is_a_voxelwise_network_in_evaluation_mode():
    model = fit(task(subject(0)), SHORT)
    assert isinstance(model.network, VoxelwiseNetwork)
    assert not model.network.training
    assert model.names == NAMES
    assert model.preparation.spacing == (1.0, 1.0, 1.0)  # what the support had, so that queries are brought to it
