from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.benchmarking.cases import Cases
from lowshot.errors import InputError
from lowshot.fewshot.base_slices import read_base
from lowshot.fewshot.episodes import Sampling, Shown, draw_pairs, draw_structures
from lowshot.imaging.digests import digest
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Segmentation
from lowshot.protocols.protocol import Fold, Layout
from lowshot.training.run import Run

NAMES = Names.of({1: "cavity", 2: "wall"})
FULL = {"a": (1, 3), "b": (), "c": (2,)}
"""Slices of each case that show both structures; another slice shows one."""


@pytest.fixture
def cases(tmp_path):
    for case, full in FULL.items():
        labels = torch.zeros(6, 6, 5, dtype=torch.int16)
        labels[1:3, :, 0] = 1
        for k in full:
            labels[1:3, :, k], labels[3:5, :, k] = 1, 2
        write_volume(torch.rand(1, 6, 6, 5), np.eye(4), tmp_path / "images" / f"{case}.nii.gz")
        write_segmentation(Segmentation(labels, NAMES, np.eye(4)), tmp_path / "labels" / f"{case}.nii.gz")
    (tmp_path / "names.txt").write_text("1 cavity\n2 wall\n")
    return Cases(tmp_path, Layout())


def test_of_one_of_several_series_in_a_folder_the_whole_folder_is_hashed(cases, tmp_path):
    (tmp_path / "cases.csv").write_text("name,image,labels\na,images#4,labels/a.nii.gz\n")
    found = Cases(tmp_path, Layout()).digests(["a"], labels=False)
    assert found == {"a image": digest(tmp_path / "images")}


def test_without_a_draw_all_of_the_support_teaches(cases):
    task = cases.task(Fold("f", ("a", "c"), ("b",)), seed=7)
    assert [each.scan.name for each in task.support] == ["a", "c"]
    assert all(each.known is None for each in task.support)


def test_the_seed_draws_some_of_the_support(cases):
    fold = Fold("f", ("a", "b", "c"), (), drawn=2)
    drawn = {tuple(each.scan.name for each in cases.task(fold, seed).support) for seed in range(20)}
    assert drawn == {("a", "b"), ("a", "c"), ("b", "c")}
    first, again = (cases.task(fold, 3) for _ in range(2))
    assert [each.scan.name for each in first.support] == [each.scan.name for each in again.support]


def test_the_seed_draws_one_slice_that_shows_every_structure(cases):
    fold = Fold("f", ("a", "b", "c"), (), unlabelled=("a", "b", "c"), one_slice=True)
    drawn = set()
    for seed in range(30):
        task = cases.task(fold, seed)
        (labelled,) = task.support
        slices = labelled.known.any(dim=0).any(dim=0).nonzero().flatten().tolist()
        assert labelled.known[..., slices].all()
        drawn.add((labelled.scan.name, *slices))
        assert [scan.name for scan in task.unlabelled] == [name for name in "abc" if name != labelled.scan.name]
    assert drawn == {("a", 1), ("a", 3), ("c", 2)}


def test_where_no_slice_shows_every_structure_one_that_shows_most_is_drawn(cases):
    labels = cases.query("b").truth.labels
    counts = [len(set(labels[..., k].flatten().tolist()) - {0}) for k in range(labels.shape[2])]
    for seed in range(10):
        (labelled,) = cases.task(Fold("f", ("b",), (), one_slice=True), seed).support
        (k,) = labelled.known.any(dim=0).any(dim=0).nonzero().flatten().tolist()
        assert counts[k] == max(counts) < len(cases.names) - 1


def test_where_no_slice_shows_any_structure_there_is_no_draw(cases):
    nothing = Segmentation(torch.zeros(6, 6, 5, dtype=torch.int16), NAMES, np.eye(4))
    write_segmentation(nothing, cases.folder / "labels" / "b.nii.gz")
    with pytest.raises(InputError, match="no slice of b shows any structure"):
        cases.task(Fold("f", ("b",), (), one_slice=True), seed=0)


ORGANS = Names.of({1: "liver", 2: "spleen", 4: "kidney"})
SHOWN = ({1}, {1, 3}, {3}, {2, 3}, {2}, {3}, set(), {1, 2, 3})
"""Which organs each slice of each case shows."""
PREPARATION = Preparation(None, None, "none", "none", (12, 8, None))
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
SETTING_1 = Fold("liver A", ("d",), ("e",), base=("a", "b", "c"), new="liver")
SETTING_2 = replace(SETTING_1, hidden=("liver", "spleen"))


@pytest.fixture(scope="module")
def organs(tmp_path_factory):
    """Every slice of every case has a grey value of its own, by which it is known again."""
    folder = tmp_path_factory.mktemp("organs")
    for number, case in enumerate("abcde"):
        labels = torch.zeros(12, 8, len(SHOWN), dtype=torch.int16)
        voxels = torch.empty(1, 12, 8, len(SHOWN))
        for k, shown in enumerate(SHOWN):
            voxels[..., k] = 100 * number + k
            for index in shown:
                labels[4 * index - 4 : 4 * index - 1, number : number + 3, k] = index
        write_volume(voxels, np.eye(4), folder / "images" / f"{case}.nii.gz")
        write_segmentation(Segmentation(labels, ORGANS, np.eye(4)), folder / "labels" / f"{case}.nii.gz")
    (folder / "names.txt").write_text("1 liver\n2 spleen\n4 kidney\n")
    return Cases(folder, Layout())


def test_the_new_structure_is_in_the_support_alone_and_the_others_in_the_base_alone(organs):
    task = organs.task(SETTING_1, seed=0)
    assert task.names == Names(("background", "liver"), (0, 1))
    assert [each.scan.name for each in task.support] == ["d"]
    assert task.support[0].truth.labels.sum() == 3 * 9
    assert [each.scan.name for each in task.base] == ["a", "b", "c"]
    for labelled in task.base:
        assert labelled.truth.names.foreground == ("spleen", "kidney")
        assert labelled.known is None
    assert [each.truth.names.foreground for each in organs.task(SETTING_2, seed=0).base] == [("kidney",)] * 3


def test_of_a_query_the_new_structure_alone_is_scored(organs):
    assert organs.query("e", "liver").truth.names.foreground == ("liver",)
    assert organs.query("e").truth.names == ORGANS


def test_where_a_structure_is_hidden_no_slice_that_shows_it_is_known(organs):
    for labelled in organs.task(SETTING_2, seed=0).base:
        known = labelled.known.flatten(0, 1).all(dim=0)
        assert known.tolist() == [not shown & {1, 2} for shown in SHOWN]


def episodes(organs, fold):
    """Hundreds of them, by both ways of drawing, with the true labels of every slice: (image, mask, truth)."""
    truth = {
        100 * number + k: organs.query(case).truth.labels[..., k]
        for number, case in enumerate("abcde")
        for k in range(len(SHOWN))
    }
    shown = Shown(read_base(organs.task(fold, seed=0).base, PREPARATION, ("image",), RUN), 0.005)
    sampling = Sampling(tasks=2, shots=2)
    for step in range(150):
        for draw in (draw_structures, draw_pairs):
            drawn = draw(shown, sampling, RUN, step, RUN.generator("draw", step))
            images = torch.cat([drawn.support.flatten(0, 1), drawn.query])
            masks = torch.cat([drawn.masks.flatten(0, 1), drawn.truth])
            for image, mask in zip(images, masks, strict=True):
                yield image, mask, truth[int(image[0, 0, 0])]


def test_the_new_structure_is_never_asked_for(organs):
    count, seen = 0, set()
    for image, mask, truth in episodes(organs, SETTING_1):
        assert mask.any()
        assert not mask[truth == 1].any()
        seen.add(int(image[0, 0, 0]))
        count += 1
    assert count > 1000
    assert seen == {100 * n + k for n in range(3) for k, shown in enumerate(SHOWN) if shown & {2, 3}}


def test_a_slice_that_shows_the_new_structure_or_its_group_is_never_drawn_where_they_are_hidden(organs):
    seen = set()
    for image, mask, truth in episodes(organs, SETTING_2):
        assert not set(truth.flatten().tolist()) & {1, 2}
        assert mask.equal((truth == 3).float())
        seen.add(int(image[0, 0, 0]))
    assert seen == {100 * n + k for n in range(3) for k, shown in enumerate(SHOWN) if shown == {3}}
