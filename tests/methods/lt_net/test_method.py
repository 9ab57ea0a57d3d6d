from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim import Adam

from contract import tiny
from contract.studies import NAMES, TASKS, partly_known, subject
from lowshot import catalogue
from lowshot.errors import ChannelMismatch, SettingsError
from lowshot.imaging.grid import Grid
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.atlas_model import prepare_atlases
from lowshot.inference.predict import prepare
from lowshot.losses.similarity import local_ncc
from lowshot.methods.lt_net import method as lt_net
from lowshot.methods.lt_net.batches import atlas_pair, one_hot, share_outside
from lowshot.methods.lt_net.method import LTNet
from lowshot.methods.lt_net.model import RefineOptions
from lowshot.phantoms import brain_mr
from lowshot.progress import Silent
from lowshot.registration.affine import Picture
from lowshot.registration.fields import warp
from lowshot.registration.pairwise import laid_upon
from lowshot.registration.sampling import onto_grid
from lowshot.registration.working_grid import working_grid
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run

TASK = TASKS["one shot and a pool"]


def method(name="lt-net", **changes):
    return catalogue.create(name, catalogue.settings(name, "compact", tiny.SETTINGS[name] | changes))


def run(steps=2, **settings):
    return Run(
        device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps), **settings
    )


def test_it_needs_one_atlas_and_a_pool():
    assert method().problems(TASK) == []
    (alone,) = method().problems(TASKS["one shot"])
    assert "--unlabelled" in alone
    assert any("one annotated scan, got 2" in each for each in method().problems(TASKS["two shots"]))
    partly = replace(TASK, support=[partly_known(subject(0), 0)])
    (problem,) = method().problems(partly)
    assert "annotated only in part" in problem


def test_pictures_are_refused():
    flat = LowShotTask(NAMES, [subject(0, shape=(20, 24, 1))], unlabelled=[subject(5, shape=(20, 24, 1)).scan])
    assert any("works on volumes" in each for each in method().problems(flat))


@pytest.mark.parametrize(
    "changes",
    [
        {"window": 8},
        {"steps": 0},
        {"image_cycle": -1.0},
        {"decoder": ()},
        {"shape": (17, 16, 16)},
        {"shape": (16, 16, 16)},  # four widths of a critic need 24
        {"critic_widths": ()},
        {"labels_per_step": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        LTNet(**changes)


def test_scans_of_other_channels_are_refused_before_training():
    other = subject(5).scan
    two = replace(other, voxels=torch.cat([other.voxels, other.voxels]), channels=("a", "b"))
    with pytest.raises(ChannelMismatch, match="subject 5: has the channels a, b, the annotated scan image"):
        method().fit(replace(TASK, unlabelled=[two]), run())


def test_only_the_forward_generator_is_kept():
    state = method().fit(TASK, run()).state()
    own = {name for name in state.tensors if name.startswith("network.")}
    assert own == {f"network.{name}" for name in method()._generator(1).state_dict()}


def test_training_makes_the_atlas_look_like_the_pool():
    task = replace(TASK, unlabelled=[subject(5).scan])
    chosen = method("voxelmorph", learning_rate=1e-2, spacing=(2.0, 2.0, 2.0))
    before, after = (alike(chosen.fit(task, run(steps)), subject(5).scan) for steps in (1, 60))
    assert after > before + 0.02


def test_a_gradient_of_any_length_makes_a_step_as_of_an_ordinary_one(monkeypatch):
    lengths = []

    class Measuring(Adam):
        def step(self, closure=None):
            gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
            lengths.append(float(torch.cat(gradients).norm()))
            return super().step(closure)

    monkeypatch.setattr(lt_net, "Adam", Measuring)
    method(similarity=1e6, adversarial=0.0).fit(TASK, run(steps=2))
    assert lengths == pytest.approx([lt_net.LARGEST_GRADIENT] * 2, rel=1e-3)


def test_one_hot_maps_on_a_coarser_grid_are_shares():
    fitted = method().fit(TASK, run(1))
    (atlas,) = fitted.atlases
    grid = working_grid(atlas.picture, (6.0, 6.0, 6.0), None, multiple=1)
    maps = one_hot(atlas, grid, len(NAMES))
    coarse, fine = (float(np.prod(each)) for each in (grid.spacing, atlas.picture.grid.spacing))
    sizes = [float((atlas.labels == k).sum()) * fine for k in range(1, len(NAMES))]
    np.testing.assert_allclose(maps.sum((1, 2, 3)).numpy() * coarse, np.array(sizes), rtol=0.05)
    assert float(((maps > 0.1) & (maps < 0.9)).float().sum() / (maps > 0.1).float().sum()) > 0.2


def test_structures_are_drawn_for_each_step():
    labels, pool = torch.rand(5, 4, 4, 4), torch.rand(2, 1, 4, 4, 4)
    drawn = [
        atlas_pair(pool[0], labels, pool, (1.0, 1.0, 1.0), 2, 0, torch.Generator().manual_seed(seed)).labels
        for seed in range(8)
    ]
    assert all(each.shape[1] == 2 for each in drawn)
    assert len({each.sum().item() for each in drawn}) > 1
    every = atlas_pair(pool[0], labels, pool, (1.0, 1.0, 1.0), None, 0, torch.Generator()).labels
    assert torch.equal(every[0], labels)


def test_the_crop_is_the_same_however_the_atlas_is_stored():
    """Left to right, back to front, foot to head, around the centroid: not along the axes of the file."""
    chosen, head = method("voxelmorph", shape=(16, 24, 8)), brain_mr.subject(1, (24, 30, 24))
    coronal = LabelledScan(
        replace(head.scan, voxels=head.scan.voxels.permute(0, 1, 3, 2), affine=head.scan.affine[:, [0, 2, 1, 3]]),
        replace(head.truth, labels=head.truth.labels.permute(0, 2, 1), affine=head.truth.affine[:, [0, 2, 1, 3]]),
    )
    assert coronal.scan.grid.shape == (24, 24, 30)
    pool = [brain_mr.subject(2, (24, 30, 24)).scan]
    plain, turned = (
        chosen.fit(LowShotTask(each.truth.names, [each], unlabelled=pool), run(1)) for each in (head, coronal)
    )
    assert plain.grid.shape == turned.grid.shape == (16, 24, 8)
    np.testing.assert_allclose(plain.grid.affine, turned.grid.affine, atol=1e-6)
    np.testing.assert_allclose(plain.grid.affine[:3, :3], np.diag(plain.grid.spacing), atol=1e-6)
    np.testing.assert_allclose(plain.grid.corners().mean(0), plain.atlases[0].picture.centre(), atol=1e-6)


def test_one_hot_maps_hold_each_structure_once():
    fitted = method().fit(TASK, run(1))
    (atlas,) = fitted.atlases
    grid = working_grid(atlas.picture, None, None, multiple=1)
    maps = one_hot(atlas, grid, len(NAMES))
    assert len(maps) == len(NAMES) - 1
    sizes = [(atlas.labels == k).sum() for k in range(1, len(NAMES))]
    np.testing.assert_allclose(maps.sum((1, 2, 3)).numpy(), np.array(sizes), rtol=1e-3)


def alike(fitted, scan, options=None):
    """Local correlation of the scan with the atlas as it was deformed, on the finest grid."""
    options, picture = options or RefineOptions(), fitted.atlases[0].picture
    prepared = prepare(fitted, scan)
    (found,) = fitted.correspondences(prepared, run(), options)
    grid = RefineOptions().refinement.grid(picture)
    query = Picture.of("query", prepared.voxels, prepared.grid)
    fixed, moving = laid_upon(query, found.world, grid), onto_grid(picture.voxels, picture.grid, grid)
    field = onto_grid(found.field_mm, found.grid, grid, outside="border")
    return float(local_ncc(fixed[None], warp(moving[None], field[None], grid.spacing)))


def test_a_refined_field_fits_better():
    fitted = method("voxelmorph").fit(TASK, run(1))
    refined = RefineOptions(refine=True, levels=((2, 20), (1, 10)))
    assert alike(fitted, subject(9).scan, refined) > alike(fitted, subject(9).scan) + 0.02


@pytest.mark.parametrize("levels", [(), ((0, 3),), ((2, -1),)])
def test_refinements_that_cannot_be_are_refused(levels):
    with pytest.raises(SettingsError, match="levels"):
        RefineOptions(refine=True, levels=levels)


def test_what_lies_beyond_the_shape_is_told():
    (atlas,) = prepare_atlases(TASK.support, method()._preparation(), Silent())
    whole = working_grid(atlas.picture, None, None, 8)
    assert share_outside(atlas, whole) == 0
    labels = (atlas.labels > 0).nonzero()
    first = labels[:, 0].unique(return_counts=True)
    half = Grid((int(first[0][len(first[0]) // 2]), *atlas.picture.grid.shape[1:]), atlas.picture.grid.affine)
    inside = int((labels[:, 0] < half.shape[0]).sum())
    assert share_outside(atlas, half) == pytest.approx(1 - inside / len(labels))
