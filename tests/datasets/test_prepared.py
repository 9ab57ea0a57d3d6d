from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.test_reader import AFFINE, exported
from lowshot.benchmarking.cases import Cases
from lowshot.datasets import prepared
from lowshot.datasets.prepared import UNKNOWN, prepare, prepared_cases
from lowshot.datasets.reader import find_cases
from lowshot.datasets.recipe import ALPNET_CHAOS, ALPNET_SYNAPSE, MRE_NET_BRAINS, RAW, Recipe
from lowshot.datasets.table import DATASETS
from lowshot.errors import InputError
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.progress import Silent
from lowshot.protocols.protocol import Layout

NAMES = Names.of({1: "ball"})


def ball(shape=(40, 36, 12), spacing=(2.0, 2.0, 4.0), centre=(20, 18, 6), radius_mm=12.0):
    affine = np.diag([*spacing, 1.0])
    place = np.indices(shape) - np.array(centre)[:, None, None, None]
    inside = ((place * np.array(spacing)[:, None, None, None]) ** 2).sum(0) < radius_mm**2
    labels = torch.from_numpy(inside.astype(np.int16))
    return LabelledScan(Scan("ball", 100 * labels[None].float(), affine), Segmentation(labels, NAMES, affine))


def centre_mm(labelled):
    voxels = labelled.truth.labels.nonzero().double().mean(0)
    return (labelled.scan.affine @ [*voxels.tolist(), 1])[:3]


def test_raw_changes_nothing():
    ours = ball()
    same = prepare(ours, RAW)
    assert same.scan.voxels.equal(ours.scan.voxels)
    assert same.truth.labels.equal(ours.truth.labels)
    assert np.allclose(same.scan.affine, ours.scan.affine)


@pytest.mark.parametrize(
    ("recipe", "shape", "spacing"),
    [
        (ALPNET_CHAOS, (256, 256, None), (1.25, 1.25, 7.7)),
        (MRE_NET_BRAINS, (216, 216, None), (2, 2, 4)),
        (Recipe(border=4, resize=(64, 64, None)), (64, 64, 12), (2 * 32 / 64, 2 * 28 / 64, 4)),
    ],
)
def test_a_structure_stays_where_it_is_in_the_world(recipe, shape, spacing):
    made = prepare(ball(), recipe)
    assert all(wanted in (None, got) for wanted, got in zip(shape, made.scan.voxels.shape[1:], strict=True))
    assert np.allclose(made.scan.grid.spacing, spacing)
    assert np.allclose(centre_mm(made), centre_mm(ball()), atol=0.2 * max(spacing))
    volume = int(made.truth.labels.sum()) * made.scan.grid.voxel_volume_mm3
    assert volume == pytest.approx(int(ball().truth.labels.sum()) * 16, rel=0.15)


def test_what_is_resized_is_the_box_around_the_body():
    ours = ball(shape=(60, 36, 12), centre=(40, 18, 6))
    made = prepare(ours, Recipe(crop_to_body=True, resize=(48, 48, 24)))
    assert made.scan.voxels.shape[1:] == (48, 48, 24)
    assert np.allclose(centre_mm(made), centre_mm(ours), atol=0.5)
    assert made.scan.grid.spacing[0] < 60 * 2 / 48 / 1.5


def test_slices_that_are_all_border_are_refused():
    with pytest.raises(InputError, match=r"ball: expected slices of more than 64 pixels.*got 40 × 36"):
        prepare(ball(), ALPNET_SYNAPSE)


def test_intensities_are_cut():
    ours = ball()
    ours.scan.voxels[0, 0, 0, 0] = 4000
    assert float(prepare(ours, Recipe(cut_top=0.005)).scan.voxels.max()) == 100
    clipped = prepare(ours, Recipe(clip=ALPNET_SYNAPSE.clip)).scan.voxels
    assert float(clipped.max()) == 275


def test_a_prepared_data_set_is_read_by_benchmarks_with_all_channels_and_what_is_unknown(tmp_path):
    dataset, subjects = exported("mrbrains18", tmp_path / "brains")
    found = find_cases(dataset, tmp_path / "brains")
    folder = prepared_cases(found, RAW, tmp_path / "cache", Silent())
    cases = Cases(folder, Layout(unknown=UNKNOWN))
    query = cases.query("2")
    assert query.scan.channels == ("T1", "IR", "FLAIR")
    assert query.truth.names.foreground == tuple(dataset.structures.values())
    assert query.truth.labels.equal(subjects[1].truth.labels)
    assert np.allclose(query.scan.affine, AFFINE)
    assert query.known is not None


def test_what_is_added_around_a_scan_is_background_though_some_of_it_is_unknown():
    known = torch.ones(40, 36, 12, dtype=torch.bool)
    known[0] = False
    made = prepare(replace(ball(), known=known), Recipe(size=(60, 36, None)))
    assert made.known is not None
    assert (~made.known).nonzero()[:, 0].unique().tolist() == [10]  # ten voxels are added on either side


def test_it_is_done_once_and_again_where_a_file_the_recipe_or_the_code_changes(tmp_path, monkeypatch):
    dataset, _ = exported("image-n", tmp_path / "data")
    found = find_cases(dataset, tmp_path / "data")
    first = prepared_cases(found, RAW, tmp_path / "cache", Silent())
    before = (first / "complete").stat().st_mtime_ns
    assert prepared_cases(found, RAW, tmp_path / "cache", Silent()) == first
    assert (first / "complete").stat().st_mtime_ns == before
    assert prepared_cases(found, Recipe(cut_top=0.1), tmp_path / "cache", Silent()) != first
    with monkeypatch.context() as newer:
        newer.setattr(prepared, "FORM", prepared.FORM + 1)
        assert prepared_cases(found, RAW, tmp_path / "cache", Silent()) != first
    (tmp_path / "data" / "label_1.nii.gz").write_bytes((tmp_path / "data" / "label_2.nii.gz").read_bytes())
    assert prepared_cases(found, RAW, tmp_path / "cache", Silent()) != first


def test_one_that_was_cut_short_is_made_again(tmp_path):
    dataset, _ = exported("image-n", tmp_path / "data")
    found = find_cases(dataset, tmp_path / "data")
    folder = prepared_cases(found, RAW, tmp_path / "cache", Silent())
    (folder / "complete").unlink()
    (folder / "images" / "1.nii.gz").write_bytes(b"")
    prepared_cases(found, RAW, tmp_path / "cache", Silent())
    assert Cases(folder, Layout(unknown=UNKNOWN)).query("1").scan.voxels.shape == (1, 7, 6, 5)


def test_a_folder_without_any_is_refused(tmp_path):
    with pytest.raises(InputError, match="found 0 of 20 cases"):
        prepared_cases(find_cases(DATASETS["chaos-mr"], tmp_path), RAW, tmp_path / "cache", Silent())
