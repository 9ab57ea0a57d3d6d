from dataclasses import replace

import pytest
import torch

from contract.studies import NAMES, subject
from lowshot import catalogue
from lowshot.errors import SettingsError
from lowshot.methods.elnet.batches import Sources
from lowshot.nn.mt_unet import MTUNet
from lowshot.nn.planar_unet import PlanarUNet
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from lowshot.transforms.slices import unlabelled

TINY = {"size": (16, 16), "stem": (4, 4), "widths": (8, 8), "exemplars": 1, "synthetic": 3, "pseudo_labelled": 2}
UNET = TINY | {"network": "unet", "widths": (4, 8)}
POOL = [subject(5).scan]


def method(name="elnet", **changes):
    return catalogue.create(name, catalogue.settings(name, "compact", {**TINY, **changes}))


def one_slice(k=5, seed=0):
    labelled = subject(seed)
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[..., k] = True
    return replace(labelled, known=known)


def run(steps=4, folder=None):
    return Run(
        device="cpu",
        precision="float32",
        memory_format="contiguous",
        threads=1,
        budget=Budget(steps=steps),
        folder=folder,
    )


TASK = LowShotTask(NAMES, [one_slice()], unlabelled=POOL)


def test_two_stages_share_the_steps():
    here = run(8)
    model = method(first_share=0.25).fit(TASK, here)
    assert {name: stage.steps for name, stage in here.plan.stages.items()} == {"first network": 2, "network 2": 6}
    assert isinstance(model.network, MTUNet)


def test_rounds_share_what_the_first_leaves():
    here = run(8)
    method(first_share=0.5, rounds=2).fit(TASK, here)
    assert {name: stage.steps for name, stage in here.plan.stages.items()} == {
        "first network": 4,
        "network 2": 2,
        "network 3": 2,
    }


def test_a_teacher_may_be_followed_by_another():
    here = run(8)
    method(rounds=2, teacher=True).fit(TASK, here)
    assert list(here.plan.stages) == ["first network", "network 2", "network 3"]


def test_without_pseudo_labels_there_is_one_network():
    here = run(4)
    method(pseudo_loss=0.0).fit(TASK, here)
    assert list(here.plan.stages) == ["first network"]


def test_a_teacher_goes_on_with_the_first_network():
    """With a learning rate of next to nothing, what comes out is what the first stage made."""
    first, taught = (
        method(**UNET, **changes).fit(TASK, run(4)).network.state_dict()
        for changes in (
            {"pseudo_loss": 0.0, "steps": 2},
            {"teacher": True, "taught_rate": 1e-9, "first_share": 0.999},
        )
    )
    names = [name for name in first if name.endswith("weight")]
    assert max(float((first[name] - taught[name]).abs().max()) for name in names) < 1e-5


def test_networks_alone_learn_from_the_exemplar_alone():
    for name, network in (("mt-unet", MTUNet), ("unet-slices", PlanarUNet)):
        chosen = method(name, **({"widths": (4, 8)} if name == "unet-slices" else {}))
        here = run(2)
        assert isinstance(chosen.fit(LowShotTask(NAMES, [subject(0)]), here).network, network)
        assert list(here.plan.stages) == ["first network"]


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [({}, (1, 3, 0), (1, 1, 2)), ({"synthetic_loss": 0.0}, (4, 0, 0), (2, 0, 2))],
)
def test_a_batch_keeps_its_size(changes, first, second):
    chosen, empty = method(**changes), unlabelled(torch.zeros(0, 1, 16, 16))
    for pool, expected in ((None, first), (empty, second)):
        drawing = chosen._drawing(chosen._weights(0.1), Sources(empty, empty.image, empty.image, pool))
        assert (drawing.exemplars, drawing.synthetic, drawing.pseudo_labelled) == expected


def test_samples_are_made_from_the_exemplar_and_are_the_same_each_time():
    first, again = (method().samples(TASK, run()) for _ in range(2))
    assert first.image.shape == (3, 1, 16, 16)
    assert first.image.equal(again.image)
    assert first.labels.equal(again.labels)
    assert (first.labels > 0).flatten(1).any(dim=1).all()


def test_where_nothing_is_synthetic_samples_are_varied_exemplars():
    found = method(synthetic_loss=0.0).samples(TASK, run())
    assert len(found.image) == method().exemplars + method().synthetic
    assert (found.labels > 0).flatten(1).any(dim=1).all()
    assert not found.image[0].equal(found.image[1])


def test_a_structure_that_nothing_annotated_shows_is_named():
    labelled = one_slice()
    labelled.truth.labels[labelled.truth.labels == 2] = 0
    task = LowShotTask(NAMES, [labelled], unlabelled=POOL)
    (problem,) = method().problems(task)
    assert problem.startswith("nothing annotated shows left organ, so that could never be found")
    assert problem.endswith("(--allow-missing)")
    assert method(allow_missing=True).problems(task) == []


def test_what_lies_in_slices_nobody_annotated_does_not_count():
    assert "nothing annotated shows" in method().problems(LowShotTask(NAMES, [one_slice(k=0)], unlabelled=POOL))[0]


def test_an_exemplar_without_background_is_refused():
    labelled = subject(0)
    labels = labelled.truth.labels.clamp_min(1)
    task = LowShotTask(NAMES, [replace(labelled, truth=replace(labelled.truth, labels=labels))], unlabelled=POOL)
    assert "nothing annotated is background" in method().problems(task)[0]


def test_an_empty_pool_is_refused_unless_the_scan_itself_has_more_slices():
    assert "--unlabelled" in method().problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert method().problems(LowShotTask(NAMES, [one_slice()])) == []
    assert method(pseudo_loss=0.0).problems(LowShotTask(NAMES, [subject(0)])) == []


def test_an_ignore_value_in_every_slice_makes_no_pool():
    labelled = subject(0)
    known = torch.ones_like(labelled.truth.labels, dtype=torch.bool)
    known[0] = False
    assert "--unlabelled" in method().problems(LowShotTask(NAMES, [replace(labelled, known=known)]))[0]


def test_an_annotated_slice_along_another_axis_is_one_clear_message():
    labelled = subject(0)
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[9] = True
    (problem,) = method().problems(LowShotTask(NAMES, [replace(labelled, known=known)]))
    assert "the annotated slice lies along axis 0" in problem


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (15, 16)}, "size: expected multiples"),
        ({"size": (8192, 8192)}, "at most 16,777,216 pixels"),
        ({"contrast": -1.0}, "contrast: expected a number from 0 on"),
        ({"confidence": 2.0}, "confidence: expected a share"),
        ({"steps": 0}, "steps: expected more than 0"),
        ({"black_backgrounds": 0.8, "own_backgrounds": 0.8}, "black, own"),
        ({"first_share": 1.0}, "first_share: both stages"),
        ({"exemplars": 2, "synthetic": 1, "pseudo_labelled": 3}, "pseudo_labelled: takes the place"),
        ({"one_piece": True}, "one_piece: .* needs teacher"),
        ({"exemplars": 0}, "exemplars: expected more than 0"),
        ({"size": (4, 4), "exemplars": 1, "synthetic": 0, "pseudo_loss": 0.0}, "size: expected at least 8 pixels"),
        ({"widths": (8, 12)}, "widths: expected multiples of 8"),
        ({"exemplar_loss": 0.0, "synthetic_loss": 0.0, "contrast": 0.0}, "expected one above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        method(**wrong)
