import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from listening import Listening
from lowshot.errors import ChannelMismatch, EmptySupport
from lowshot.fewshot.base_slices import Images, read_base
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.task import LowShotTask
from lowshot.training.run import Run

AS_STORED = Preparation(None, None, "none", "none", (8, 6, None))
RUN = Run(device="cpu", precision="float32", memory_format="contiguous")
ABDOMEN, TRUNK = Names.of({1: "liver", 2: "spleen"}), Names.of({4: "lung", 7: "liver"})


def scan(name, names, boxes, *, slices=3, known=None, annotated=None, spacing=2.0):
    """Boxes by structure; the image counts the slices from 0."""
    affine = np.diag([1.0, 1.0, spacing, 1.0])
    labels = torch.zeros(8, 6, slices, dtype=torch.int16)
    for structure, box in boxes.items():
        labels[box] = names.index(structure)
    voxels = torch.arange(float(slices)).expand(1, 8, 6, slices)
    if known is not None:
        known = torch.tensor([k in known for k in range(slices)]).expand(8, 6, slices)
    return LabelledScan(Scan(name, voxels, affine), Segmentation(labels, names, affine), known, annotated)


FIRST = scan("first", ABDOMEN, {"liver": np.s_[:2, :3, :], "spleen": np.s_[4:, :, 1]})
SECOND = scan("second", TRUNK, {"lung": np.s_[:4, :, 0], "liver": np.s_[4:5, :, 1:]}, slices=2, spacing=5.0)


def read(*scans, preparation=AS_STORED):
    return read_base(scans, preparation, ("image",), RUN)


def test_slices_stand_scan_after_scan_in_the_order_of_the_third_axis():
    base = read(FIRST, SECOND)
    assert base.image[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert base.scan.tolist() == [0, 0, 0, 1, 1]
    assert base.spacing == ((1.0, 1.0, 2.0), (1.0, 1.0, 5.0))
    assert base.known.all()


def test_structures_have_one_table_by_name_whatever_their_values_are():
    base = read(FIRST, SECOND)
    assert base.structures == ("background", "liver", "spleen", "lung")
    for labelled, slices in ((FIRST, base.labels[:3]), (SECOND, base.labels[3:])):
        for name in labelled.truth.names.foreground:
            theirs = labelled.truth.labels == labelled.truth.names.index(name)
            assert (slices == base.structures.index(name)).equal(theirs.movedim(-1, 0))


def test_what_a_scan_does_not_name_nobody_looked_for_there():
    partly = scan("partly", ABDOMEN, {"liver": np.s_[:2]}, annotated=frozenset({"liver"}))
    assert read(FIRST, SECOND, partly).looked_for.tolist() == [
        [True, True, True, False],
        [True, True, False, True],
        [True, True, False, False],
    ]


def test_shares_are_of_the_whole_slice_and_unknown_where_nobody_looked():
    shares = read(FIRST, SECOND).shares()
    assert shares[1].tolist()[:3] == pytest.approx([18 / 48, 6 / 48, 24 / 48])
    assert shares[2].tolist()[:3] == pytest.approx([42 / 48, 6 / 48, 0])
    assert shares[3].tolist()[::3] == pytest.approx([24 / 48, 24 / 48])
    assert shares.isnan().tolist() == [[False] * 3 + [True]] * 3 + [[False, False, True, False]] * 2


def test_of_a_slice_of_which_nothing_is_known_no_share_is_known_and_no_label_is_kept():
    base = read(scan("hidden", ABDOMEN, {"liver": np.s_[:2, :3, :]}, known=(0, 2)))
    assert base.known.flatten(1).any(dim=1).tolist() == [True, False, True]
    assert not base.labels[1].any()
    assert base.shares()[1].isnan().all()
    assert base.shares()[0].tolist() == pytest.approx([42 / 48, 6 / 48, 0])


def test_unknown_pixels_of_a_known_slice_count_for_nothing():
    labelled = scan("partly", ABDOMEN, {"liver": np.s_[:4]}, known=(0, 1, 2))
    known = labelled.known.clone()
    known[2:, :, 0] = False
    base = read(LabelledScan(labelled.scan, labelled.truth, known))
    assert base.shares()[0].tolist() == pytest.approx([0, 12 / 48, 0])
    assert base.labels[0, :2].all()
    assert not base.labels[0, 2:].any()


def test_scans_with_slices_that_are_known_in_part_are_told():
    heard = Listening()
    whole, partly = (scan(name, ABDOMEN, {"liver": np.s_[:4]}, known=(0, 1)) for name in ("whole", "partly"))
    partly = replace(partly, known=partly.known.clone())
    partly.known[2:, :, 0] = False
    run = Run(device="cpu", precision="float32", memory_format="contiguous", progress=heard)
    read_base([FIRST, whole, partly], AS_STORED, ("image",), run)
    assert heard.warnings == ["partly: what is unknown within annotated slices counts as background in examples"]


def test_slices_are_stretched_in_their_plane_and_stay_as_many():
    base = read(FIRST, SECOND, preparation=Preparation("in-plane", None, "none", "zscore", (16, 12, None)))
    assert base.image.shape == (5, 1, 16, 12)
    assert base.known.all()
    assert float(base.image[:3].mean()) == pytest.approx(0, abs=1e-5)
    assert float(base.shares()[1, 2]) == pytest.approx(0.5, abs=0.05)


def test_a_scan_of_other_channels_is_refused_by_name():
    with pytest.raises(ChannelMismatch, match="first: has the channels image, other scans of the base T1"):
        read_base([FIRST], AS_STORED, ("T1",), RUN)


def test_images_alone_need_no_labels_and_a_pool_follows_the_base():
    task = LowShotTask(ABDOMEN, base=[scan("empty", ABDOMEN, {})], unlabelled=[FIRST.scan, SECOND.scan])
    assert [labelled.scan.name for labelled in Images(task)] == ["empty", "first", "second"]
    assert [labelled.scan.name for labelled in Images(task)[1:]] == ["first", "second"]
    base = read_base(Images(task), AS_STORED, ("image",), RUN, images_alone=True)
    assert base.scan.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert base.known.all()  # of their images all may be looked at
    assert not base.looked_for[1:, 1:].any()
    assert not base.labels.any()


def test_a_base_that_shows_nothing_is_refused():
    hidden = scan("hidden", ABDOMEN, {"liver": np.s_[:2, :, 1]}, known=(0, 2))
    for empty in (scan("empty", ABDOMEN, {}), hidden):
        with pytest.raises(EmptySupport, match="none of the 1 scans of the base shows a structure"):
            read(empty)


def test_shares_of_one_slice_add_up():
    assert math.isclose(float(read(FIRST).shares()[1].nansum()), 1.0, rel_tol=1e-6)


def test_slices_in_another_plane_are_refused_or_told():
    line = torch.zeros(8, 6, 3, dtype=torch.bool)
    line[3] = True
    with pytest.raises(EmptySupport, match="second: the annotated slice lies along axis 0"):
        read(FIRST, replace(scan("second", ABDOMEN, {"liver": np.s_[:]}), known=line))
    heard, coronal = Listening(), np.array([[1, 0, 0, 0], [0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    turned = replace(SECOND, scan=replace(SECOND.scan, affine=coronal), truth=replace(SECOND.truth, affine=coronal))
    run = Run(device="cpu", precision="float32", memory_format="contiguous", progress=heard)
    read_base([FIRST, turned], AS_STORED, ("image",), run)
    assert heard.warnings[0].startswith("second: its slices lie in another plane")
