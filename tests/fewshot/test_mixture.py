from dataclasses import replace
from functools import partial

import torch

from contract.studies import BASE
from listening import Listening
from lowshot.fewshot.base_slices import read_base
from lowshot.fewshot.episodes import Sampling, Shown, draw_structures
from lowshot.fewshot.mixture import Regions, mixed
from lowshot.fewshot.pseudo_labels import PseudoSampling, draw_regions, has_neighbours, superpixel_labels
from lowshot.imaging.preparation import Preparation
from lowshot.training.run import Run
from lowshot.transforms.levels import AUGMENTATION

RUN = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)


def test_a_share_of_the_steps_is_about_regions():
    base = read_base(BASE, Preparation("in-plane", None, "none", "zscore", (32, 32, None)), ("image",), RUN)
    regions = partial(draw_regions, superpixel_labels(base, 400, RUN), PseudoSampling(2, AUGMENTATION["none"]), RUN)
    structures = partial(draw_structures, Shown(base, 0.005), Sampling(2), RUN)

    def about_regions(share):
        draw = mixed(structures, regions, share)
        episodes = [draw(0, torch.Generator().manual_seed(n)) for n in range(60)]
        assert all(each.support.shape == (2, 1, 1, 32, 32) for each in episodes)
        # The same slice is support and query of a superpixel, which it never is of a structure.
        return sum(each.support[:, 0].equal(each.query) for each in episodes) / 60

    assert about_regions(0.0) == 0
    assert about_regions(1.0) == 1
    assert 0.2 < about_regions(0.5) < 0.8


def test_where_no_slices_follow_each_other_all_steps_are_about_structures():
    """As in a base of pictures, or in one that is annotated in every fourth slice."""
    heard = Listening()
    run = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, progress=heard)
    known = torch.zeros_like(BASE[0].truth.labels, dtype=torch.bool)
    known[..., ::4] = True
    preparation = Preparation("in-plane", None, "none", "zscore", (32, 32, None))
    base = read_base([replace(each, known=known) for each in BASE], preparation, ("image",), run)
    assert not has_neighbours(base)
    annotated = partial(draw_structures, Shown(base, 0.005), Sampling(2), run)
    assert Regions(0.5, 400, 10).beside(annotated, Sampling(2), base, run) is annotated
    assert heard.warnings[-1].startswith("no two known slices of the base follow each other")
