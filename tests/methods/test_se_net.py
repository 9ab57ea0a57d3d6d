import json
from dataclasses import replace

import pytest
import torch

from contract.studies import BASE, NAMES, TASKS, subject
from lowshot import catalogue
from lowshot.errors import SettingsError
from lowshot.fewshot import mixture
from lowshot.fewshot.episodes import Episode, draw_structures
from lowshot.fewshot.pairing import PairingOptions
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel
from lowshot.inference.predict import predict
from lowshot.losses.binary import binary_cross_entropy
from lowshot.losses.binary_dice import binary_dice
from lowshot.methods.se_net import SENet
from lowshot.methods.two_arm_presets import SE_NET, SSE_ONE_SCAN
from lowshot.nn.two_arm import ConcatenatedArms, GatedArms, RegressedClassifier
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TINY = {"size": (32, 32), "widths": (2, 4)}


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def episode(n=2):
    generator = torch.Generator().manual_seed(n)
    masks = torch.zeros(n, 1, 32, 32)
    masks[..., 8:24, 8:20] = 1
    return Episode(
        support=masks[:, :, None] + 0.1 * torch.randn(n, 1, 1, 32, 32, generator=generator),
        masks=masks,
        query=masks + 0.1 * torch.randn(n, 1, 32, 32, generator=generator),
        truth=masks[:, 0],
        known=torch.ones(n, 32, 32, dtype=torch.bool),
        structure=torch.arange(n),
        slices=torch.arange(n),
        pair=torch.arange(n),
    )


def one_slice(labelled, *slices):
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[..., list(slices)] = True
    return replace(labelled, known=known)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("se-net", GatedArms),
        ("co-fcn", ConcatenatedArms),
        ("oslsm", RegressedClassifier),
        ("sse-one-scan", GatedArms),
    ],
)
def test_an_entry_is_a_link_between_arms(name, network):
    method = catalogue.create(name, catalogue.settings(name, "paper"))
    with torch.device("meta"):
        assert type(method._network(1)) is network
    assert catalogue.entry(name).uses == ({"support"} if name == "sse-one-scan" else {"support", "base"})


def test_a_base_alone_makes_a_learner_and_an_annotated_scan_a_model():
    method = SENet(**TINY)
    learner = method.fit(TASKS["base alone"], run())
    assert isinstance(learner, FewShotLearner)
    assert learner.knowledge.structures == ("body", "bone")
    assert isinstance(method.fit(TASKS["one shot and a base"], run()), FewShotModel)


def test_one_scan_is_what_is_learned_from_and_the_example():
    model = SENet(**TINY, learns_from="support").fit(TASKS["one shot"], run())
    assert isinstance(model, FewShotModel)
    assert model.names == NAMES
    assert model.learner.knowledge.structures == NAMES.foreground


def test_what_the_one_scan_does_not_show_is_never_found():
    whole = TASKS["one shot"].support[0]
    labels = torch.where(whole.truth.labels == 3, 0, whole.truth.labels)
    lacking = replace(whole, truth=replace(whole.truth, labels=labels))
    model = SENet(**TINY, learns_from="support").fit(LowShotTask(NAMES, [lacking]), run())
    result = predict(model, whole.scan, run(), PairingOptions())
    assert 3 not in result.segmentation.labels.unique().tolist()


def test_of_one_scan_every_structure_takes_its_turn_and_both_slices_are_its_own(monkeypatch):
    drawn = []

    def spy(shown, sampling, run, step, generator):
        for structure in shown.structures:
            query, support = shown.draw(structure, sampling.shots, generator)
            drawn.append((structure, int(shown.base.scan[query]), *shown.base.scan[support].tolist()))
        return draw(shown, sampling, run, step, generator)

    draw = mixture.draw_structures
    monkeypatch.setattr(mixture, "draw_structures", spy)
    SENet(**TINY, learns_from="support").fit(TASKS["two shots"], run(12))
    assert {structure for structure, *_ in drawn} == {1, 2, 3}
    assert {scan for _, scan, _ in drawn} == {0, 1}
    assert all(query == support for _, query, support in drawn)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_in_a_share_of_the_steps_supervoxels_are_learned_from(monkeypatch, share):
    annotated = []

    def spy(*given):
        annotated.append(given)
        return draw_structures(*given)

    monkeypatch.setattr(mixture, "draw_structures", spy)
    SENet(**TINY, region_share=share).fit(TASKS["base alone"], run(16))
    assert {0.0: len(annotated) == 16, 0.5: 2 < len(annotated) < 14, 1.0: not annotated}[share]


@pytest.mark.parametrize("link", ["gate", "concatenate", "weights"])
def test_it_is_restored_from_its_state(link):
    method = SENet(**TINY, link=link)
    state = method.fit(TASKS["base alone"], run()).state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_its_loss_is_dice_and_what_is_laid_beside_it():
    torch.manual_seed(0)
    network, given = GatedArms(1, (2, 4)).eval(), episode()
    logit = network(given.support, given.masks, given.query)
    alone = SENet(**TINY)._loss(network, given, 0.0)
    assert alone.keys() == {"dice"}
    torch.testing.assert_close(alone["dice"], binary_dice(logit, given.truth, given.known))
    beside = SENet(**TINY, cross_entropy=0.5)._loss(network, given, 0.0)
    expected = 0.5 * binary_cross_entropy(logit, given.truth, given.known)
    torch.testing.assert_close(beside["cross_entropy"], expected)


@pytest.mark.parametrize("network", [GatedArms, ConcatenatedArms, RegressedClassifier])
def test_learning_by_it_lowers_it(network):
    torch.manual_seed(0)
    made, given = network(1, (2, 4)), episode()
    optimiser, losses = torch.optim.Adam(made.parameters(), 2e-2), []
    for _ in range(30):
        optimiser.zero_grad()
        loss = SENet(**TINY, cross_entropy=1.0)._loss(made, given, 0.0)
        sum(loss.values()).backward()
        optimiser.step()
        losses.append(float(loss["dice"].detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_problems_of_learning_from_a_base():
    assert "--base" in SENet(**TINY).problems(TASKS["one shot"])[0]
    assert SENet(**TINY).problems(TASKS["base alone"]) == []


def test_problems_of_learning_from_one_scan():
    method = SENet(**TINY, learns_from="support")
    assert "give at least one" in method.problems(LowShotTask(NAMES, base=BASE))[0]
    assert "in two slices" in method.problems(LowShotTask(NAMES, [one_slice(subject(0), 5)]))[0]
    assert method.problems(LowShotTask(NAMES, [one_slice(subject(0), 5, 6)])) == []
    assert method.problems(LowShotTask(NAMES, [one_slice(subject(0), 5), subject(1)])) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (40, 32)}, "size: expected multiples of 16"),
        ({"size": (8192, 8192)}, "at most 16,777,216 pixels"),
        ({"widths": (0, 4)}, "widths: expected more than 0"),
        ({"widths": (4, 5000)}, "widths: expected at most 4096"),
        ({"kernel": 4}, "kernel: expected an odd number"),
        ({"kernel": 99}, "kernel: expected an odd number, at most 31"),
        ({"cross_entropy": -1.0}, "cross_entropy: expected a number from 0 on"),
        ({"least_share": 2.0}, "least_share: expected a share"),
        ({"batch": 0}, "batch: expected more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        SENet(**wrong)


def test_presets_are_settings():
    assert SENet(**SE_NET["paper"]) == SENet()
    assert SENet(**SSE_ONE_SCAN["paper"]).augmentation == "strong"
    assert SENet(**SE_NET["compact"]).size == (128, 128)
