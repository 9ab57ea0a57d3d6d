from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.benchmarking.new_structure import (
    cut,
    granted_range,
    only,
    slices_of,
    within,
    without,
    without_slices_of,
)
from lowshot.errors import InputError, UnknownLabel
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

NAMES = Names.of({2: "liver", 5: "spleen", 9: "kidney"}, background=-1)
AFFINE = np.array([[0.0, 2, 0, 5], [-2, 0, 0, 7], [0, 0, 3, -9], [0, 0, 0, 1]])
IN_PLANE = Preparation("in-plane", None, "none", "zscore", (12, 20, None))


def labelled(affine=AFFINE):
    """Liver in slices 1 to 3, spleen in 3 and 5, kidney nowhere; the image grows brighter from slice to slice."""
    labels = torch.zeros(6, 10, 7, dtype=torch.int16)
    labels[:3, :, 1:4] = 1
    labels[4:, :, 3], labels[4:, :, 5] = 2, 2
    voxels = torch.rand(1, 6, 10, 7, generator=torch.Generator().manual_seed(0)) + 3 * torch.arange(7.0)
    return LabelledScan(Scan("case", voxels, affine), Segmentation(labels, NAMES, affine))


def test_only_one_structure_is_left_with_its_value():
    made = only(labelled(), "spleen")
    assert made.truth.names == Names(("background", "spleen"), (-1, 5))
    assert made.truth.labels.equal((labelled().truth.labels == 2).to(torch.int16))
    assert made.annotated is None


def test_without_a_structure_it_is_background_and_nobody_looked_for_it():
    made = without(labelled(), ["liver"])
    assert made.truth.names == Names(("background", "spleen", "kidney"), (-1, 5, 9))
    assert made.truth.labels.equal((labelled().truth.labels == 2).to(torch.int16))
    assert made.known is None
    both = without(labelled(), {"liver", "spleen"})
    assert both.truth.names.foreground == ("kidney",)
    assert not both.truth.labels.any()


def test_slices_that_show_any_of_the_structures_become_unknown():
    def known(made):
        return made.known.flatten(0, 1).all(dim=0).tolist()

    assert known(without_slices_of(labelled(), ("liver",))) == [True, False, False, False, True, True, True]
    assert known(without_slices_of(labelled(), ("liver", "spleen"))) == [True, *[False] * 3, True, False, True]
    assert all(known(without_slices_of(labelled(), ("kidney",))))
    assert without_slices_of(labelled(), ()).known is None


def test_what_was_unknown_before_stays_unknown():
    partly = torch.ones(6, 10, 7, dtype=torch.bool)
    partly[2, 3, 4] = False
    made = without_slices_of(replace(labelled(), known=partly), ("liver",))
    assert made.known.sum() == 4 * 60 - 1
    assert not made.known[2, 3, 4]


def test_a_structure_that_does_not_exist_is_refused():
    for wrong in (lambda: only(labelled(), "lung"), lambda: without(labelled(), ["lung"])):
        with pytest.raises(UnknownLabel, match="lung"):
            wrong()


def test_the_granted_range_goes_from_the_first_to_the_last_slice_whatever_lies_between():
    assert slices_of(labelled(), "spleen").nonzero().flatten().tolist() == [3, 5]
    assert granted_range(labelled(), "spleen") == slice(3, 6)
    assert granted_range(only(labelled(), "liver"), "liver") == slice(1, 4)
    with pytest.raises(InputError, match="case: shows no kidney"):
        granted_range(labelled(), "kidney")


def test_a_slice_with_too_few_pixels_is_not_in_the_granted_range():
    given = labelled()
    given.truth.labels[:2, 0, 5:] = 1  # two pixels more of liver, in slices 5 and 6
    assert granted_range(given, "liver") == slice(1, 7)
    assert granted_range(given, "liver", above=2) == slice(1, 4)
    with pytest.raises(InputError, match="shows no liver in more than 30 pixels of a slice"):
        granted_range(given, "liver", above=30)


def test_beyond_a_range_nothing_is_known_nor_what_was_unknown_within():
    partly = torch.ones(6, 10, 7, dtype=torch.bool)
    partly[2, 3, 4] = False
    for given, expected in ((labelled(), 180), (replace(labelled(), known=partly), 179)):
        known = within(given, slice(2, 5)).known
        assert known.sum() == expected
        assert known[..., 2:5].sum() == expected


@pytest.mark.parametrize("down", [False, True])
def test_a_cut_scan_looks_as_it_did_and_lies_where_it_lay(down):
    """Its grey values are scaled as those of the whole scan are, also where the file runs down the body."""
    affine = AFFINE @ np.diag([1.0, 1, -1 if down else 1, 1])
    scan = labelled(affine).scan
    whole = IN_PLANE.apply(scan)
    part = cut(whole, slice(1, 4))
    seen = slice(3, 6) if down else slice(1, 4)  # prepared slices always run up
    assert part.voxels.equal(whole.voxels[..., seen])
    assert part.grid.shape == (12, 20, 3)
    corner = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(part.grid.affine @ corner, whole.grid.affine @ np.array([0, 0, seen.start, 1]))
    assert (part.name, part.scan_grid, part.spacing_known) == (whole.name, whole.scan_grid, whole.spacing_known)


@pytest.mark.parametrize("down", [False, True])
def test_what_is_found_in_a_cut_scan_comes_back_to_its_slices_alone(down):
    scan = labelled(AFFINE @ np.diag([1.0, 1, -1 if down else 1, 1])).scan
    part = cut(IN_PLANE.apply(scan), slice(1, 4))
    labels = torch.ones(part.grid.shape, dtype=torch.int16)
    labels[..., -1 if down else 0] = 2
    back = IN_PLANE.undo_labels(labels, part, torch.ones(part.grid.shape))
    assert [sorted(set(each.flatten().tolist())) for each in back.unbind(-1)] == [[0], [2], [1], [1], [0], [0], [0]]


def test_a_single_picture_is_cut_to_itself():
    flat = Scan("flat", torch.rand(1, 6, 10, 1), np.eye(4), spacing_known=False)
    assert cut(IN_PLANE.apply(flat), slice(0, 1)).voxels.shape == (1, 12, 20, 1)


def test_a_body_that_was_cropped_beforehand_is_cut_to_what_is_left():
    scan = labelled().scan
    scan.voxels[..., :2] = 0  # no body there
    whole = Preparation("in-plane", None, "foreground", "none", (12, 20, None)).apply(scan)
    first = round(whole.axis_map.start[2])
    part = cut(whole, slice(0, 5))
    assert part.voxels.equal(whole.voxels[..., : 5 - first])
    assert part.axis_map.start[2] == first


def test_slices_that_are_not_seen_one_for_one_cannot_be_granted():
    for preparation in (Preparation(None, (2.0, 2.0, 1.0)), Preparation(None, None, (4, 4, 2))):
        with pytest.raises(InputError, match="none can be granted"):
            cut(preparation.apply(labelled().scan), slice(0, 1))
