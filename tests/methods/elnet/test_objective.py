import pytest
import torch
from torch import nn

from lowshot.methods.elnet.objective import Batch, Weights, elnet_loss, neighbour_consistency, sure_enough
from lowshot.transforms.slices import Slices, places
from lowshot.transforms.spatial import SpatialRanges


class Network(nn.Module):
    """Logits of its one channel's sign; embeds every 4×4 block by its mean."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(5.0))

    def forward(self, image):
        return torch.cat([-self.gain * image, self.gain * image], dim=1)

    def segment_and_embed(self, image, level):
        return self(image), nn.functional.avg_pool2d(image, 4).repeat(1, 3, 1, 1)


def slices(*wrong):
    """Each shows structure 1 in its upper half, bright; where ``wrong``, the labels are the other way round."""
    image = torch.ones(len(wrong), 1, 8, 8)
    image[:, :, 4:] = -1
    labels = (image[:, 0] > 0).to(torch.int16)
    labels[torch.tensor(wrong)] = 1 - labels[torch.tensor(wrong)]
    return Slices(image, labels, torch.ones_like(labels, dtype=torch.bool))


def batch(*wrong, counts, plain=None):
    plain = torch.zeros(0, 1, 8, 8) if plain is None else plain
    still = places(plain, SpatialRanges(), torch.Generator())
    return Batch(slices(*wrong), counts, torch.Generator().manual_seed(0), plain, still, plain[:0])


def terms(made, teacher=None, **weights):
    found = elnet_loss(Network(), Weights(**weights), teacher, made, 0.0)
    return {name: float(term.detach()) for name, term in found.items()}


def test_each_source_has_its_own_term():
    found = terms(batch(False, True, False, counts=(1, 1, 1)), contrast=0.0)
    assert found.keys() == {"exemplar", "synthetic", "pseudo_labelled"}
    assert found["exemplar"] < 0.01
    assert found["pseudo_labelled"] < 0.01
    assert found["synthetic"] > 3


def test_weights_multiply_and_zero_leaves_out():
    made = batch(False, True, counts=(1, 1, 0))
    once, twice = (terms(made, contrast=0.0, synthetic=weight)["synthetic"] for weight in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)
    assert terms(made, contrast=0.0, synthetic=0.0).keys() == {"exemplar"}
    assert "contrast" in terms(made)


def test_the_pools_unknown_pixels_do_not_count():
    made = batch(False, True, counts=(1, 0, 1))
    made.slices.known[1] = False
    assert terms(made, contrast=0.0)["pseudo_labelled"] == pytest.approx(0, abs=1e-6)


def test_a_teachers_labels_take_the_place_of_the_pools():
    teacher = Network()
    made = batch(False, True, counts=(1, 0, 1), plain=slices(False).image)
    assert terms(made, contrast=0.0)["pseudo_labelled"] > 3
    assert terms(made, teacher, contrast=0.0)["pseudo_labelled"] < 0.01
    assert terms(made, teacher, contrast=0.0)["exemplar"] < 0.01


def test_what_a_teacher_is_not_sure_of_is_not_learned():
    unsure = Network()
    unsure.gain.data.fill_(0.1)
    made = batch(False, True, counts=(1, 0, 1), plain=-slices(False).image)
    assert terms(made, unsure, contrast=0.0)["pseudo_labelled"] > 3
    assert terms(made, unsure, contrast=0.0, confidence=0.9)["pseudo_labelled"] == pytest.approx(0, abs=1e-6)


def test_a_teachers_labels_are_moved_as_the_slice_was():
    """The student sees slices upside down, of which the teacher saw the upright ones."""
    made = batch(False, True, counts=(1, 0, 1), plain=slices(False).image)
    made.places = made.places.flip(1)
    assert terms(made, Network(), contrast=0.0)["pseudo_labelled"] > 3
    made.slices.image[1] = made.slices.image[1].flip(1)
    assert terms(made, Network(), contrast=0.0)["pseudo_labelled"] < 0.01


def test_what_is_mirrored_in_from_beyond_a_border_is_not_learned():
    made = batch(False, True, counts=(1, 0, 1), plain=slices(False).image)
    made.places = made.places - 8  # all of it
    assert terms(made, Network(), contrast=0.0)["pseudo_labelled"] == pytest.approx(0, abs=1e-6)


def test_what_a_teacher_finds_beside_the_largest_piece_is_not_learned():
    image = -torch.ones(1, 1, 8, 8)
    image[:, :, :4], image[:, :, 6:, 6:] = 1, 1  # a structure, and a speck
    made = batch(False, False, counts=(1, 0, 1), plain=image)
    assert terms(made, Network(), contrast=0.0)["pseudo_labelled"] > 0.1
    assert terms(made, Network(), contrast=0.0, one_piece=True)["pseudo_labelled"] < 0.01


def test_a_teacher_has_to_be_surer_of_background():
    labels, probability = torch.tensor([[[0, 1]]]), torch.full((1, 1, 2), 0.8)
    assert sure_enough(probability, labels, 0.6, 0.95).tolist() == [[[False, True]]]
    assert sure_enough(probability, labels, 0.9, 0.0).tolist() == [[[False, False]]]


def test_neighbours_are_to_agree_where_they_look_alike():
    sure = torch.tensor([9.0, -9.0]).view(1, 2, 1, 1)
    image = torch.zeros(1, 1, 1, 1)
    assert float(neighbour_consistency(sure, sure, image, image)) == 0
    assert float(neighbour_consistency(sure, -sure, image, image)) == pytest.approx(2, abs=1e-3)
    both = torch.cat([sure, -sure], dim=3)
    looks = torch.tensor([[[[0.0, 5.0]]]])
    disagreeing_where_unlike = torch.cat([sure, sure], dim=3)
    assert float(neighbour_consistency(both, disagreeing_where_unlike, torch.zeros(1, 1, 1, 2), looks)) < 1e-3


def test_neighbours_count_by_their_weight_where_they_come_along():
    made = batch(False, True, counts=(1, 0, 1), plain=slices(False).image)
    assert "neighbours" not in terms(made, contrast=0.0, neighbours=1.0)
    made.following = -made.plain_pool
    assert terms(made, contrast=0.0, neighbours=2.0)["neighbours"] > 0
    assert "neighbours" not in terms(made, contrast=0.0)
