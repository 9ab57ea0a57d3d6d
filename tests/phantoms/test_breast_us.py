from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from effort import smoothings
from lowshot.errors import UnknownLabel
from lowshot.imaging.files import read_scan
from lowshot.phantoms.breast.body import DEPTHS_MM, layers
from lowshot.phantoms.breast.lesion import lesion
from lowshot.phantoms.breast_us import PULSE_MM, STRUCTURES, TISSUES, speckle, subject
from lowshot.phantoms.scanning import centred_grid
from lowshot.phantoms.study import Study
from lowshot.phantoms.variability import Variability

SEEDS = range(12)


@pytest.fixture(scope="module")
def scans():
    return [subject(seed) for seed in SEEDS]


def picture(scan):
    return scan.scan.voxels[0, :, :, 0].numpy()


def mask(scan):
    return scan.truth.labels[:, :, 0].numpy() > 0


def kind(seed, variation=1.0):
    return lesion(Variability(seed, variation, "breast-us")).kind


def seed_of(wanted, *, but=()):
    return next(seed for seed in range(100) if kind(seed) == wanted and seed not in but)


def behind_and_beside(scan, depth=24):
    """Median grey of the strip of tissue behind a lesion, and of the strips on both sides at the same depth."""
    i, j = np.nonzero(mask(scan))
    below = slice(j.max() + 3, j.max() + depth)
    quarter = (i.max() - i.min()) // 4
    behind = picture(scan)[i.min() + quarter : i.max() - quarter, below]
    width = 2 * quarter
    sides = np.concatenate(
        [
            picture(scan)[max(i.min() - width - 8, 0) : i.min() - 8, below],
            picture(scan)[i.max() + 8 : i.max() + 8 + width, below],
        ]
    )
    return np.median(behind), np.median(sides)


def test_values_are_those_of_busi():
    assert STRUCTURES.foreground == ("lesion",)
    assert STRUCTURES.values == (0, 255)


def test_speckle_of_a_homogeneous_tissue_is_rayleigh_distributed():
    grid = centred_grid((400, 400, 1), (0.25, 0.25, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    envelope = speckle(np.random.default_rng(1), grid)
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)  # 1.91
    assert (envelope**2).mean() == pytest.approx(1.0, rel=1e-3)
    for level in (0.3, 1.0, 1.7):
        assert (envelope > level).mean() == pytest.approx(np.exp(-(level**2)), abs=0.015)


def test_resolution_is_finer_along_depth_than_across():
    grid = centred_grid((400, 400, 1), (0.1, 0.1, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    power = speckle(np.random.default_rng(2), grid)[:, :, 0] ** 2
    power = power - power.mean()
    across, along = ((power * np.roll(power, 3, axis)).mean() / power.var() for axis in (0, 1))
    # Of noise that is blurred by a Gaussian, intensities x apart correlate by exp(-x² / (2 σ²)).
    assert across == pytest.approx(np.exp(-(0.3**2) / (2 * PULSE_MM[0] ** 2)), abs=0.05)
    assert along == pytest.approx(np.exp(-(0.3**2) / (2 * PULSE_MM[1] ** 2)), abs=0.05)


def test_every_picture_has_one_lesion_of_a_tenth_to_half_its_width(scans):
    for scan in scans:
        pieces, count = ndimage.label(mask(scan))
        assert np.max(ndimage.sum_labels(mask(scan), pieces, range(1, count + 1))) > 0.97 * mask(scan).sum()
        width = np.ptp(np.nonzero(mask(scan))[0]) / mask(scan).shape[0]
        assert 0.1 < width < 0.6, scan.scan.name
        assert not mask(scan)[[0, -1]].any()
        assert not mask(scan)[:, [0, -1]].any()


def test_the_lesion_is_darker_than_what_lies_beside_it(scans):
    for scan in scans:
        inside = ndimage.binary_erosion(mask(scan), iterations=2)
        beside = ndimage.binary_dilation(mask(scan), np.ones((3, 1)), iterations=12)
        beside &= ~ndimage.binary_dilation(mask(scan), iterations=3)
        assert np.median(picture(scan)[inside]) < np.median(picture(scan)[beside]) - 8, scan.scan.name


def test_grey_levels_are_whole_and_fit_a_byte(scans):
    for scan in scans:
        voxels = scan.scan.voxels
        assert torch.equal(voxels, voxels.round())
        assert 0 <= voxels.min() < 10
        assert 200 < voxels.max() <= 255


def test_cysts_brighten_and_carcinomas_darken_what_lies_behind_them():
    for wanted, sign in (("cyst", 1), ("carcinoma", -1)):
        first = seed_of(wanted)
        second = seed_of(wanted, but=(first,))
        differences = [np.subtract(*behind_and_beside(subject(seed))) for seed in (first, second)]
        assert sign * np.mean(differences) > 10, wanted


def test_skin_is_at_the_top_and_deep_tissue_is_darker():
    for seed in SEEDS:
        rows = picture(subject(seed, variation=0.3)).mean(axis=0)
        assert rows[:12].argmax() > 0  # the gel comes first
        assert rows[:12].max() > 1.1 * rows[12:30].mean()
        assert rows[-20:].mean() < rows[40:70].mean()


def test_axes_are_those_of_a_picture_file(scans, tmp_path):
    from PIL import Image

    Image.fromarray(picture(scans[0]).T.astype(np.uint8)).save(tmp_path / "one.png")
    read = read_scan(tmp_path / "one.png")
    assert torch.equal(read.voxels, scans[0].scan.voxels)
    np.testing.assert_array_equal(np.sign(read.affine[:3, :3]), np.sign(scans[0].scan.affine[:3, :3]))
    assert scans[0].scan.grid.spacing == pytest.approx((0.25, 0.25, 1.0))


def test_equal_seeds_give_equal_voxels_and_others_do_not():
    one, same, other = (subject(seed, (80, 64, 1)) for seed in (5, 5, 6))
    assert torch.equal(one.scan.voxels, same.scan.voxels)
    assert torch.equal(one.truth.labels, same.truth.labels)
    assert not torch.equal(one.truth.labels, other.truth.labels)


def test_without_variation_only_speckle_and_fine_detail_differ():
    one, other = subject(1, variation=0.0), subject(2, variation=0.0)
    assert torch.equal(one.truth.labels, other.truth.labels)
    assert not torch.equal(one.scan.voxels, other.scan.voxels)
    rows, others = (ndimage.gaussian_filter1d(picture(scan).mean(axis=0), 4) for scan in (one, other))
    assert np.abs(rows - others).max() < 30


def test_a_sweep_is_several_pictures_of_one_lesion():
    sweep = subject(3, (80, 64, 24))
    areas = sweep.truth.labels.sum(dim=(0, 1)).numpy()
    assert sweep.scan.grid.spacing == pytest.approx((0.5, 0.5, 1.0))
    assert areas[0] == areas[-1] == 0 < areas.max()
    assert np.ptp(np.flatnonzero(areas)) == np.count_nonzero(areas) - 1  # in one piece


def test_a_study_of_pictures_can_be_made():
    study = Study(anatomy="breast-us", subjects=2, shape=(64, 48, 1), structures=("lesion",))
    assert [scan.scan.grid.shape for scan in study] == [(64, 48, 1)] * 2
    with pytest.raises(UnknownLabel, match="liver"):
        next(iter(replace(study, structures=("liver",))))


def test_every_layer_has_its_acoustics():
    breasts = [Variability(seed) for seed in range(40)]
    found = {layer.tissue for breast in breasts for layer in layers(lesion(breast), breast)}
    assert found == set(TISSUES)
    assert list(DEPTHS_MM.values()) == sorted(DEPTHS_MM.values())


def test_a_subject_takes_less_than_a_second():
    assert smoothings(lambda: subject(seed_of("carcinoma"))) < 60  # run-time type checks included; 15 to 20
