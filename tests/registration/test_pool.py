from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.studies import subject
from listening import Listening
from lowshot.errors import BadVoxels, ChannelMismatch
from lowshot.imaging.preparation import Preparation
from lowshot.registration import pool
from lowshot.registration.affine import Picture, centred
from lowshot.registration.pool import aligned
from lowshot.training.run import Run

PREPARATION = Preparation("RAS", None, "foreground", "percentiles")
SCANS = [subject(seed).scan for seed in (5, 6)]


def picture(scan):
    prepared = PREPARATION.apply(scan)
    return Picture.of(prepared.name, prepared.voxels, prepared.grid)


ATLAS = picture(subject(0).scan)


def test_without_an_alignment_bodies_are_laid_centre_upon_centre():
    found = list(aligned(SCANS, ("image",), PREPARATION, ATLAS, False, Run(device="cpu")))
    assert [each.name for each, _ in found] == ["subject 5", "subject 6"]
    for (laid, world), scan in zip(found, SCANS, strict=True):
        assert torch.equal(laid.voxels, picture(scan).voxels)
        np.testing.assert_array_equal(world, centred(picture(scan), ATLAS))


def test_no_alignment_is_found_twice(tmp_path, monkeypatch):
    def found(query, atlas):
        assert atlas is ATLAS
        return np.diag([float(query.name[-1])] * 3 + [1.0])

    def worlds():
        return [
            world
            for _, world in aligned(SCANS, ("image",), PREPARATION, ATLAS, True, Run(device="cpu", folder=tmp_path))
        ]

    monkeypatch.setattr(pool, "align", found)
    first = worlds()
    monkeypatch.setattr(pool, "align", None)
    np.testing.assert_array_equal(worlds(), first)
    assert [world[0, 0] for world in first] == [5.0, 6.0]


def test_each_scan_is_prepared_once(monkeypatch):
    prepared, apply = [], Preparation.apply
    monkeypatch.setattr(Preparation, "apply", lambda self, scan: (prepared.append(scan.name), apply(self, scan))[1])
    list(aligned(SCANS, ("image",), PREPARATION, ATLAS, False, Run(device="cpu")))
    assert prepared == ["subject 5", "subject 6"]


def test_other_channels_or_the_same_in_another_order_are_refused():
    two = replace(SCANS[0], voxels=SCANS[0].voxels.expand(2, -1, -1, -1), channels=("a", "b"))
    with pytest.raises(ChannelMismatch, match="subject 5: has the channels a, b, the annotated scan b, a"):
        list(aligned([two], ("b", "a"), PREPARATION, ATLAS, False, Run(device="cpu")))


def test_what_teaches_nothing_or_wrong_things_is_told():
    noise = replace(SCANS[0], name="noise", voxels=torch.rand(SCANS[0].voxels.shape))
    told = Listening()
    run = Run(device="cpu", progress=told)
    list(aligned([subject(0).scan, SCANS[0], noise], ("image",), PREPARATION, ATLAS, True, run))
    same, strange = told.warnings
    assert same == "subject 0: the same picture as the annotated scan, from which no deformation is learned"
    assert strange.startswith("noise: hardly looks like the annotated scan where it is laid upon it (correlation ")


def test_a_scan_that_shows_nothing_is_refused():
    blank = replace(SCANS[0], voxels=torch.zeros_like(SCANS[0].voxels))
    with pytest.raises(BadVoxels, match="subject 5: every voxel is 0; there is nothing to see"):
        list(aligned([blank], ("image",), PREPARATION, ATLAS, False, Run(device="cpu")))
