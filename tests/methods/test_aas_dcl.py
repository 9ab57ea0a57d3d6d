import math

import pytest
import torch

from contract.studies import BASE, NAMES, subject
from lowshot.errors import SettingsError
from lowshot.fewshot.base_slices import read_base
from lowshot.fewshot.episodes import Sampling, Shown
from lowshot.fewshot.pseudo_labels import superpixel_labels
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.methods.aas_dcl import AASDCL, GuidedUNet, Others, cell_means, draw, info_nce, similarity_prior
from lowshot.methods.self_supervised_presets import AAS_DCL
from lowshot.task import LowShotTask
from lowshot.training.run import Budget, Run
from methods.untrained import in_both_precisions, relative_error, settled

TINY = {"size": (32, 32), "widths": (2, 4), "kernel": 3, "tasks": 2, "lacking": 3}
ALONE = LowShotTask(Names(("background",), (0,)), base=BASE)
ALWAYS = torch.ones(2, dtype=torch.bool)


def run(steps=2):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, budget=Budget(steps=steps))


def network():
    torch.manual_seed(0)
    return GuidedUNet(1, (2, 4, 6), 3).eval()


def test_contrast_by_hand():
    """Cosines 1 and 0 with the positive, −1 and 0 (twice) with the negatives; τ = ½."""
    anchor, positive = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    negatives = torch.tensor([[[-1.0, 0.0], [0.0, 5.0]], [[1.0, 0.0], [2.0, 0.0]]])
    first = math.log(math.exp(2) + math.exp(-2) + 1) - 2
    assert float(info_nce(anchor, positive, negatives, ALWAYS, 0.5)) == pytest.approx((first + math.log(3)) / 2)
    one = torch.tensor([True, False])
    assert float(info_nce(anchor, positive, negatives, one, 0.5)) == pytest.approx(first)
    assert float(info_nce(anchor, positive, negatives, ~ALWAYS, 0.5)) == 0


def test_cells_are_means_of_a_grid():
    maps = torch.arange(64.0).view(1, 1, 8, 8)
    found = cell_means(maps)
    assert found.shape == (1, 16, 1)
    assert float(found[0, 5]) == float(maps[0, 0, 2:4, 2:4].mean())


def test_the_prior_is_high_where_query_and_marked_support_look_alike():
    support = torch.zeros(1, 2, 4, 4)
    support[:, 0] = 1
    query = support.clone()
    query[:, :, 3] = torch.tensor([0.0, 1.0]).view(1, 2, 1)
    mask = torch.ones(1, 4, 4)
    mask[:, 0] = 0
    found = similarity_prior(support, mask, query)
    assert found.shape == (1, 3, 4, 4)
    assert found[0, 0].tolist() == [[0.0] * 4, [1.0] * 4, [1.0] * 4, [0.0] * 4]
    assert (found[0, 1] == 2).all()  # the prototypes of structure and background, summed
    assert (found[0, 2] == 0).all()


def others_of(labels=None):
    base = read_base(BASE, Preparation("in-plane", None, "none", "zscore", (32, 32, None)), ("image",), run())
    regions = superpixel_labels(base, 400, run())
    lacking = base.shares() == 0 if labels is None else labels(base)
    return base, Shown(base, 0.005), Others(regions, lacking, 3)


def test_other_slices_lack_the_structure_and_show_a_region():
    base, shown, others = others_of()
    for seed in range(10):
        batch = draw(shown, Sampling(2), others, run(), 0, torch.Generator().manual_seed(seed))
        assert batch.others.image.shape == (2, 3, 1, 32, 32)
        assert batch.others.regions.flatten(2).any(dim=2).all()
        for n, structure in enumerate(batch.episode.structure.tolist()):
            assert bool(batch.others.valid[n]) == bool((base.shares()[:, structure] == 0).any())
            if batch.others.valid[n]:
                slices = [int((base.image == one).flatten(1).all(dim=1).nonzero()) for one in batch.others.image[n]]
                assert not (base.labels[slices] == structure).any()


@torch.no_grad()
def test_where_no_slice_lacks_the_structure_there_is_no_contrast():
    _, shown, others = others_of(lambda base: torch.zeros(len(base.image), len(base.structures), dtype=torch.bool))
    batch = draw(shown, Sampling(2), others, run(), 0, torch.Generator().manual_seed(0))
    assert not batch.others.valid.any()
    terms = AASDCL(**TINY)._loss(GuidedUNet(1, (2, 4), 3), batch, 0.0)
    assert float(terms["prototypes"]) == float(terms["cells"]) == 0


@torch.no_grad()
def test_terms_can_be_off_and_are_weighted():
    _, shown, others = others_of(lambda base: torch.ones(len(base.image), len(base.structures), dtype=torch.bool))
    batch = draw(shown, Sampling(2), others, run(), 0, torch.Generator().manual_seed(0))
    unet = network()
    once, twice = (AASDCL(**TINY, prototype_contrast=weight)._loss(unet, batch, 0.0) for weight in (1.0, 2.0))
    assert float(once["prototypes"]) > 0
    assert float(twice["prototypes"]) == pytest.approx(2 * float(once["prototypes"]))
    assert float(once["cells"]) == float(twice["cells"]) > 0
    off = AASDCL(**TINY, prototype_contrast=0.0, cell_contrast=0.0)._loss(unet, batch, 0.0)
    assert set(off) == {"query"}
    torch.testing.assert_close(off["query"], once["query"])


@torch.no_grad()
def test_one_support_set_serves_all_queries():
    unet, support, query = settled(network()), torch.rand(1, 2, 1, 32, 48), torch.rand(3, 1, 32, 48)
    masks = (torch.rand(1, 2, 32, 48) > 0.5).float()
    together = unet(support, masks, query)
    assert together.shape == (3, 32, 48)
    assert (together - unet(support, masks, query.roll(1, 0))).abs().max() > 0.1
    every = unet(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query)
    torch.testing.assert_close(together, every)
    single = [unet(support[:, k : k + 1], masks[:, k : k + 1], query) for k in (0, 1)]
    torch.testing.assert_close(together, torch.stack(single).mean(dim=0))


def test_the_support_weighs_the_query_at_every_level_on_the_way_down_and_up():
    unet, levels = network(), []
    for level, link in enumerate(unet.links):
        link.register_forward_hook(lambda *_, level=level: levels.append(level))
    unet(torch.rand(1, 1, 1, 32, 32), torch.ones(1, 1, 32, 32), torch.rand(1, 1, 32, 32))
    assert levels == [0, 1, 2, 1, 0]


@torch.no_grad()
def test_other_slices_change_nothing_but_the_statistics_in_training():
    unet, support, masks = settled(network()), torch.rand(2, 1, 1, 32, 32), torch.ones(2, 1, 32, 32)
    query, others = torch.rand(2, 1, 32, 32), torch.rand(3, 1, 32, 32)
    seen, alone = unet.look(support, masks, query, others), unet.look(support, masks, query, others[:0])
    torch.testing.assert_close(seen.logit, alone.logit)
    assert (seen.logit - unet(support, masks, query.roll(1, 0))).abs().max() > 0.1
    assert len(seen.others) == 3
    assert len(alone.others) == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_is_empty_or_full_gives_numbers_and_gradients(value):
    unet = network().train()
    logit = unet(torch.rand(2, 1, 1, 32, 32), torch.full((2, 1, 32, 32), value), torch.rand(2, 1, 32, 32))
    logit.mean().backward()
    assert logit.isfinite().all()
    assert all(p.grad.isfinite().all() for p in unet.parameters() if p.grad is not None)


def test_its_memory_can_be_foreseen_and_bfloat16_agrees_with_float32():
    with torch.device("meta"):
        empty = GuidedUNet(1, (2, 4, 6), 3).eval()
        found = empty(torch.empty(1, 1, 1, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(4, 1, 64, 64))
    assert found.shape == (4, 64, 64)
    assert relative_error(*in_both_precisions(settled(network()))) < 0.1


def test_problems():
    assert "--base" in AASDCL(**TINY).problems(LowShotTask(NAMES, [subject(0)]))[0]
    assert AASDCL(**TINY).problems(ALONE) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (33, 32)}, "multiples of 2"),
        ({"widths": (2,)}, "widths: expected 2 to 8"),
        ({"size": (8192, 8192)}, "at most"),
        ({"kernel": 4}, "kernel: expected an odd number"),
        ({"entropy_share": 1.5}, "entropy_share: expected a share"),
        ({"temperature": 0.0}, "temperature"),
        ({"cell_contrast": -1.0}, "cell_contrast"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(SettingsError, match=message):
        AASDCL(**(TINY | wrong))


def test_presets_are_settings():
    assert AASDCL(**AAS_DCL["paper"]) == AASDCL()
    assert all(AASDCL(**settings) for settings in AAS_DCL.values())
