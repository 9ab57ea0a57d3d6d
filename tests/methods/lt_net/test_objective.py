import pytest
import torch
from torch import nn

from lowshot.losses.overlap import soft_dice
from lowshot.methods.lt_net.objective import Generators, Pair, Weights, critic_loss, generator_loss

SPACING = (2.0, 2.0, 4.0)
SHAPE = (20, 22, 18)


class Constant(nn.Module):
    """A generator that moves every voxel alike, by whole voxels."""

    def __init__(self, i, j, k):
        super().__init__()
        self.voxels = nn.Parameter(torch.tensor([float(i), float(j), float(k)]))

    def forward(self, moving, fixed):
        return self.voxels.view(1, 3, 1, 1, 1).expand(1, 3, *moving.shape[2:])


class Score(nn.Module):
    def forward(self, volume):
        return volume[:, :, ::8, ::8, ::8]


def textured(shift=0):
    """A picture that is zero near its faces, so that shifting it loses nothing."""
    random = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 1, *SHAPE)
    picture[:, :, 6:14, 6:14, 6:12] = torch.rand(1, 1, 8, 8, 6, generator=random)
    return picture.roll(shift, dims=2)


def labels():
    maps = torch.zeros(1, 2, *SHAPE)
    maps[:, 0, 6:10, 6:14, 6:12], maps[:, 1, 10:14, 6:14, 6:12] = 1, 1
    return maps


def terms(forward, backward, pair, done=0.0, **weights):
    chosen = Weights(**weights)
    generators = Generators(Constant(*forward), Constant(*backward) if chosen.cycle else None)
    found = generator_loss(generators, Score() if chosen.adversarial else None, chosen, 9, pair, done)
    return {name: term.detach() for name, term in found.items()}


def pair(shift=0, with_labels=True):
    return Pair(textured(), textured(shift), labels() if with_labels else None, SPACING)


def test_where_nothing_moves_every_cycle_is_closed():
    found = terms((0, 0, 0), (0, 0, 0), pair())
    least = (1e-3**2) ** 0.45  # of the generalised Charbonnier penalty
    assert found["image_cycle"] == pytest.approx(0, abs=1e-6)
    assert found["smoothness"] == 0
    assert found["anatomy_cycle"] == pytest.approx(0, abs=1e-6)
    assert float(found["transformation_cycle"]) == pytest.approx(3 * least, rel=1e-4)
    assert float(found["anatomy_difference"]) == pytest.approx(3 * least, rel=1e-4)


def test_there_and_back_is_nowhere():
    """The target shows at p what the atlas has at p + 2 voxels; the way back undoes it."""
    found = terms((2, 0, 0), (-2, 0, 0), pair(shift=-2))
    still = terms((0, 0, 0), (0, 0, 0), pair())
    for name in ("similarity", "image_cycle", "anatomy_cycle", "transformation_cycle"):
        torch.testing.assert_close(found[name], still[name], atol=1e-4, rtol=1e-4)


def test_a_way_that_does_not_lead_back_costs():
    there = terms((2, 0, 0), (0, 0, 0), pair(shift=-2))
    back = terms((2, 0, 0), (-2, 0, 0), pair(shift=-2))
    for name in ("image_cycle", "transformation_cycle", "anatomy_cycle", "anatomy_difference"):
        assert there[name] > back[name]
    # 2 voxels of 2 mm along i, nothing along the others, in the mean over components
    rho, least = (4.0**2 + 1e-6) ** 0.45, (1e-6) ** 0.45
    assert float(there["transformation_cycle"]) == pytest.approx(3 * (rho + 2 * least) / 3, rel=1e-4)


def test_the_images_cycle_is_their_mean_difference():
    found = terms((0, 0, 0), (1, 0, 0), pair(with_labels=False), anatomy_cycle=0.0, anatomy_difference=0.0)
    expected = 10 * (textured(-1) - textured()).abs().mean()
    torch.testing.assert_close(found["image_cycle"], expected, atol=1e-5, rtol=1e-4)


def test_a_weight_of_zero_leaves_its_term_out():
    every = {"adversarial", "image_cycle", "transformation_cycle", "anatomy_cycle", "anatomy_difference"}
    assert terms((0, 0, 0), (0, 0, 0), pair()).keys() == every | {"similarity", "smoothness"}
    for name in every:
        assert terms((0, 0, 0), (0, 0, 0), pair(), **{name: 0.0}).keys() == (every - {name}) | {
            "similarity",
            "smoothness",
        }


def test_there_and_back_is_nowhere_for_parts_of_voxels_too():
    found = terms((0.5, 0, 0), (-0.5, 0, 0), pair())
    still = terms((0, 0, 0), (0, 0, 0), pair())
    for name in ("image_cycle", "anatomy_cycle", "transformation_cycle"):
        torch.testing.assert_close(found[name], still[name], atol=1e-4, rtol=1e-4)


# Pictures warped twice, as in the paper


def moving(forward, backward, batch, **weights):
    return terms(forward, backward, batch, adversarial=0.0, similarity=0.0, smoothness=0.0, **weights)


def test_over_whole_voxels_both_forms_of_the_cycles_are_one():
    composed, twice = (moving((2, 0, 0), (-1, 0, 0), pair(shift=-2), composed=form) for form in (True, False))
    assert composed.keys() == twice.keys()
    for name, term in composed.items():
        torch.testing.assert_close(term, twice[name], atol=1e-5, rtol=1e-4)


def test_of_small_smooth_fields_both_forms_of_the_cycles_are_nearly_one():
    i = torch.linspace(0, 2 * torch.pi, SHAPE[0]).view(1, 1, -1, 1, 1)
    smooth = (1 - i.cos()).expand(1, 1, *SHAPE) / 2

    class Waving(nn.Module):
        def forward(self, moving, fixed):
            return 0.1 * torch.cat([i.sin().expand(1, 1, *SHAPE), torch.zeros(1, 2, *SHAPE)], dim=1)

    batch = Pair(smooth, smooth, smooth, SPACING)
    composed, twice = (
        generator_loss(Generators(Waving(), Waving()), None, Weights(adversarial=0.0, composed=form), 9, batch, 0.0)
        for form in (True, False)
    )
    assert float(composed["image_cycle"]) > 0.1
    for name in ("image_cycle", "anatomy_cycle", "anatomy_difference"):
        torch.testing.assert_close(composed[name], twice[name], atol=1e-3, rtol=0.02)


def test_warped_there_and_back_by_half_a_voxel_a_picture_is_blurred():
    """Half a voxel there and half a voxel back, each linearly interpolated: a quarter of either neighbour."""
    found = moving((0.5, 0, 0), (-0.5, 0, 0), pair(), composed=False)

    def blurred(picture):
        return (picture.roll(1, dims=2) + 2 * picture + picture.roll(-1, dims=2)) / 4

    x, x_s = textured(), labels()
    torch.testing.assert_close(found["image_cycle"], 10 * (blurred(x) - x).abs().mean(), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(found["anatomy_cycle"], 3 * soft_dice(x_s, blurred(x_s)), atol=1e-5, rtol=1e-3)
    assert found["transformation_cycle"] == pytest.approx(3 * (1e-3**2) ** 0.45, rel=1e-3)


def test_the_length_of_what_is_left_may_be_penalised():
    """2 voxels of 2 mm along i and 1 along j: 4 and 2 mm, the root of 20 together."""
    only = {"image_cycle": 0.0, "anatomy_cycle": 0.0, "anatomy_difference": 0.0}
    found = moving((2, 0, 0), (0, 1, 0), pair(with_labels=False), penalise_length=True, **only)
    assert float(found["transformation_cycle"]) == pytest.approx(3 * (20 + 1e-6) ** 0.45, rel=1e-4)


def test_a_length_of_zero_has_a_gradient():
    generators = Generators(Constant(0, 0, 0), Constant(0, 0, 0))
    chosen = Weights(adversarial=0.0, similarity=0.0, penalise_length=True)
    sum(generator_loss(generators, None, chosen, 9, pair(), 0.0).values()).backward()
    assert all(each.voxels.grad.isfinite().all() for each in generators.children())


@pytest.mark.parametrize("composed", [True, False])
@pytest.mark.parametrize(("done", "share"), [(0.0, 0.0), (0.1, 0.125), (0.4, 0.5), (0.9, 0.5)])
def test_a_share_of_the_cycles_gradient_reaches_the_way_there(done, share, composed):
    """What is minimised does not change, nor what the way back feels."""
    found = []
    for changes in ({"cycle_pull": 0.5, "cycle_warmup": 0.4}, {}):
        generators = Generators(Constant(2.3, 0, 0), Constant(-1.6, 0, 0))
        chosen = Weights(adversarial=0.0, similarity=0.0, composed=composed, **changes)
        loss = sum(generator_loss(generators, None, chosen, 9, pair(shift=-2), done).values())
        loss.backward()
        found.append((loss.detach(), *(each.voxels.grad for each in generators.children())))
    (loss, there, back), (full_loss, full_there, full_back) = found
    torch.testing.assert_close(loss, full_loss)
    torch.testing.assert_close(back, full_back)
    assert full_there[0] != 0
    torch.testing.assert_close(there, share * full_there)


def test_voxelmorph_has_no_way_back():
    off = dict.fromkeys(("image_cycle", "transformation_cycle", "anatomy_cycle", "anatomy_difference"), 0.0)
    assert not Weights(**off).cycle
    found = terms((0, 0, 0), (0, 0, 0), pair(with_labels=False), adversarial=0.0, **off)
    assert found.keys() == {"similarity", "smoothness"}


def test_the_critic_calls_real_zero_and_warped_one():
    class Perfect(nn.Module):
        def forward(self, volume):
            return torch.ones(1) if volume.sum() < 0 else torch.zeros(1)

    judged = Pair(textured(), textured(), None, SPACING, warped=-textured())
    assert sum(critic_loss(Perfect(), judged, 0.0).values()) == 0
    fooled = Pair(textured(), textured(), None, SPACING, warped=textured())
    assert float(sum(critic_loss(Perfect(), fooled, 0.0).values())) == 0.5


def test_the_critic_sees_what_the_generators_made():
    batch = pair(with_labels=False)
    with pytest.raises(ValueError, match="after the generators"):
        critic_loss(Score(), batch, 0.0)
    terms((1, 0, 0), (0, 0, 0), batch, anatomy_cycle=0.0, anatomy_difference=0.0)
    torch.testing.assert_close(batch.warped, textured(-1), atol=1e-4, rtol=1e-4)
    assert not batch.warped.requires_grad
