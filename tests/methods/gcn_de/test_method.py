import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from contract.studies import BASE, NAMES, TASKS
from listening import Listening
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import read_base
from lowshot.fewshot.episodes import Sampling, Shown, draw_pairs
from lowshot.imaging.scan import Scan
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel
from lowshot.methods.gcn_de.method import GCNDE
from lowshot.methods.gcn_de.network import GCNDENetwork
from lowshot.methods.gcn_de.objective import comparable, gcn_de_loss
from lowshot.methods.gcn_de.presets import GCN_DE
from lowshot.nn.resnet import ResNet
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TINY = {"size": (32, 32), "width": 0.0625}


def run(steps=2, **more):
    return Run(
        device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps), **more
    )


def test_a_base_alone_makes_a_learner_and_an_annotated_scan_a_model():
    method = GCNDE(**TINY)
    learner = method.fit(TASKS["base alone"], run())
    assert isinstance(learner, FewShotLearner)
    assert learner.knowledge.structures == ("body", "bone")
    assert isinstance(method.fit(TASKS["one shot and a base"], run()), FewShotModel)


@pytest.mark.parametrize("changes", [{}, {"correlation": False}, {"output_norm": False}, {"pooled": "always"}])
def test_it_is_restored_from_its_state(changes):
    method = GCNDE(**TINY, **changes)
    state = method.fit(TASKS["base alone"], run()).state()
    restored = method.restore(state._replace(header=json.loads(json.dumps(state.header))))
    assert all(torch.equal(restored.state().tensors[name], value) for name, value in state.tensors.items())


def test_terms_are_logged(tmp_path):
    GCNDE(**TINY).fit(TASKS["base alone"], run(folder=tmp_path))
    log = (tmp_path / "log.csv").read_text()
    assert all(f"loss/{term}," in log for term in ("dice", "cross_entropy", "embedding"))


def test_a_pair_of_slices_is_a_task_for_every_structure_and_these_are_told_apart():
    here = run()
    base = read_base(BASE, GCNDE(**TINY)._preparation(), ("image",), here)
    draw = partial(draw_pairs, Shown(base, 0.005), Sampling(tasks=2), here)
    drawn = [draw(step, torch.Generator().manual_seed(step)) for step in range(20)]
    several = [each for each in drawn if comparable(each).any()]
    assert several
    torch.manual_seed(0)
    network = GCNDENetwork(1, width=0.0625)
    method = GCNDE(**TINY, embedding_form="softplus")
    assert gcn_de_loss(network, method._embedding, several[0], 0.0)["embedding"] > 0


def test_learning_by_it_lowers_it():
    here = run()
    base = read_base(BASE, GCNDE(**TINY)._preparation(), ("image",), here)
    episode = draw_pairs(Shown(base, 0.005), Sampling(tasks=2), here, 0, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network, embedding = GCNDENetwork(1, width=0.25, output_norm=False), GCNDE(**TINY)._embedding
    optimiser, losses = torch.optim.Adam(network.parameters(), 1e-2), []
    for _ in range(20):
        optimiser.zero_grad()
        loss = sum(gcn_de_loss(network, embedding, episode, 0.0).values())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_both_arms_take_weights_from_a_file(tmp_path):
    torch.manual_seed(1)
    stored = ResNet(18).state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(stored, path)
    method = GCNDE(size=(32, 32), learning_rate=1e-9, pairs=1, weights=str(path))
    kept = method.fit(TASKS["base alone"], run(1)).state().tensors
    for arm in ("support", "query"):
        name = "layer3.1.conv2.weight"
        torch.testing.assert_close(kept[f"network.{arm}.backbone.{name}"], stored[name])
    assert not any("layer4" in name for name in kept)


def test_problems():
    assert "--base" in GCNDE(**TINY).problems(TASKS["one shot"])[0]
    assert GCNDE(**TINY).problems(TASKS["base alone"]) == []
    assert "no file of weights" in GCNDE(weights="gone.pth").problems(TASKS["base alone"])[0]


def in_two_channels(scan):
    return Scan(scan.name, scan.voxels.repeat(2, 1, 1, 1), scan.affine, ("T1", "T2"))


def test_several_channels_are_taken_as_they_are():
    scans = [replace(each, scan=in_two_channels(each.scan)) for each in BASE]
    learner = GCNDE(**TINY).fit(LowShotTask(NAMES, base=scans), run(1))
    assert learner.network.query.stem[0].in_channels == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (40, 32)}, "size: expected multiples of 16"),
        ({"size": (48, 48), "partitions": 8}, "size: expected multiples of 32"),
        ({"size": (8192, 8192)}, "at most 16,777,216 pixels"),
        ({"partitions": 0}, "partitions: expected more than 0"),
        ({"width": 9.0}, "width: expected at most 4"),
        ({"embedding_weight": -1.0}, "embedding_weight: expected a number from 0 on"),
        ({"momentum": 2.0}, "momentum: expected a share"),
        ({"pairs": 0}, "pairs: expected more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        GCNDE(**wrong)


def test_blocks_need_sizes_that_can_be_cut_only_where_there_are_any():
    assert GCNDE(size=(48, 96), partitions=3)
    assert GCNDE(size=(48, 48), partitions=8, correlation=False)


def test_one_block_of_one_cell_is_refused_where_a_norm_would_see_it_alone():
    with pytest.raises(SettingsError, match="size: expected at least 32 pixels along both sides"):
        GCNDE(size=(16, 32), correlation=False)


def test_a_base_of_single_structures_is_told_to_leave_the_embedding_nothing():
    heard = Listening()
    alone = [replace(each, truth=replace(each.truth, labels=each.truth.labels.clamp(max=1))) for each in BASE]
    GCNDE(**TINY).fit(replace(TASKS["base alone"], base=alone), run(progress=heard))
    assert [warning for warning in heard.warnings if "discriminative embedding has nothing to tell apart" in warning]


def test_presets_are_settings():
    made = {name: GCNDE(**settings) for name, settings in GCN_DE.items()}
    assert made["paper"] == GCNDE()
    assert made["paper-synapse"].intensity == "window:-125:275"
    released = made["released"]
    assert (released.embedding_stage, released.embedding_distance) == (4, "l1")
    assert (released.embedding_form, released.embedding_weight) == ("softplus", 0.1)
    assert made["compact"].width < 1
