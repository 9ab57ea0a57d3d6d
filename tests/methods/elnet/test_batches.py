from dataclasses import replace

import pytest
import torch
from torch import nn

from lowshot.methods.elnet.batches import Drawing, Sources, draw, following_slices, pseudo_labels, synthetic
from lowshot.training.run import Run
from lowshot.transforms.levels import AUGMENTATION
from lowshot.transforms.slices import Slices, sample_slices, unlabelled
from lowshot.transforms.synthesis import Synthesis

RUN = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)


def exemplars(count=2):
    labels = torch.zeros(count, 16, 16, dtype=torch.int16)
    labels[:, 4:8, 4:12], labels[:, 8:12, 4:12] = 1, 2
    return Slices(labels[:, None].float(), labels, torch.ones_like(labels, dtype=torch.bool))


def sources(pool=None):
    return Sources(exemplars(), torch.rand(3, 1, 16, 16), 40 + torch.rand(5, 1, 16, 16), pool)


def drawing(level="none", pseudo=0):
    return Drawing(2, 3, pseudo, Synthesis(), AUGMENTATION[level])


def at(step):
    return torch.Generator().manual_seed(step)


def test_a_batch_is_exemplars_then_synthetic_then_pseudo_labelled():
    pool = Slices(
        torch.full((4, 1, 16, 16), 7.0), torch.ones(4, 16, 16, dtype=torch.int16), torch.ones(4, 16, 16).bool()
    )
    batch = draw(sources(pool), drawing(pseudo=2), RUN, 0, at(0))
    assert batch.counts == (2, 3, 2)
    assert len(batch.slices.image) == 7
    assert batch.slices.image[:2].equal(exemplars().image)
    assert (batch.slices.image[5:] == 7).all()
    assert (batch.slices.labels[5:] == 1).all()


def test_the_first_stage_has_no_pool():
    batch = draw(sources(), drawing(), RUN, 0, at(0))
    assert batch.counts == (2, 3, 0)
    assert len(batch.plain_pool) == 0


def test_a_batch_is_a_function_of_its_generator():
    first, again, other = (draw(sources(), drawing("wide"), RUN, 0, at(step)) for step in (1, 1, 2))
    assert first.slices.image[:2].equal(again.slices.image[:2])
    assert not first.slices.image[:2].equal(other.slices.image[:2])
    assert torch.rand(3, generator=first.draws).equal(torch.rand(3, generator=again.draws))


def test_a_teacher_sees_slices_before_they_are_moved_and_toned():
    pool = unlabelled(torch.rand(6, 1, 16, 16))
    turned = draw(sources(pool), drawing("turns", pseudo=2), RUN, 0, at(0))
    assert all((pool.image == shown).flatten(1).all(dim=1).any() for shown in turned.plain_pool)
    assert turned.slices.image[5:].equal(sample_slices(turned.plain_pool, turned.places, "bilinear"))
    wide = draw(sources(pool), drawing("wide", pseudo=2), RUN, 0, at(0))
    assert not wide.slices.image[5:].equal(sample_slices(wide.plain_pool, wide.places, "bilinear"))


def test_exemplars_take_the_grey_values_of_the_pool():
    """The pool's lie at 40, the exemplars' at 0 to 2; the amount is drawn for each."""
    wanted = replace(drawing(), exemplars=50, synthetic=50, synthesis=Synthesis(black=1.0), looks=0.5)
    batch = draw(sources(), wanted, RUN, 0, at(0))
    brightest = batch.slices.image.amax((1, 2, 3))
    for part in brightest.split(50):
        assert 0.25 < float((part > 5).float().mean()) < 0.65
    assert batch.slices.labels[:50].equal(exemplars(50).labels)


def test_a_structure_of_exemplars_and_of_what_is_cut_out_changes_its_size():
    still = Synthesis(black=1.0, exemplar_intensity=False, exemplar_geometry=False)
    wanted = replace(drawing(), exemplars=60, synthetic=60, synthesis=still, swellings=1)
    batch = draw(sources(), wanted, RUN, 0, at(0))
    changed = (batch.slices.labels != exemplars(1).labels).flatten(1).any(dim=1)
    for part in changed.split(60):
        assert float(part.float().mean()) > 0.4  # a little larger is no other pixel


@pytest.mark.parametrize("changes", [{"swellings": 1}, {"looks": 1.0}, {}])
def test_of_many_annotated_slices_only_those_that_show_something_are_cut_out(changes):
    every = exemplars(20)
    every.labels[1:] = 0
    wanted = replace(drawing(), synthetic=1, **changes)
    for step in range(20):
        made = synthetic(replace(sources(), exemplars=every), wanted, at(step))
        assert (made.labels > 0).any()


def test_what_vanishes_as_it_shrinks_is_cut_out_as_it_was(monkeypatch):
    def vanished(slices, generator):
        return slices._replace(labels=torch.zeros_like(slices.labels))

    monkeypatch.setattr("lowshot.methods.elnet.batches.swollen", vanished)
    assert (synthetic(sources(), replace(drawing(), swellings=1), at(0)).labels > 0).any()


def test_finished_synthetic_slices_vary_when_asked():
    still = replace(drawing(), synthesis=Synthesis(black=1.0, exemplar_intensity=False, exemplar_geometry=False))
    made = synthetic(sources(), still, at(0))
    assert made.image.equal(exemplars(3).image)
    bent = synthetic(sources(), replace(still, synthetic_augmentation=AUGMENTATION["wide"]), at(0))
    assert not bent.labels.equal(made.labels)


def test_slices_that_follow_are_moved_like_those_before_them():
    image = torch.rand(4, 1, 16, 16)
    image[1], image[3] = image[0] + 5, image[2] + 5
    pooled = replace(sources(unlabelled(image)), following=following_slices([2, 2]))
    wanted = replace(drawing("turns", pseudo=3), neighbours=True)
    batch = draw(pooled, wanted, RUN, 0, at(3))
    before = sample_slices(batch.plain_pool, batch.places, "bilinear")
    assert torch.allclose((batch.following - before).abs(), torch.tensor(5.0), atol=1e-4)
    assert not len(draw(pooled, drawing("turns", pseudo=3), RUN, 0, at(3)).following)


def test_the_last_slice_of_a_scan_is_followed_by_the_one_before_it():
    assert following_slices([3, 1, 2]).tolist() == [1, 2, 1, 3, 5, 4]
    assert following_slices([]).tolist() == []


class Thresholds(nn.Module):
    """Sure of bright pixels, less so of dark ones."""

    def forward(self, image):
        return torch.cat([-image, image], dim=1)


def test_pseudo_labels_are_known_where_the_network_is_sure():
    image = torch.tensor([3.0, 0.1, -0.1, -3.0]).view(1, 1, 2, 2).repeat(9, 1, 1, 1)
    found = pseudo_labels(Thresholds(), image, 0.9, 0.0, RUN)
    assert found["labels"][8].tolist() == [[1, 1], [0, 0]]
    assert found["known"][8].tolist() == [[True, False], [False, True]]
    assert pseudo_labels(Thresholds(), image, 0.0, 0.0, RUN)["known"].all()
    strict = pseudo_labels(Thresholds(), image, 0.5, 0.99999, RUN)["known"]
    assert strict[8].tolist() == [[True, True], [False, False]]
