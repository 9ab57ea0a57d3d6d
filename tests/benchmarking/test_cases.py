import numpy as np
import pytest
import torch

from lowshot.benchmarking.cases import Cases
from lowshot.errors import InputError
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation
from lowshot.protocols.protocol import Fold, Layout

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


def test_where_no_slice_shows_every_structure_there_is_no_draw(cases):
    with pytest.raises(InputError, match="no slice of b shows all structures"):
        cases.task(Fold("f", ("b",), (), one_slice=True), seed=0)
