import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import NAMES, TASKS, partly_known, subject
from listening import Listening
from lowshot.contract import Deforms
from lowshot.errors import EmptySupport, LowshotError, ModelFileError
from lowshot.imaging.preparation import Preparation
from lowshot.inference import atlas_model
from lowshot.inference.atlas_model import AtlasModel, atlas_problems, prepare_atlases, stored_atlases
from lowshot.inference.predict import predict
from lowshot.methods.multi_atlas import MultiAtlas
from lowshot.model_file import Fitted, load
from lowshot.options import SegmentOptions
from lowshot.progress import Silent
from lowshot.registration.correspondence import Correspondence
from lowshot.task import LowShotTask
from lowshot.training.run import Run

PREPARATION = Preparation(intensity="percentiles")


class Still(AtlasModel):
    """Nothing moves; the first atlas is trusted three times as much as the second."""

    def correspondence(self, query, atlas, run, options):
        grid = atlas.picture.grid
        trust = 3.0 if atlas is not self.atlases[-1] and atlas.picture.name == self.atlases[0].picture.name else 1.0
        return Correspondence(np.eye(4), grid, torch.zeros(3, *grid.shape), torch.full(grid.shape, trust))

    def correspondence_memory(self, shape, run, options):
        return 1


def model(*seeds):
    support = [subject(seed) for seed in seeds]
    return Still(NAMES, ("image",), PREPARATION, prepare_atlases(support, PREPARATION, Silent()))


def scores(made, scan):
    prepared = made.preparation.apply(scan)
    total = torch.zeros(len(NAMES), *prepared.grid.shape)
    for region in made.regions(prepared, Run(device="cpu", precision="float32", memory_format="contiguous"), None):
        total[(region.classes, *region.slices)] += region.scores
    return total


def test_an_atlas_upon_itself_gives_its_own_labels():
    made = model(0)
    assert isinstance(made, Deforms)
    assert torch.equal(scores(made, subject(0).scan).argmax(0), made.atlases[0].labels.long())


def test_atlases_vote_with_their_trust():
    made = model(0, 1)
    first, second = (atlas.labels.long() for atlas in made.atlases)
    found = scores(made, subject(0).scan)
    torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]))
    differ = first != second
    share = found.gather(0, first[None])[0][differ]
    torch.testing.assert_close(share, torch.full_like(share, 0.75))


def test_beyond_its_field_of_view_an_atlas_has_no_vote():
    whole = subject(0)
    below = replace(
        whole,
        scan=replace(whole.scan, voxels=whole.scan.voxels[..., :5]),
        truth=replace(whole.truth, labels=whole.truth.labels[..., :5]),
    )
    for support in ([whole, below], [below, whole]):
        made = Still(NAMES, ("image",), PREPARATION, prepare_atlases(support, PREPARATION, Silent()))
        found = scores(made, whole.scan)
        torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]))
        assert torch.equal(found.argmax(0), scores(model(0), whole.scan).argmax(0))


def test_a_single_atlas_expects_nothing_of_itself_and_several_do():
    run = Run(device="cpu", precision="float32", memory_format="contiguous")
    alone, several = (predict(model(*seeds), subject(5).scan, run, SegmentOptions()) for seeds in ((0,), (0, 1)))
    assert set(alone.quality.values()) == {None}
    assert all(0 < quality.expected_dice < 1 for quality in several.quality.values())


def test_slab_by_slab_is_the_same(monkeypatch):
    made, scan = model(0, 1), subject(5).scan
    whole = scores(made, scan)
    monkeypatch.setattr(atlas_model, "SLAB_VOXELS", 500)
    torch.testing.assert_close(scores(made, scan), whole)


class Twisted(Still):
    """The second atlas's field turns it inside out; how often it is looked for is counted."""

    found = 0

    def correspondence(self, query, atlas, run, options):
        self.found += 1
        still = super().correspondence(query, atlas, run, options)
        if atlas.picture.name == self.atlases[0].picture.name:
            return still
        there = torch.arange(still.grid.shape[0], dtype=torch.float32) * still.grid.spacing[0]
        field = torch.zeros_like(still.field_mm)
        field[0] = -2 * there[:, None, None]
        return replace(still, field_mm=field)


def test_a_result_tells_the_folds_of_the_very_fields_that_it_was_made_with():
    made = Twisted(NAMES, ("image",), PREPARATION, prepare_atlases([subject(0), subject(1)], PREPARATION, Silent()))
    run = Run(device="cpu", precision="float32", memory_format="contiguous")
    result = predict(made, subject(5).scan, run, SegmentOptions())
    assert result.folded == 0.5
    assert any("50.0 % of the voxels lie in folds" in note for note in result.notes)
    assert made.found == 2
    result = predict(model(0, 1), subject(5).scan, run, SegmentOptions())
    assert result.folded == 0
    assert not any("folds" in note for note in result.notes)


def test_a_result_doubts_a_scan_that_does_not_look_like_any_atlas():
    run = Run(device="cpu", precision="float32", memory_format="contiguous")
    scan = subject(5).scan
    noise = replace(scan, voxels=100 * torch.rand(scan.voxels.shape, generator=torch.Generator().manual_seed(0)))
    seen, unseen = (predict(model(0, 1), each, run, SegmentOptions()) for each in (scan, noise))
    assert not any("does not look like" in note for note in seen.notes)
    [doubt] = [note for note in unseen.notes if "does not look like" in note]
    assert float(doubt.partition("correlation ")[2].split()[0]) == pytest.approx(0, abs=0.1)


def test_the_state_holds_the_atlases():
    made = model(0, 1)
    header, atlases = stored_atlases(made.state())
    assert header.names == NAMES
    for one, other in zip(atlases, made.atlases, strict=True):
        assert one.picture.name == other.picture.name
        assert one.picture.grid.same_as(other.picture.grid, tolerance=1e-3)
        assert torch.equal(one.picture.voxels, other.picture.voxels)
        assert torch.equal(one.labels, other.labels)


def tampered(**tensors):
    state = model(0).state()
    return state._replace(tensors=state.tensors | {name.replace("_", " "): values for name, values in tensors.items()})


@pytest.mark.parametrize(
    "state",
    [
        tampered(atlas_0_labels=torch.full((20, 24, 10), 9, dtype=torch.int16)),
        tampered(atlas_0_labels=torch.zeros(3, 3, 3, dtype=torch.int16)),
        tampered(atlas_0_labels=torch.zeros(20, 24, 10)),
        tampered(atlas_0_image=torch.full((1, 20, 24, 10), torch.nan)),
        model(0).state()._replace(header=model(0).state().header | {"atlases": []}),
        model(0)
        .state()
        ._replace(header=model(0).state().header | {"atlases": [{"name": "a", "affine": [[0] * 4] * 4}]}),
    ],
)
def test_what_no_model_keeps_is_refused(state):
    with pytest.raises(LowshotError):
        stored_atlases(state)


def test_what_is_annotated_in_part_is_no_atlas():
    assert atlas_problems(TASKS["two shots"], most=2) == []
    assert "one annotated scan, got 2" in atlas_problems(TASKS["two shots"], most=1)[0]
    partly = LowShotTask(NAMES, [partly_known(subject(0), 0)])
    assert "only in part" in atlas_problems(partly, most=1)[0]
    looked_for = LowShotTask(NAMES, [replace(subject(0), annotated=frozenset({"body"}))])
    assert "only in part" in atlas_problems(looked_for, most=1)[0]


def test_a_little_unknown_tissue_is_carried_over_as_background_and_that_is_told():
    whole, heard = subject(0), Listening()
    known = torch.ones_like(whole.truth.labels, dtype=torch.bool)
    i, j, k = (whole.truth.labels > 0).nonzero()[5].tolist()
    known[i, j, k] = False
    partly = replace(whole, known=known)
    assert atlas_problems(LowShotTask(NAMES, [partly]), most=1) == []
    (atlas,) = prepare_atlases([partly], PREPARATION, heard)
    (complete,) = prepare_atlases([whole], PREPARATION, Silent())
    assert int((complete.labels > 0).sum()) - int((atlas.labels > 0).sum()) == 1
    assert "is carried over as background" in heard.warnings[0]
    assert prepare_atlases([whole], PREPARATION, heard)
    assert len(heard.warnings) == 1


def test_an_atlas_without_labels_is_refused():
    empty = subject(0)
    empty = replace(empty, truth=replace(empty.truth, labels=torch.zeros_like(empty.truth.labels)))
    with pytest.raises(EmptySupport, match="nothing to copy"):
        prepare_atlases([empty], PREPARATION, Silent())


def identity(**changes):
    return {"name": "a", "affine": np.eye(4).tolist()} | changes


def affine(value, row, column=0):
    matrix = np.eye(4).tolist()
    matrix[row][column] = value
    return identity(affine=matrix)


@pytest.mark.parametrize(
    "described",
    [
        *(None, {}, [], [None], [[1]], ["a"], [{"name": "a"}], [{"affine": np.eye(4).tolist()}]),
        *([identity(name=name)] for name in (None, 3, ["a"], "a" * 10**6, json.loads("[" * 500 + "]" * 500))),
        *([identity(affine=given)] for given in (None, [], "eye", [[1, 0, 0, 0]] * 3, [["x"] * 4] * 4, [[1] * 4] * 4)),
        *([affine(value, 0)] for value in (0, 1e300, 10**400, float("nan"), float("inf"), None, "one", [1])),
        *([affine(value, 3)] for value in (1, -0.5)),
        [affine(0, 3, 3)],
        [identity(), identity()],
        [identity()] * 10_000,
    ],
)
def test_a_model_file_with_atlases_that_cannot_be_is_refused_in_one_sentence(described, tmp_path):
    method = MultiAtlas()
    made = method.fit(LowShotTask(NAMES, [subject(0)]), Run(device="cpu"))
    state, path = made.state(), tmp_path / "m.safetensors"
    made.state = lambda: state._replace(header=state.header | {"atlases": described})
    Fitted(made, method, "multi-atlas", {}).save(path)
    with pytest.raises(ModelFileError, match="the stored model cannot be rebuilt") as told:
        load(path)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < len(str(path)) + 500


def test_a_model_file_holds_the_atlases_as_they_were(tmp_path):
    method = MultiAtlas(vote="majority")
    made = method.fit(LowShotTask(NAMES, [subject(0), subject(1)]), Run(device="cpu"))
    Fitted(made, method, "multi-atlas", {"vote": "majority"}).save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").model
    assert again.settings == made.settings
    for one, other in zip(again.atlases, made.atlases, strict=True):
        assert torch.equal(one.picture.body, other.picture.body)
        assert np.array_equal(one.picture.grid.affine, other.picture.grid.affine)
