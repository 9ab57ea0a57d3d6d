import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from listening import Listening
from lowshot.contract import Adapted, Embeds, Learner, State
from lowshot.errors import ChannelMismatch, EmptySupport, GridMismatch
from lowshot.fewshot import examples
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.few_shot_model import FewShotLearner, FewShotModel, Knowledge, restore
from lowshot.inference.predict import predict
from lowshot.nn.prototypes import enlarged
from lowshot.training.run import Run

SIZE = (24, 20)
AS_STORED = Preparation(None, None, "none", "none", (*SIZE, None))
NAMES, BOTH = Names.of({3: "organ"}), Names.of({3: "organ", 8: "other"})
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
CHUNKS = PairingOptions(pairing="chunks")
DOWN = np.diag([1.0, 1.0, -4.0, 1.0])
UP = np.diag([1.0, 1.0, 4.0, 1.0])


class Copy(nn.Module):
    """Copies what most supports mark, the surer the brighter they are, and remembers how it was asked."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))
        self.asked = []

    def forward(self, support, masks, query):
        if not query.is_meta:
            self.asked.append((tuple(support.shape), tuple(query.shape)))
        sure = support.abs().mean(dim=(1, 2, 3, 4))[:, None, None]
        return (self.gain * sure * (2 * masks.mean(dim=1) - 1)).expand(len(query), -1, -1)


def labelled(rows, *, slices=14, names=NAMES, index=1, affine=UP, grey=1.0, known=None, annotated=None):
    """``rows`` says for some slices how many of its rows the structure covers: a slice is known again by it."""
    labels = torch.zeros(*SIZE, slices, dtype=torch.int16)
    for k, count in rows.items():
        labels[:count, :, k] = index
    if known is not None:
        known = torch.tensor([k in known for k in range(slices)]).expand(*SIZE, slices)
    scan = Scan("annotated", torch.full((1, *SIZE, slices), grey), affine)
    return LabelledScan(scan, Segmentation(labels, names, affine), known, annotated)


def query(slices, affine=UP):
    voxels = torch.rand(1, *SIZE, slices, generator=torch.Generator().manual_seed(0))
    return Scan("query", voxels, affine)


def learner(preparation=AS_STORED):
    return FewShotLearner(Copy(), Knowledge(("image",), preparation, ("another",)))


def model(*support, preparation=AS_STORED):
    return learner(preparation).adapt(support, support[0].truth.names, RUN)


def found(made, scan, options):
    return predict(made, scan, RUN, options).segmentation.labels


def rows_of(labels, index=1):
    """How many rows the structure covers, slice by slice."""
    return (labels == index).all(dim=1).sum(dim=0).tolist()


def laid(monkeypatch, matrix):
    monkeypatch.setattr(examples, "lay", lambda query, example: matrix)


def shift(*by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


TWELVE = {k: k + 2 for k in range(1, 13)}


def test_a_learner_with_an_example_is_a_model_that_can_be_given_another():
    assert isinstance(learner(), Learner)
    made = model(labelled(TWELVE))
    assert isinstance(made, Adapted)
    assert rows_of(found(made.learner.adapt([labelled({5: 9})], NAMES, RUN), query(2), CHUNKS)) == [9, 9]


@pytest.mark.parametrize(("form", "slices"), [("clean", [3, 3, 7, 7, 11, 11, 11]), ("legacy", [3, 3, 3, 7, 7, 7, 10])])
def test_in_a_granted_range_the_middle_slice_of_a_chunk_is_the_example(form, slices):
    """Twelve annotated slices, from the second on, and seven that are segmented."""
    options = replace(CHUNKS, chunk_form=form)
    assert rows_of(found(model(labelled(TWELVE)), query(7), options)) == [k + 2 for k in slices]


def test_scans_that_run_in_different_directions_are_paired_as_they_lie():
    made = model(labelled(TWELVE))
    assert rows_of(found(made, query(7, DOWN), CHUNKS)) == [13, 13, 13, 9, 9, 5, 5]
    in_plane = model(labelled(TWELVE), preparation=replace(AS_STORED, orientation="in-plane"))
    assert rows_of(found(in_plane, query(7, DOWN), CHUNKS)) == [13, 13, 13, 9, 9, 5, 5]


def test_slices_with_a_few_pixels_are_no_examples_unless_there_are_none_with_more():
    few = labelled(TWELVE)
    few.truth.labels[..., 1] = 0
    few.truth.labels[0, :10, 1] = 1  # ten pixels, not more
    assert rows_of(found(model(few), query(1), CHUNKS)) == [9]  # slice 7: the middle of eleven from 2 on
    small = labelled({})
    small.truth.labels[4, 3:9, 5:8] = 1
    copied = found(model(small), query(3), CHUNKS)
    assert all(each.equal(small.truth.labels[..., 6]) for each in copied.unbind(-1))


def test_in_a_whole_volume_it_ends_at_slices_that_are_known_to_lack_it(monkeypatch):
    laid(monkeypatch, np.eye(4))
    made = model(labelled({5: 6, 6: 6, 7: 6}))
    exact = rows_of(found(made, query(14), PairingOptions(reach=0.0)))
    assert exact == [0] * 4 + [6] * 5 + [0] * 5
    assert rows_of(found(made, query(14), PairingOptions(reach=0.5))) == [0] * 3 + [6] * 7 + [0] * 4


def test_of_one_annotated_slice_it_may_be_anywhere(monkeypatch):
    laid(monkeypatch, np.eye(4))
    made = model(labelled({5: 6}, known=(5,)))
    assert rows_of(found(made, query(14), PairingOptions())) == [6] * 14
    partly = model(labelled({5: 6}, known=(2, 5)))
    assert rows_of(found(partly, query(14), PairingOptions())) == [0] * 2 + [6] * 12


def test_slices_that_nobody_looked_at_for_it_do_not_end_it(monkeypatch):
    laid(monkeypatch, np.eye(4))
    organ = labelled({5: 6}, names=BOTH, annotated=frozenset({"organ"}))
    other = labelled({9: 4}, names=BOTH, index=2, annotated=frozenset({"other"}), known=(9,))
    labels = found(model(organ, other), query(14), PairingOptions())
    assert rows_of(labels, 1)[:4] == [0] * 4
    assert rows_of(labels, 2)[:4] == [4] * 4


def test_examples_are_moved_to_where_they_lie(monkeypatch):
    """Row x of the query is row x + 3 of the example, and slice k is slice k + 1."""
    laid(monkeypatch, shift(3, 0, 1))
    made = model(labelled({5: 9, 6: 9, 7: 9}))
    moved = rows_of(found(made, query(14), PairingOptions(reach=0.0)))
    assert moved == [0] * 3 + [6] * 5 + [0] * 6
    still = rows_of(found(made, query(14), PairingOptions(reach=0.0, laid=False)))
    assert still == [0] * 3 + [9] * 5 + [0] * 6


@pytest.mark.parametrize(("prior", "rows"), [(1.0, 9), (0.0, 0)])
def test_what_the_network_does_not_tell_is_where_laid_examples_mark_it(monkeypatch, prior, rows):
    laid(monkeypatch, np.eye(4))
    made = model(labelled(dict.fromkeys(range(14), 9)))
    made.learner.network.gain.data.zero_()
    assert rows_of(found(made, query(3), PairingOptions(prior=prior))) == [rows] * 3


@pytest.mark.parametrize("options", [PairingOptions(), CHUNKS])
def test_a_single_picture_is_an_example_for_a_single_picture(options):
    picture = labelled({0: 7}, slices=1)
    assert rows_of(found(model(picture), query(1), options)) == [7]
    assert rows_of(found(model(picture), query(5), options)) == [7] * 5


def test_every_annotated_scan_gives_examples(monkeypatch):
    laid(monkeypatch, None)
    one, two, three = (labelled({5: rows}) for rows in (4, 10, 12))
    made = model(one, two, three)
    assert rows_of(found(made, query(3), PairingOptions())) == [10] * 3  # what two of three mark
    assert made.learner.network.asked == [((1, 3, 1, *SIZE), (3, 1, *SIZE))]


def test_a_structure_that_one_scan_alone_shows_is_found_by_that_one(monkeypatch):
    laid(monkeypatch, None)
    organ, other = labelled({5: 4}, names=BOTH), labelled({2: 9}, names=BOTH, index=2)
    made = model(organ, other)
    found(made, query(2), PairingOptions())
    assert [support[:2] for support, _ in made.learner.network.asked] == [(1, 1), (1, 1)]


def test_of_several_structures_the_one_with_the_larger_logit_wins(monkeypatch):
    laid(monkeypatch, None)
    dark = labelled({5: 12}, names=BOTH, grey=0.5)
    bright = labelled({5: 6}, names=BOTH, index=2)
    made = model(dark, bright)
    labels = found(made, query(2), PairingOptions())
    assert rows_of(labels, 2) == [6, 6]
    assert rows_of(labels, 1) == [6, 6]  # of twelve, less what the other has won
    prepared = AS_STORED.apply(query(2))
    (region,) = made.regions(prepared, RUN, PairingOptions())
    torch.testing.assert_close(region.scores.sum(dim=0), torch.ones(*SIZE, 2))
    logits = torch.tensor([0.0, 4.0, 8.0])
    torch.testing.assert_close(region.scores[:, 0, 0, 0], logits.softmax(dim=0))


@pytest.mark.parametrize("options", [PairingOptions(), CHUNKS])
def test_a_few_slices_at_a_time_are_as_good_as_all(monkeypatch, options):
    laid(monkeypatch, shift(2, 1, 0))
    made, scan = model(labelled(TWELVE), labelled({4: 5, 5: 6})), query(11)
    whole = found(made, scan, options)
    for count in (1, 4, 50):
        assert found(made, scan, replace(options, slices_at_once=count)).equal(whole)
    prepared = AS_STORED.apply(scan)
    covered = torch.zeros(11)
    for region in made.regions(prepared, RUN, replace(options, slices_at_once=4)):
        covered[region.slices[2]] += 1
    assert covered.tolist() == [1] * 11


def test_memory_grows_with_the_slices_at_once_and_no_further_than_the_scan(monkeypatch):
    made = model(labelled(TWELVE))
    monkeypatch.setattr("lowshot.inference.few_shot_model.laying_bytes", lambda query, example: 0)
    needed = [made.working_memory((*SIZE, 5), RUN, PairingOptions(slices_at_once=n)) for n in (1, 5, 50)]
    assert needed[0] < needed[1] == needed[2]


def test_what_is_unknown_within_an_annotated_slice_is_told_to_count_as_background():
    heard = Listening()
    run = Run(device="cpu", precision="float32", memory_format="contiguous", progress=heard)
    one_slice = labelled({5: 8}, known=[5])
    learner().adapt([one_slice], NAMES, run)
    assert heard.warnings == []  # other slices are examples of nothing
    rim = one_slice.known.clone()
    rim[:2, :, 5] = False
    learner().adapt([replace(one_slice, known=rim)], NAMES, run)
    assert heard.warnings == ["annotated: what is unknown within annotated slices counts as background in examples"]


def test_a_structure_without_an_example_is_refused_by_name():
    with pytest.raises(EmptySupport, match="annotated: shows no other, so there is no example"):
        model(labelled(TWELVE, names=BOTH))
    with pytest.raises(EmptySupport, match="shows no organ"):
        model(labelled({5: 6}, known=(2,)))


def test_a_structure_that_is_lost_in_smaller_slices_is_not_called_unannotated():
    small = labelled(TWELVE)
    small.truth.labels.zero_()[3, 3, 5] = 1
    with pytest.raises(EmptySupport, match="annotated: organ is too small to be seen in slices of 6×5 pixels"):
        model(small, preparation=Preparation(None, None, "none", "none", (6, 5, None)))


def test_scans_that_do_not_belong_together_are_refused():
    one = labelled(TWELVE)
    other = replace(one, scan=replace(one.scan, channels=("T1",)))
    with pytest.raises(ChannelMismatch, match="channels T1, what was learned from has image"):
        model(other)
    picture = replace(one, scan=replace(one.scan, spacing_known=False))
    with pytest.raises(GridMismatch, match="voxel size"):
        model(one, picture)


def again(state):
    header, tensors = state
    return restore(lambda channels: Copy(), State(json.loads(json.dumps(header)), tensors))


def test_learner_and_model_are_rebuilt_from_their_states(monkeypatch):
    laid(monkeypatch, shift(2, 0, 0))
    made = model(labelled(TWELVE, names=BOTH, known=range(6)), labelled({3: 4}, names=BOTH, index=2))
    made.learner.network.gain.data.mul_(0.7)
    rebuilt = again(made.state())
    assert isinstance(rebuilt, FewShotModel)
    assert (rebuilt.names, rebuilt.channels, rebuilt.preparation) == (BOTH, ("image",), AS_STORED)
    assert found(rebuilt, query(9), PairingOptions()).equal(found(made, query(9), PairingOptions()))
    alone = again(made.learner.state())
    assert isinstance(alone, FewShotLearner)
    assert alone.knowledge == made.learner.knowledge
    assert alone.network.gain.equal(made.learner.network.gain)
    assert not alone.network.training


class Compare(Copy):
    """Copies, and has a feature for each of three grey values of a cell of 4 × 4 pixels."""

    def features(self, image):
        self.asked.append(len(image))
        cells = nn.functional.avg_pool2d(image, 4)
        return torch.cat([cells, cells**2, 1 - cells], dim=1)


@pytest.fixture
def comparing():
    return FewShotLearner(Compare(), Knowledge(("image",), AS_STORED, ("another",))).adapt(
        [labelled(TWELVE)], NAMES, RUN
    )


def pixels(count, slices=9):
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(size, (count,), generator=generator) for size in (*SIZE, slices)], dim=1)


def test_a_model_whose_network_compares_features_shows_them_at_every_pixel(comparing):
    assert isinstance(comparing, Embeds)
    prepared, voxels = AS_STORED.apply(query(9)), pixels(300)
    maps = enlarged(comparing.learner.network.features(prepared.voxels.movedim(-1, 0)), SIZE)
    expected = torch.stack([maps[k, :, i, j] for i, j, k in voxels.tolist()])
    torch.testing.assert_close(comparing.embeddings(prepared, RUN, PairingOptions(), voxels), expected)


def test_slices_that_hold_a_voxel_are_looked_at_once_and_few_at_a_time(comparing):
    prepared, voxels = AS_STORED.apply(query(9)), torch.tensor([[3, 4, 8], [0, 0, 2], [23, 19, 5], [1, 1, 2]])
    options = PairingOptions(slices_at_once=2)
    found = comparing.embeddings(prepared, RUN, options, voxels)
    assert comparing.learner.network.asked == [2, 1]
    torch.testing.assert_close(found, comparing.embeddings(prepared, RUN, PairingOptions(), voxels))


@pytest.mark.parametrize("outside", [(24, 0, 0), (0, 20, 0), (0, 0, -1)])
def test_a_voxel_outside_is_refused(comparing, outside):
    with pytest.raises(ValueError, match="outside of a grid of"):
        comparing.embeddings(AS_STORED.apply(query(9)), RUN, PairingOptions(), torch.tensor([[0, 0, 0], outside]))


def test_what_shows_features_does_so_after_it_was_stored_and_what_has_none_does_not(comparing):
    header, tensors = comparing.state()
    restored = restore(lambda channels: Compare(), State(json.loads(json.dumps(header)), tensors))
    prepared, voxels = AS_STORED.apply(query(9)), pixels(20)
    same = [each.embeddings(prepared, RUN, PairingOptions(), voxels) for each in (comparing, restored)]
    assert same[0].equal(same[1])
    assert not isinstance(model(labelled(TWELVE)), Embeds)


def test_an_example_that_is_annotated_across_its_slices_is_refused():
    line = torch.zeros(*SIZE, 14, dtype=torch.bool)
    line[3] = True
    with pytest.raises(EmptySupport, match="annotated: the annotated slice lies along axis 0"):
        learner().adapt([replace(labelled(dict.fromkeys(range(14), 8)), known=line)], NAMES, RUN)


def test_memory_of_chunks_grows_with_the_annotated_scans(monkeypatch):
    one, three = model(labelled(TWELVE)), model(*[labelled(TWELVE)] * 3)
    shapes = []
    monkeypatch.setattr(
        "lowshot.inference.few_shot_model.activation_bytes", lambda network, inputs: shapes.append(inputs[0].shape) or 0
    )
    for made in (one, three):
        made.working_memory((*SIZE, 5), RUN, CHUNKS)
    assert [tuple(shape[:2]) for shape in shapes] == [(1, 1), (1, 3)]
