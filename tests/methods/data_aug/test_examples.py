"""Examples agree with their labels: in these phantoms a voxel's grey value tells its label."""

from functools import partial

import numpy as np
import pytest
import torch

from contract.studies import STANDARD
from lowshot.imaging.grid import Grid
from lowshot.methods.data_aug.batches import Atlas, Greys, Laid, appearance_pair, spatial_pair
from lowshot.methods.data_aug.examples import (
    Appearances,
    fixed_patches,
    independent_patches,
    shapes,
    with_coupled_images,
    with_own_images,
)
from lowshot.training.run import Run
from lowshot.transforms.patches import PatchSampling, Volume
from lowshot.transforms.spatial import SpatialRanges

SHAPE, PATCH = (16, 18, 12), (8, 8, 6)
GRID = Grid((8, 8, 8), STANDARD @ np.diag([2.25, 2.5, 1.6, 1.0]))
CPU = torch.device("cpu")


def run():
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)


def atlas():
    """Blocks of 0 to 3, as labels and as grey values."""
    labels = torch.zeros(SHAPE, dtype=torch.int16)
    labels[3:8, 3:15, 2:10], labels[8:13, 3:9, 2:10], labels[8:13, 9:15, 2:10] = 1, 2, 3
    known = torch.ones(SHAPE, dtype=torch.bool)
    return Atlas.of(Volume(labels.float()[None], labels, known, (1.5, 1.5, 3.0)), Grid(SHAPE, STANDARD))


def laid(own=None, world=None, shape=SHAPE):
    image = torch.zeros(1, *shape) if own is None else own
    return Laid(
        torch.zeros(1, *GRID.shape),
        Greys(torch.tensor([0.0]), torch.tensor([3.0])),
        np.eye(4) if world is None else world,
        Grid(shape, STANDARD),
        image,
    )


def still(count):
    return torch.zeros(count, 3, *GRID.shape)


def shift(mm, axis):
    world = np.eye(4)
    world[axis, 3] = mm
    return world


def appearances(pool, changes):
    return Appearances.of(atlas(), pool, changes, GRID, CPU)


def unchanged(pool):
    return appearances(pool, torch.zeros(len(pool), 1, *GRID.shape))


def bent(count):
    """Smooth fields of some millimetres."""
    lines = [torch.linspace(-1, 1, n) for n in GRID.shape]
    i, j, k = torch.meshgrid(*lines, indexing="ij")
    return torch.stack([torch.stack([2 * j * n, torch.cos(2 * i) * n, -k * n]) for n in range(1, count + 1)])


def agreement(patches):
    """Of grey values and labels, where no edge is near enough to blur the grey values."""
    pure = (patches.image[:, 0] - patches.image[:, 0].round()).abs() < 1e-3
    seen = pure & patches.known
    return float((patches.image[:, 0].round() == patches.labels)[seen].float().mean()), float(seen.float().mean())


@pytest.mark.parametrize("spatial", [SpatialRanges(), SpatialRanges(rotation_degrees=10.0, scale=0.1)])
def test_an_examples_labels_are_where_its_image_is(spatial):
    pool = [laid(), laid(world=shift(4.0, 1), shape=(14, 15, 10))]
    found = shapes(atlas(), pool, bent(2), GRID, CPU)
    sampling = PatchSampling(PATCH, 12, balanced=0.5, spatial=spatial)
    for batch in (
        partial(independent_patches, found, unchanged(pool), sampling, run()),
        partial(fixed_patches, with_coupled_images(found, unchanged(pool)), sampling, run()),
    ):
        patches = batch(0, torch.Generator().manual_seed(0))
        same, seen = agreement(patches)
        assert same > 0.97  # nearest labels of nearest labels, at patches that lie between voxels
        assert seen > 0.3
        assert len(patches.labels.unique()) == 4


def test_the_first_shape_is_the_atlas():
    (own, _) = shapes(atlas(), [laid()], still(1), GRID, CPU)
    assert torch.equal(own.labels, atlas().volume.labels)
    assert own.known.all()
    image = unchanged([laid()]).at(own.image.movedim(0, -1)[None], torch.tensor([0]))
    torch.testing.assert_close(image[0], atlas().volume.image, atol=1e-5, rtol=0)


def test_a_scans_shape_follows_its_alignment_and_its_field():
    """A point of the scan lies 3 mm (two voxels) further along i in the atlas, and 1.5 mm along j by the field."""
    field = still(1)
    field[:, 1] = 1.5
    (_, shape) = shapes(atlas(), [laid(world=shift(3.0, 0))], field, GRID, CPU)
    expected = atlas().volume.labels.roll((-2, -1), dims=(0, 1))
    assert torch.equal(shape.labels[:14, :17], expected[:14, :17])
    assert shape.known[:14, :17].all()
    assert not shape.known[14:].any()  # beyond the atlas nobody has looked
    assert not shape.known[:, 17:].any()


def test_what_is_not_known_of_the_atlas_stays_unknown():
    given = atlas()
    given.volume.known[:, :, 5:] = False
    (own, scan) = shapes(given, [laid()], still(1), GRID, CPU)
    assert torch.equal(own.known, given.volume.known)
    assert torch.equal(scan.known, given.volume.known)
    assert (given.labels_on(Grid(SHAPE, STANDARD))[:, :, 5:] == -1).all()


def test_every_patch_has_the_appearance_of_one_scan():
    """Each appearance adds its own number to every voxel; ψ is in units of 0 to 1, and a scan's greys go to 3."""
    pool = [laid(), laid()]
    changes = torch.stack([torch.full((1, *GRID.shape), c) for c in (10.0, 20.0)])
    found = shapes(atlas(), pool, still(2), GRID, CPU)
    batch = partial(independent_patches, found, appearances(pool, changes), PatchSampling(PATCH, 4), run())
    drawn = [batch(0, torch.Generator().manual_seed(seed)).image for seed in range(12)]
    levels = {round(float(patch.median()) / 30) for image in drawn for patch in image}
    assert levels == {0, 1, 2}


def test_shape_and_appearance_are_drawn_independently():
    """Scans differ in shape by a shift of 0, 6 or 12 mm and in appearance by 0, 10 or 20: all nine pairs occur."""
    pool = [laid(world=shift(6.0, 2)), laid(world=shift(12.0, 2))]
    changes = torch.stack([torch.full((1, *GRID.shape), c) for c in (10.0, 20.0)])
    found = shapes(atlas(), pool, still(2), GRID, CPU)
    # A patch as large as the scan: what is unknown of it tells its shape.
    batch = partial(independent_patches, found, appearances(pool, changes), PatchSampling(SHAPE, 4), run())
    pairs = []
    for seed in range(40):
        patches = batch(0, torch.Generator().manual_seed(seed))
        beyond = (~patches.known).float().mean((1, 2, 3)) * SHAPE[2] / 2
        look = (patches.image[:, 0] / 30).median(dim=3).values.flatten(1).median(dim=1).values.round()
        pairs += list(zip(beyond.round().int().tolist(), look.int().tolist(), strict=True))
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    assert counts.keys() == {(s, a) for s in range(3) for a in range(3)}
    assert min(counts.values()) > 160 / 9 / 3


def test_coupled_examples_have_shape_and_appearance_of_one_scan():
    pool = [laid(), laid()]
    changes = torch.stack([torch.full((1, *GRID.shape), c) for c in (10.0, 20.0)])
    found = shapes(atlas(), pool, still(2), GRID, CPU)
    images = [volume.image for volume in with_coupled_images(found, appearances(pool, changes))]
    for n, image in enumerate(images):
        torch.testing.assert_close(image, atlas().volume.image + 30.0 * n, atol=1e-4, rtol=0)


def test_sas_examples_are_the_scans_themselves():
    own = torch.rand(1, *SHAPE)
    pool = [laid(own)]
    first, second = with_own_images(shapes(atlas(), pool, still(1), GRID, CPU), atlas(), pool)
    assert torch.equal(first.image, atlas().volume.image)
    assert torch.equal(second.image, own)
    assert torch.equal(second.labels, atlas().volume.labels)


def test_batches_are_functions_of_their_generator():
    pool = [laid(), laid(world=shift(4.0, 1))]
    found = shapes(atlas(), pool, bent(2), GRID, CPU)
    batch = partial(independent_patches, found, unchanged(pool), PatchSampling(PATCH, 3), run())
    one, same, other = (batch(0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(one, same, strict=True))
    assert not torch.equal(one.image, other.image)


def test_pairs_of_one_scan_belong_together():
    pool = [Laid(torch.full((1, *GRID.shape), n), *_rest()) for n in (1.0, 2.0)]
    numbers = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1)
    brought, fields = numbers.expand(2, 1, *GRID.shape), numbers.expand(2, 3, *GRID.shape)
    seen = set()
    for seed in range(8):
        image, generator = torch.zeros(1, *GRID.shape), torch.Generator().manual_seed(seed)
        pair = appearance_pair(image, pool, brought, fields, GRID.spacing, run(), 0, generator)
        assert pair.target.unique() == pair.brought.unique() == pair.field_mm.unique()
        seen.add(float(pair.target.mean()))
        generator.manual_seed(seed)
        assert torch.equal(spatial_pair(image, pool, GRID.spacing, run(), 0, generator).target, pair.target)
    assert seen == {1.0, 2.0}


def _rest():
    given = laid()
    return given.greys, given.world, given.grid, given.own


def test_greys_there_and_back():
    voxels = torch.rand(2, 4, 4, 4) * 7 - 3
    greys = Greys.of(voxels)
    unit = greys.to_unit(voxels)
    assert (unit.amin(), unit.amax()) == (0, 1)
    torch.testing.assert_close(greys.from_unit(unit), voxels)
    flat = torch.ones(1, 2, 2, 2)
    assert Greys.of(flat).to_unit(flat).isfinite().all()
