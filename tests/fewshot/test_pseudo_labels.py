from dataclasses import replace

import pytest
import torch

from lowshot.errors import EmptySupport
from lowshot.fewshot.base_slices import Base
from lowshot.fewshot.pseudo_labels import (
    PUBLISHED,
    PseudoLabels,
    PseudoSampling,
    amount_of,
    draw_regions,
    superpixel_labels,
    supervoxel_labels,
)
from lowshot.training.run import Run

SIZE = 48
LEAST = 30 * (256 // SIZE) ** 2  # about 30 pixels here
SCANS = torch.tensor([0, 0, 0, 0, 1, 1, 1])


def run(**settings):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, **settings)


def at(step):
    return torch.Generator().manual_seed(step)


def base(hidden=()):
    """Bodies with two organs, which get larger from slice to slice."""
    i, j = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    slices = []
    for n in range(len(SCANS)):
        image = 100.0 * (((i - 24) ** 2 + (j - 24) ** 2) < 20**2)
        for centre, value in ((16, 300.0), (32, 600.0)):
            image[((i - centre) ** 2 + (j - 24) ** 2) < (4 + n / 3) ** 2] = value
        slices.append(image + torch.rand(SIZE, SIZE, generator=at(n)))
    known = torch.ones(len(SCANS), SIZE, SIZE, dtype=torch.bool)
    known[list(hidden)] = False
    return Base(
        image=torch.stack(slices)[:, None],
        labels=torch.zeros(len(SCANS), SIZE, SIZE, dtype=torch.int16),
        known=known,
        scan=SCANS,
        looked_for=torch.ones(2, 1, dtype=torch.bool),
        structures=("background",),
        spacing=((1.0, 1.0, 3.0),) * 2,
    )


def pairs(labels):
    return [tuple(row) for row in labels.pairs[:, :2].tolist()]


def test_every_superpixel_has_its_own_number_and_one_slice():
    labels = superpixel_labels(base(), LEAST, run())
    assert all(support == query for support, query in pairs(labels))
    assert {slice_ for slice_, _ in pairs(labels)} == set(range(len(SCANS)))
    regions = labels.pairs[:, 2].tolist()
    assert len(set(regions)) == len(regions)
    for slice_, _, region, _ in labels.pairs.tolist():
        shown = (labels.regions == region).flatten(1).any(dim=1)
        assert shown.nonzero().flatten().tolist() == [slice_]


def test_organs_are_superpixels():
    labels = superpixel_labels(base(), LEAST, run())
    organ = base().image[3, 0] > 500
    best = max(float((organ & (labels.regions[3] == k)).sum()) for k in labels.regions[3].unique() if k)
    assert best > 0.9 * float(organ.sum())


def test_supervoxels_pair_adjacent_slices_of_one_scan_in_both_orders():
    labels = supervoxel_labels(base(), LEAST, 1, run())
    found = set(pairs(labels))
    assert found <= {(a, b) for a in range(7) for b in range(7) if abs(a - b) == 1 and SCANS[a] == SCANS[b]}
    assert {(b, a) for a, b in found} == found
    for support, query, region, scan in labels.pairs.tolist():
        assert (labels.regions[support] == region).any()
        assert (labels.regions[query] == region).any()
        assert scan == int(SCANS[support])


def test_a_region_that_a_slice_hardly_shows_is_not_asked_for():
    few, many = (len(supervoxel_labels(base(), LEAST, least, run()).pairs) for least in (2000, 1))
    assert few < many
    with pytest.raises(EmptySupport, match="no region of alike grey values"):
        supervoxel_labels(base(), LEAST, 10**6, run())


@pytest.mark.parametrize("find", [superpixel_labels, lambda *args: supervoxel_labels(*args[:2], 1, args[2])])
def test_hidden_slices_are_not_looked_at(find):
    """Whatever they show, nothing changes; and slices on their two sides do not follow each other."""
    given = base(hidden=[1, 5])
    other = replace(given, image=torch.where(given.known[:, None], given.image, 7.0))
    labels, again = find(given, LEAST, run()), find(other, LEAST, run())
    assert labels.regions.equal(again.regions)
    assert labels.pairs.equal(again.pairs)
    assert not labels.regions[[1, 5]].any()
    assert not {1, 5} & {slice_ for pair in pairs(labels) for slice_ in pair}
    assert (0, 2) not in pairs(labels)


def test_with_all_slices_hidden_it_refuses():
    with pytest.raises(EmptySupport, match="in the 0 slices"):
        superpixel_labels(base(hidden=range(7)), LEAST, run())
    with pytest.raises(EmptySupport, match="in the 0 slices"):
        supervoxel_labels(base(hidden=range(7)), LEAST, 1, run())


def test_regions_are_kept_as_a_stage(tmp_path, monkeypatch):
    first = superpixel_labels(base(), LEAST, run(folder=tmp_path))
    monkeypatch.setattr("lowshot.fewshot.pseudo_labels.superpixels", None)
    assert superpixel_labels(base(), LEAST, run(folder=tmp_path)).pairs.equal(first.pairs)


def test_places_then_regions_are_drawn_uniformly():
    """A scan with one region and another with many pairs of two."""
    rows = [(0, 1, 1, 0), *((n, n + 1, 2, 1) for n in range(2, 9)), (2, 3, 3, 1)]
    labels = PseudoLabels(torch.zeros(10, 1, 2, 2), torch.zeros(10, 2, 2, dtype=torch.int32), torch.tensor(rows))
    generator = at(0)
    counts = torch.bincount(torch.tensor([labels.draw(generator).region for _ in range(2000)]))
    assert (counts[1:] / 2000).tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.04)


def test_slices_to_draw_from_can_be_restricted():
    labels = superpixel_labels(base(), LEAST, run())
    among = torch.zeros(len(SCANS), dtype=torch.bool)
    among[[2, 6]] = True
    assert {labels.draw(at(step), among).query for step in range(30)} == {2, 6}


def drawn(copies, augmentation="turns", tasks=8, seed=0):
    labels = superpixel_labels(base(), LEAST, run())
    sampling = PseudoSampling(tasks, amount_of(augmentation, "zscore"), copies)
    return labels, draw_regions(labels, sampling, run(), 0, at(seed))


def plain(labels, episode):
    """Which supports and queries are as they lie in the base."""
    own = labels.image[episode.slices]
    return [(one == own).flatten(1).all(dim=1) for one in (episode.support[:, 0], episode.query)]


def test_the_query_alone_is_transformed():
    labels, episode = drawn("query")
    support, query = plain(labels, episode)
    assert support.all()
    assert not query.any()
    inside = labels.regions[episode.slices] == episode.structure[:, None, None]
    assert episode.masks[:, 0].equal(inside.float())
    assert episode.known.all()


def test_both_are_transformed_each_in_its_own_way():
    labels, episode = drawn("both")
    assert not torch.cat(plain(labels, episode)).any()
    assert not (episode.support[:, 0] == episode.query).flatten(1).all(dim=1).any()


def test_either_is_transformed_by_chance():
    labels, episode = drawn("either", tasks=16)
    support, query = plain(labels, episode)
    assert (support != query).all()
    assert 0 < int(query.sum()) < 16
    # Space and intensity are drawn independently, so that with both there are slices with one of each.
    labels, episode = drawn("either", "strong", tasks=16)
    support, query = plain(labels, episode)
    assert (~support & ~query).any()


def test_masks_move_with_the_image():
    labels, episode = drawn("query", tasks=16)
    for n in range(16):
        organ = labels.image[episode.slices[n], 0] > 500
        inside = episode.masks[n, 0] > 0
        if not (inside & ~organ).any():  # the superpixel is the organ, or a part of it
            assert ((episode.truth[n] > 0) & (episode.query[n, 0] < 300)).sum() < 0.2 * episode.truth[n].sum()


def test_no_augmentation_leaves_slices_alone():
    labels, episode = drawn("both", "none")
    assert torch.cat(plain(labels, episode)).all()
    assert episode.truth.equal(episode.masks[:, 0])


def test_a_batch_is_a_function_of_its_generator():
    (_, first), (_, again), (_, other) = (drawn("query", "published", seed=seed) for seed in (1, 1, 2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first.query.equal(other.query)
    assert PUBLISHED.spatial.rotation_degrees == 5
