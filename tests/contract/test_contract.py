"""Every entry of the catalogue, and six fakes, do what ``lowshot.contract`` says. To be listed is to be tested."""

import json
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch

from contract import tiny
from contract.fakes import FAKES
from contract.studies import FLIPPED, NAMES, TASKS, partly_known, subject
from lowshot import catalogue
from lowshot.contract import Embeds, Learner, Model
from lowshot.errors import ChannelMismatch
from lowshot.imaging.pieces import largest_pieces
from lowshot.inference.memory import _LiveBytes
from lowshot.inference.predict import predict
from lowshot.model_file import Fitted, load
from lowshot.training.run import Budget, Run

pytestmark = pytest.mark.usefixtures("brief_alignment")

ENTRIES = catalogue.CATALOGUE | FAKES
QUERY = subject(7, FLIPPED, shape=(22, 21, 11)).scan


@pytest.fixture(autouse=True)
def _listed(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", ENTRIES)


@pytest.fixture(params=ENTRIES)
def name(request):
    return request.param


def made(name):
    settings = catalogue.settings(name, "compact", tiny.SETTINGS.get(name))
    return catalogue.create(name, settings), settings


def tiny_run(**settings):
    plain = {"device": "cpu", "precision": "float32", "memory_format": "contiguous", "budget": Budget(steps=3)}
    return Run(**plain | {"threads": 1} | settings)  # programs outside repeat themselves with one thread alone


def fitting(method):
    """A task that the method can work on."""
    for task in TASKS.values():
        if not method.problems(task):
            return task
    raise AssertionError(f"{method} refuses every task: {method.problems(TASKS['two shots'])}")


def as_model(fitted, run):
    """What segments: the model itself, or what its learner makes of one annotated scan."""
    return fitted if isinstance(fitted, Model) else fitted.adapt([subject(0)], NAMES, run)


FITTED = {}


@pytest.fixture
def fitted(name):
    """Fitted once for all tests, which change nothing of it."""
    if name not in FITTED:
        method, _ = made(name)
        FITTED[name] = method.fit(fitting(method), tiny_run())
    return FITTED[name]


@pytest.fixture
def model(fitted):
    return as_model(fitted, tiny_run())


@pytest.fixture
def options(name):
    return made(name)[0].Options()


FOUND = {}


@pytest.fixture
def found(name, model, options):
    """What it makes of the query: once for all tests, which change nothing of it."""
    if name not in FOUND:
        FOUND[name] = segmented(model, QUERY, options)
    return FOUND[name]


def segmented(model, scan, options):
    return predict(model, scan, tiny_run(), options).segmentation


def equal_states(one, other):
    same = [torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors]
    return one.header == other.header and one.tensors.keys() == other.tensors.keys() and all(same)


def test_the_entry_says_what_it_is(name):
    entry = catalogue.entry(name)
    assert entry.summary
    assert {"paper", "compact"} <= catalogue.presets(name).keys()
    for preset in catalogue.presets(name):
        assert is_dataclass(catalogue.create(name, catalogue.settings(name, preset)))


def test_problems_are_sentences(name):
    method, _ = made(name)
    for task in TASKS.values():
        assert all(isinstance(problem, str) and " " in problem for problem in method.problems(task))
    assert method.problems(fitting(method)) == []


def test_fit_depends_on_the_seed_alone(name, fitted):
    method, _ = made(name)
    torch.rand(3)  # whatever else drew random numbers
    assert equal_states(method.fit(fitting(method), tiny_run()).state(), fitted.state())


def test_the_state_is_json_and_tensors(fitted):
    header, tensors = fitted.state()
    assert json.loads(json.dumps(header)) is not None
    assert tensors
    assert all(isinstance(key, str) and isinstance(values, torch.Tensor) for key, values in tensors.items())
    assert not any(values.requires_grad for values in tensors.values())


def test_a_saved_model_segments_alike(name, fitted, model, found, options, tmp_path):
    _, settings = made(name)
    for kind, what in (("fitted", fitted), ("adapted", model)):
        path = tmp_path / f"{kind}.safetensors"
        Fitted(what, catalogue.create(name, settings), name, settings).save(path)
        loaded = load(path).model
        assert isinstance(loaded, Learner) == isinstance(what, Learner)
        assert isinstance(loaded, Model) == isinstance(what, Model)
        again = segmented(as_model(loaded, tiny_run()), QUERY, options)
        assert torch.equal(again.labels, found.labels)
        assert again.names == NAMES


def test_it_segments_on_the_scans_own_grid(found):
    assert found.grid.same_as(QUERY.grid, tolerance=1e-3)
    assert found.labels.min() >= 0
    assert found.labels.max() < len(NAMES)


def test_every_structure_can_be_kept_in_one_piece(model, options):
    assert bool(largest_pieces(segmented(model, QUERY, replace(options, one_piece=True)).labels).all())


def test_the_same_body_on_another_grid_gets_the_same_labels(model, options):
    """What the file's axes are must not matter: a scan, and itself with two axes reversed."""
    scan = subject(8).scan
    turned = replace(scan, voxels=scan.voxels.flip(1, 3), affine=scan.affine @ turning(scan.grid.shape))
    labels = segmented(model, scan, options).labels
    assert torch.equal(segmented(model, turned, options).labels.flip(0, 2), labels)


def turning(shape):
    affine = np.diag([-1.0, 1.0, -1.0, 1.0])
    affine[0, 3], affine[2, 3] = shape[0] - 1, shape[2] - 1
    return affine


def test_a_scan_is_segmented_as_if_it_were_the_only_one(model, found, options):
    before = model.state()
    segmented(model, subject(9).scan, options)
    assert torch.equal(segmented(model, QUERY, options).labels, found.labels)
    assert equal_states(model.state(), before)


def test_regions_cover_the_grid_and_give_every_voxel_and_class_once(model, options):
    prepared = model.preparation.apply(QUERY)
    times = torch.zeros(len(model.names), *prepared.grid.shape, dtype=torch.int32)
    total = torch.zeros(prepared.grid.shape)
    for region in model.regions(prepared, tiny_run(), options):
        assert region.scores.device.type == "cpu"
        if region.scores.is_floating_point():
            times[(region.classes, *region.slices)] += 1
            total[region.slices] += region.scores.sum(0)
            assert region.scores.min() >= 0
            assert region.scores.max() <= 1
        else:
            times[(slice(None), *region.slices)] += 1
            assert 0 <= int(region.scores.min()) <= int(region.scores.max()) < len(model.names)
    assert times.max() == 1
    assert times.any(0).all()
    assert total.max() <= 1 + 1e-4


def test_what_embeds_gives_every_voxel_its_vector(model, options):
    if not isinstance(model, Embeds):
        pytest.skip("decides by no vector for each voxel")
    prepared = model.preparation.apply(QUERY)
    voxels = torch.stack([torch.arange(10) * size // 10 for size in prepared.grid.shape], dim=1)
    vectors = model.embeddings(prepared, tiny_run(), options, voxels)
    assert (len(vectors), vectors.dtype, vectors.device.type) == (10, torch.float32, "cpu")
    assert vectors.isfinite().all()
    torch.testing.assert_close(model.embeddings(prepared, tiny_run(), options, voxels.flip(0)), vectors.flip(0))


def test_memory_is_announced(model, options):
    prepared = model.preparation.apply(QUERY)
    announced = model.working_memory(prepared.grid.shape, tiny_run(), options)
    with _LiveBytes() as live:
        for region in model.regions(prepared, tiny_run(), options):
            del region
    own = sum(values.nbytes for values in model.state().tensors.values())  # seen by the count, but there before
    assert isinstance(announced, int)
    assert announced > 0
    assert live.peak - own <= 1.25 * announced


def test_memory_is_announced_in_half_precision(model, options):
    half = tiny_run(precision="bfloat16")
    assert model.working_memory((64, 64, 16), half, options) > 0


def test_memory_does_not_grow_faster_than_the_scan(model, options):
    small, large = (model.working_memory(shape, tiny_run(), options) for shape in ((64, 64, 64), (128, 128, 128)))
    assert large <= 8.5 * small


def test_labels_that_are_not_known_are_not_looked_at(name):
    method, _ = made(name)
    states = []
    for lie in (0, 2):
        support = [partly_known(labelled, lie) for labelled in fitting(method).support]
        task = replace(fitting(method), support=support)
        if method.problems(task) or not support:
            pytest.skip("learns nothing from partly annotated scans")
        states.append(method.fit(task, tiny_run()).state())
    assert equal_states(*states)


def test_a_scan_with_other_channels_is_refused(model, options):
    with pytest.raises(ChannelMismatch, match="made for the channels"):
        predict(model, replace(QUERY, channels=("FLAIR",)), tiny_run(), options)


@pytest.mark.parametrize("task", ["base alone", "pool alone"])
def test_without_support_there_is_a_learner_and_it_adapts(name, options, task):
    (method, _), task = made(name), TASKS[task]
    if method.problems(task):
        pytest.skip("does not learn from it")
    learner = method.fit(task, tiny_run())
    assert isinstance(learner, Learner)
    adapted = learner.adapt([subject(0), subject(1)], NAMES, tiny_run())
    assert isinstance(adapted, Model)
    assert segmented(adapted, QUERY, options).names == NAMES


@pytest.mark.parametrize("fake", FAKES)
def test_the_fakes_do_learn(fake):
    """So that a test that passes for them means something."""
    method = catalogue.create(fake, catalogue.settings(fake, "paper"))
    model = as_model(method.fit(fitting(method), tiny_run(budget=Budget(steps=100))), tiny_run())
    query = subject(7, FLIPPED, shape=(22, 21, 11))
    labels = segmented(model, query.scan, method.Options()).labels
    assert (labels == query.truth.labels).float().mean() > 0.85


@pytest.mark.parametrize(
    ("fake", "task", "problem"),
    [
        ("fake multi-atlas", "one shot", "needs 2 annotated scans, got 1"),
        ("fake adaptable", "one shot", "needs 1 scans labelled for other structures, got 0"),
        ("fake patches", "base alone", "needs 1 annotated scans, got 0"),
    ],
)
def test_a_mismatch_is_a_problem_before_any_work(fake, task, problem):
    assert made(fake)[0].problems(TASKS[task]) == [problem]
