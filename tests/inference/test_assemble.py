import shutil
from collections import namedtuple
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowshot.contract import Region
from lowshot.errors import OutputError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inference.assemble import Decision, ProbabilityFile, assemble

SHAPE = (4, 3, 5)
WHOLE = (slice(None), slice(None), slice(None))


def names(classes):
    return Names(tuple(f"structure {k}" for k in range(classes)), tuple(range(classes)))


def scores(classes, shape=SHAPE, seed=0):
    return torch.randn(classes, *shape, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(0)


def decided(regions, classes, shape=SHAPE):
    decision = Decision.empty(shape, classes)
    for region in regions:
        decision.add(region)
    return decision


@st.composite
def chunkings(draw):
    """A number of classes, cut into chunks, in any order."""
    classes = draw(st.integers(2, 9))
    cuts = sorted({0, classes, *draw(st.lists(st.integers(1, classes - 1)))})
    return classes, draw(st.permutations([slice(a, b) for a, b in pairwise(cuts)]))


@settings(deadline=None)
@given(chunkings(), st.integers(0, 100))
def test_classes_in_chunks_give_what_all_at_once_give(chunking, seed):
    classes, chunks = chunking
    whole = scores(classes, seed=seed)
    decision = decided([Region(WHOLE, whole[chunk], chunk) for chunk in chunks], classes)
    best, second = whole.topk(2, dim=0).values
    assert torch.equal(decision.labels.long(), whole.argmax(0))
    assert torch.equal(decision.best, best)
    assert torch.equal(decision.second, second)
    assert torch.equal(decision.margin(), best - second)
    torch.testing.assert_close(decision.expected_size, whole.double().sum((1, 2, 3)))


def test_tiles_give_what_the_whole_gives():
    whole = scores(3)
    halves = [(slice(None), slice(None), part) for part in (slice(0, 2), slice(2, 5))]
    decision = decided([Region(half, whole[(slice(None), *half)]) for half in halves], 3)
    assert torch.equal(decision.labels.long(), whole.argmax(0))
    torch.testing.assert_close(decision.expected_size, whole.double().sum((1, 2, 3)))


def test_a_single_structure_has_no_rival():
    decision = decided([Region(WHOLE, torch.full((1, *SHAPE), 0.3))], 1)
    assert not decision.labels.any()
    torch.testing.assert_close(decision.margin(), torch.full(SHAPE, 0.3))


def test_finished_labels_are_taken_as_they_are():
    labels = torch.randint(4, SHAPE, dtype=torch.int32)
    decision = decided([Region(WHOLE, labels)], 4)
    assert torch.equal(decision.labels, labels.to(torch.int16))
    assert torch.equal(decision.margin(), torch.ones(SHAPE))
    assert decision.quality(names(4)) == {"structure 1": None, "structure 2": None, "structure 3": None}


def test_expected_dice_by_hand():
    # Two voxels, three structures: ŷ = (1, 0).
    whole = torch.tensor([[0.2, 0.9], [0.7, 0.1], [0.1, 0.0]]).reshape(3, 2, 1, 1)
    quality = decided([Region(WHOLE, whole)], 3, (2, 1, 1)).quality(names(3))
    assert quality["structure 1"].expected_dice == pytest.approx(2 * 0.7 / (0.8 + 1))
    assert quality["structure 2"] is None  # neither found nor expected: a tenth of a voxel


def test_an_expected_structure_that_is_not_found_has_no_quality_to_be_proud_of():
    whole = torch.tensor([0.6, 0.4]).reshape(2, 1, 1, 1).expand(2, *SHAPE)
    quality = decided([Region(WHOLE, whole)], 2).quality(names(2))
    assert quality["structure 1"].expected_dice == 0.0


def test_certainty_is_a_dice_of_one():
    labels = torch.randint(3, SHAPE)
    whole = torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()
    quality = decided([Region(WHOLE, whole)], 3).quality(names(3))
    assert all(each.expected_dice == pytest.approx(1.0) for each in quality.values())


FLIPPED = np.array([[0.0, 1.5, 0, -12], [-1.4, 0, 0, 20], [0, 0.2, -3.1, 5], [0, 0, 0, 1.0]])


def prepared(preparation, shape=(10, 8, 6), affine=FLIPPED):
    scan = Scan("case", torch.randn(1, *shape), affine)
    return preparation.apply(scan)


def test_labels_come_back_to_the_scans_own_grid():
    preparation = Preparation()
    given = prepared(preparation)
    labels = torch.randint(3, given.grid.shape, dtype=torch.int16)
    found, _ = assemble([Region(WHOLE, labels)], given, preparation, names(3))
    assert found.shape == (10, 8, 6)
    assert torch.equal(preparation.apply_labels(found, given), labels)


def test_resampling_labels_equals_resampling_probabilities():
    preparation = Preparation(spacing=(2.0, 2.0, 2.0))
    given = prepared(preparation, (12, 10, 8))
    whole = torch.nn.functional.interpolate(
        4 * torch.randn(1, 2, 3, 3, 3), size=given.grid.shape, mode="trilinear", align_corners=True
    )[0].softmax(0)
    found, _ = assemble([Region(WHOLE, whole)], given, preparation, names(2))
    expected = preparation.undo(whole, given)
    inside = expected.sum(0) > 0.99
    sure = inside & ((expected[0] - expected[1]).abs() > 1e-4)
    assert sure.float().mean() > 0.5
    assert torch.equal(found[sure].long(), expected.argmax(0)[sure])


def test_probabilities_survive_the_way_to_disk_and_back(tmp_path):
    preparation = Preparation(orientation="RAS")
    given = prepared(preparation)
    whole = scores(4, given.grid.shape)
    file = ProbabilityFile(tmp_path / "scratch", given.grid.shape, 4)
    half = (slice(0, 3), slice(None), slice(None)), (slice(3, None), slice(None), slice(None))
    for part in half:
        file.add(Region(part, whole[(slice(0, 1), *part)], slice(0, 1)))
        file.add(Region(part, whole[(slice(1, 4), *part)], slice(1, 4)))
    for k in range(4):
        found = file.on_scan(k, preparation, given)
        assert found.shape == (10, 8, 6)
        torch.testing.assert_close(preparation.apply(Scan("p", found[None], FLIPPED)).grid.affine, given.grid.affine)
        torch.testing.assert_close(given.axis_map.forward(found[None])[0], whole[k], atol=1e-3, rtol=0)


def test_probabilities_on_a_coarser_grid_are_interpolated_back(tmp_path):
    preparation = Preparation(spacing=(3.0, 3.0, 3.0))
    given = prepared(preparation, (12, 10, 8))
    whole = scores(2, given.grid.shape)
    file = ProbabilityFile(tmp_path / "scratch", given.grid.shape, 2)
    file.add(Region(WHOLE, whole))
    for k in range(2):
        torch.testing.assert_close(
            file.on_scan(k, preparation, given), preparation.undo(whole[k : k + 1], given)[0], atol=2e-3, rtol=0
        )


def test_finished_labels_become_certain_probabilities(tmp_path):
    preparation = Preparation()
    given = prepared(preparation)
    labels = torch.randint(3, given.grid.shape, dtype=torch.int16)
    file = ProbabilityFile(tmp_path / "scratch", given.grid.shape, 3)
    file.add(Region(WHOLE, labels))
    for k in range(3):
        on_scan = file.on_scan(k, preparation, given)
        assert torch.equal(given.axis_map.forward(on_scan[None])[0], (labels == k).float())


def test_probabilities_that_do_not_fit_on_the_disk_are_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 999, 999))
    with pytest.raises(OutputError, match=r"takes 0\.0 GB .* make room, or .* TMPDIR"):
        ProbabilityFile(tmp_path / "scratch", (10, 10, 5), 1)
    assert not list(tmp_path.iterdir())
    ProbabilityFile(tmp_path / "scratch", (10, 10, 2), 1)


def test_a_model_that_leaves_a_part_out_or_gives_nan_is_an_error():
    from lowshot.errors import LowshotError

    for broken in (torch.full((2, 4, 4, 4), float("nan")), None):
        decision_regions = [] if broken is None else [Region((slice(4), slice(4), slice(4)), broken)]
        scan = Scan("case", torch.randn(1, 4, 4, 4), np.eye(4))
        prepared = Preparation().apply(scan)
        names = Names(("background", "liver"), (0, 1))
        with pytest.raises(LowshotError, match=r"no \(finite\) score"):
            assemble(decision_regions, prepared, Preparation(), names)


def test_one_piece_leaves_of_a_structure_its_largest_and_tells_the_quality_of_that():
    labels = torch.tensor([1, 1, 0, 0, 1, 0]).view(6, 1, 1)
    probabilities = torch.where(labels == torch.arange(2).view(2, 1, 1, 1), 0.9, 0.1)
    preparation = Preparation()
    prepared = preparation.apply(Scan("case", torch.randn(1, 6, 1, 1), np.eye(4)))
    whole, cleaned = (
        assemble([Region(WHOLE, probabilities)], prepared, preparation, names(2), one_piece=one)
        for one in (False, True)
    )
    assert whole[0].flatten().tolist() == [1, 1, 0, 0, 1, 0]
    assert cleaned[0].flatten().tolist() == [1, 1, 0, 0, 0, 0]
    assert cleaned[1]["structure 1"].expected_dice == pytest.approx(2 * 1.8 / (3.0 + 2))


class Breaking(Preparation):
    """The third voxel is lost on the way back to the scan's grid."""

    def undo_labels(self, labels, prepared, margin=None):
        return labels.masked_fill(torch.arange(6).view(6, 1, 1) == 2, 0)


def test_one_piece_stays_one_where_a_bridge_is_gone_on_the_scans_own_grid():
    labels = torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.int16).view(6, 1, 1)
    given = prepared(Preparation(), (6, 1, 1), np.eye(4))
    found, _ = assemble([Region(WHOLE, labels)], given, Breaking(), names(2), one_piece=True)
    assert found.flatten().tolist() == [1, 1, 0, 0, 0, 0]


def test_dice_is_expected_by_what_is_judged_and_labels_are_decided_by_scores():
    """Two voxels: scores decide for class 1 in both, of which they are sure; judged, each is as likely as not."""
    sure = torch.tensor([[[[0.1]], [[0.2]]], [[[0.9]], [[0.8]]]])
    decision = decided([Region(WHOLE, sure, judged=torch.full_like(sure, 0.5))], 2, (2, 1, 1))
    assert decision.labels.flatten().tolist() == [1, 1]
    assert decision.margin().flatten().tolist() == pytest.approx([0.8, 0.6])
    found = decision.quality(names(2))["structure 1"]
    assert found.expected_dice == pytest.approx(2 * (0.5 + 0.5) / (1.0 + 2))  # by the scores 2 · 1.7 / 3.7
