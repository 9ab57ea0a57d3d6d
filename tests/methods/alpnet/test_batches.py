import torch

from contract.studies import BASE
from lowshot.fewshot.base_slices import read_base
from lowshot.fewshot.episodes import Sampling, Shown
from lowshot.fewshot.pseudo_labels import PseudoSampling, superpixel_labels
from lowshot.imaging.preparation import Preparation
from lowshot.methods.alpnet.batches import Annotated, draw
from lowshot.training.run import Run

RUN = Run(device="cpu", precision="float32", memory_format="contiguous", threads=1)


def test_a_share_of_the_steps_is_about_annotated_structures():
    base = read_base(BASE, Preparation("in-plane", None, "none", "zscore", (32, 32, None)), ("image",), RUN)
    labels, sampling = superpixel_labels(base, 400, RUN), PseudoSampling(2, "none")
    shown = Shown(base, 0.005)

    def about_structures(share):
        annotated = Annotated(shown, Sampling(2, augmentation="none"), share) if share else None
        episodes = [draw(labels, sampling, annotated, RUN, 0, torch.Generator().manual_seed(n)) for n in range(60)]
        assert all(each.support.shape == (2, 1, 1, 32, 32) for each in episodes)
        # The same slice is support and query of a superpixel, which it never is of a structure.
        return sum(not each.support[:, 0].equal(each.query) for each in episodes) / 60

    assert about_structures(0.0) == 0
    assert about_structures(1.0) == 1
    assert 0.2 < about_structures(0.5) < 0.8
