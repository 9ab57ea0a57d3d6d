import json

import numpy as np
import pytest
import torch

from listening import Listening
from lowshot.errors import EmptySupport, LowshotError, SettingsError
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.predict import predict
from lowshot.methods import scs
from lowshot.methods.presets import SCS as PRESETS
from lowshot.methods.scs import (
    SCS,
    Picture,
    SuperpixelNetwork,
    balanced,
    majority,
    nearest,
    patches_of,
    positions_of,
    shifted,
)
from lowshot.options import SegmentOptions
from lowshot.task import LowShotTask
from lowshot.training.run import Run

NAMES = Names(("background", "lesion", "cyst"), (0, 1, 2))
QUICK = SCS(size=(48, 48), superpixels=200, words=12, patch_radius=1, relabelled_by=2, epochs=60, compactness=1.0)


def image(seed, shape=(60, 50, 1)):
    """A dark disc to one side and a bright one to the other in grey noise."""
    random = torch.Generator().manual_seed(seed)
    i, j = torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape[:2]], indexing="ij")
    labels = torch.zeros(shape, dtype=torch.int16)
    for label, y in ((1, -0.45), (2, 0.45)):
        x, z = 0.2 * (torch.rand(2, generator=random) - 0.5)
        labels[((i - x) ** 2 + (j - y - z) ** 2) < 0.1] = label
    voxels = torch.tensor([120.0, 20.0, 220.0])[labels.long()] + 8 * torch.randn(shape, generator=random)
    scan = Scan(f"image {seed}", voxels[None], np.eye(4), spacing_known=False)
    return LabelledScan(scan, Segmentation(labels, NAMES, np.eye(4)))


def run(seed=0):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, seed=seed)


def segmented(model, labelled):
    return predict(model, labelled.scan, run(), SegmentOptions()).segmentation.labels


@pytest.fixture(scope="module")
def model():
    return QUICK.fit(LowShotTask(NAMES, [image(0), image(1, (44, 62, 1))]), run())


def test_it_learns_two_structures_and_finds_them_in_another_image(model):
    query = image(7, (52, 58, 1))
    labels, truth = segmented(model, query), query.truth.labels
    for k in (1, 2):
        found, true = labels == k, truth == k
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.8


def test_its_state_is_tensors_and_json(model):
    state = model.state()
    restored = QUICK.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert torch.equal(segmented(restored, image(3)), segmented(model, image(3)))
    with pytest.raises((LowshotError, RuntimeError)):
        QUICK.restore(state._replace(tensors={**state.tensors, "words": torch.zeros(3, 9)}))
    with pytest.raises(LowshotError):
        QUICK.restore(state._replace(tensors={**state.tensors, "words": state.tensors["words"].double()}))


def test_a_seed_repeats_itself(model):
    again = QUICK.fit(LowShotTask(NAMES, [image(0), image(1, (44, 62, 1))]), run()).state().tensors
    assert all(torch.equal(value, again[name]) for name, value in model.state().tensors.items())


def test_a_structure_that_is_not_annotated_is_never_found():
    given = image(0)
    alone = Segmentation(given.truth.labels * (given.truth.labels == 2), NAMES, np.eye(4))
    model = QUICK.fit(LowShotTask(NAMES, [LabelledScan(given.scan, alone)]), run())
    assert segmented(model, image(4)).unique().tolist() == [0, 2]


def test_unknown_pixels_teach_nothing():
    given = image(0)
    known = given.truth.labels != 1  # nobody knows what the dark disc is
    model = QUICK.fit(LowShotTask(NAMES, [LabelledScan(given.scan, given.truth, known)]), run())
    assert 1 not in segmented(model, image(4))


def test_structures_smaller_than_superpixels_are_refused():
    labels = torch.zeros(60, 50, 1, dtype=torch.int16)
    labels[30, 20] = 1
    task = LowShotTask(NAMES, [LabelledScan(image(0).scan, Segmentation(labels, NAMES, np.eye(4)))])
    with pytest.raises(EmptySupport):
        QUICK.fit(task, run())


def test_an_image_that_is_almost_constant_is_segmented(model):
    flat = Scan("flat", torch.zeros(1, 40, 40, 1), np.eye(4), spacing_known=False)
    flat.voxels[0, 20, 20] = 1.0
    assert predict(model, flat, run(), SegmentOptions()).segmentation.labels.shape == (40, 40, 1)


def test_the_perceptrons_weights_give_scikit_learns_probabilities():
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    torch.manual_seed(0)
    for classes in (2, 3):
        features, labels = torch.randn(60, 4 + 2), torch.arange(60) % classes
        network = SuperpixelNetwork(values=1, words=4, hidden=5, classes=classes, relabelled_by=0)
        network.learn(features, labels, epochs=40, penalty=0.01, seed=3)
        reference = MLPClassifier((5,), max_iter=40, alpha=0.01, batch_size=32, random_state=3)
        with pytest.warns(ConvergenceWarning):
            reference.fit(features.numpy(), labels.numpy())
        wanted = torch.from_numpy(reference.predict_proba(features.numpy()))
        got = network.output(network.hidden(features).relu()).softmax(dim=1)
        torch.testing.assert_close(got.detach(), wanted.float(), atol=1e-4, rtol=1e-4)


def test_words_are_counted_by_hand():
    """Two superpixels, left and right half of four by four pixels; one word for dark, one for bright."""
    where = torch.tensor([[0, 0, 1, 1]] * 4)
    values = torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 4)
    network = SuperpixelNetwork(values=1, words=2, hidden=3, classes=2, relabelled_by=1)
    network.words.copy_(torch.tensor([[0.1], [0.9]]))
    features = network.features(Picture(where, values[..., None], torch.zeros(2)))
    wanted = torch.tensor([[1, 0, 0, -2 / 3], [0.5**0.5, 0.5**0.5, 0, 2 / 3]])
    torch.testing.assert_close(features, wanted, atol=1e-6, rtol=0)


def test_relabelling_takes_the_mean_of_the_nearest():
    torch.manual_seed(0)
    where = torch.arange(4).repeat_interleave(2)[None].repeat(2, 1)  # four in a row
    values = torch.rand(2, 8, 1)
    alone = SuperpixelNetwork(values=1, words=2, hidden=3, classes=2, relabelled_by=0)
    three = SuperpixelNetwork(values=1, words=2, hidden=3, classes=2, relabelled_by=9)
    three.load_state_dict(alone.state_dict())
    picture = Picture(where, values, torch.zeros(4))
    torch.testing.assert_close(three(picture), alone(picture).mean(dim=0).expand(4, 2))


def test_majorities():
    where = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    labels = torch.tensor([[1, 1, 0], [-1, -1, 1], [0, 0, -1]])
    assert majority(where, labels).tolist() == [1, -1, 0]


def test_rare_classes_are_learned_from_more_often():
    labels = torch.tensor([0] * 16 + [2] * 4 + [5])
    generator = torch.Generator().manual_seed(0)
    for balance, counts in ((0.0, [16, 4, 1]), (0.5, [16, 8, 4]), (1.0, [16, 16, 16])):
        chosen = balanced(labels, balance, generator)
        assert labels[chosen].bincount()[[0, 2, 5]].tolist() == counts
        assert set(chosen.tolist()) == set(range(21))


def test_positions_and_nearest():
    points = positions_of(torch.tensor([[0, 0, 1], [0, 0, 1], [2, 2, 1]]))
    torch.testing.assert_close(points, torch.tensor([[-0.5, -0.5], [0.0, 1.0], [1.0, -0.5]]))
    assert nearest(points, 1).tolist() == [[0, 2], [1, 0], [2, 0]] or nearest(points, 1)[0, 0] == 0
    assert nearest(points, 7).shape == (3, 3)


def test_patches_by_a_loop():
    x = torch.rand(2, 5, 6)
    patches = patches_of(x, 1)
    assert patches.shape == (5, 6, 18)
    torch.testing.assert_close(patches[2, 3], x[:, 1:4, 2:5].flatten())
    torch.testing.assert_close(patches[0, 0, :4], x[0, [0, 0, 0, 0], [0, 0, 1, 0]])


def test_mean_shift_keeps_edges_and_flattens_what_lies_between():
    torch.manual_seed(0)
    step = torch.cat([torch.zeros(12, 6), torch.ones(12, 6)], dim=1)
    noisy = step + 0.05 * torch.randn(12, 12)
    smooth = shifted(noisy, radius=3, grey=0.3, steps=3)
    assert (smooth - step).abs().max() < 0.05
    assert smooth.std() > 0.45
    assert torch.equal(shifted(noisy, 3, 0.3, 0), noisy)
    naive = noisy.clone()
    for i, j in np.ndindex(12, 12):
        rows, columns = (torch.arange(n - 1, n + 2).clamp(0, 11) for n in (i, j))
        window = noisy[rows][:, columns]
        naive[i, j] = window[(window - noisy[i, j]).abs() <= 0.1].mean()
    torch.testing.assert_close(shifted(noisy, 1, 0.1, 1), naive)


def test_superpixels_cover_the_image_without_gaps():
    x = torch.rand(1, 40, 50)
    where = scs.superpixels(x, 60, 0.5)
    assert where.shape == (40, 50)
    assert where.unique().tolist() == list(range(int(where.max()) + 1))


def test_problems():
    assert "annotated images" in QUICK.problems(LowShotTask(NAMES, [], base=[image(0)]))[0]
    assert QUICK.problems(LowShotTask(NAMES, [image(0)])) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (4, 128)}, "size"),
        ({"superpixels": 0}, "superpixels: expected more"),
        ({"superpixels": 10**6}, "superpixels: expected at most"),
        ({"words": 0}, "words"),
        ({"words": 16, "sampled": 10}, "words: expected no more than pixels"),
        ({"patch_radius": 99}, "patch_radius"),
        ({"penalty": -1.0}, "penalty"),
        ({"balance": 2.0}, "balance"),
        ({"compactness": float("inf")}, "compactness"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        SCS(**settings)


def test_presets_are_settings():
    assert all(SCS(**changes) for changes in PRESETS.values())


def test_a_structure_of_which_no_superpixel_mostly_is_is_told():
    heard, given = Listening(), image(0)
    given.truth.labels[given.truth.labels == 2] = 0
    given.truth.labels[3:5, 3:5] = 2
    heeding = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, progress=heard)
    QUICK.fit(LowShotTask(NAMES, [given]), heeding)
    assert [told.split(":")[1].split(",")[0] for told in heard.warnings] == [
        " cyst is lost where slices become 48×48 pixels"
    ]
