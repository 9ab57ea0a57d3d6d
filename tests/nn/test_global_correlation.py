import math

import pytest
import torch
import torch.nn.functional as F

from lowshot.nn.global_correlation import FEW, Correlation, GlobalCorrelation, attended, grouped, ungrouped

P = 4
SIZE = (8, 12)  # 4×4 blocks of 2×3 pixels


def places(size=SIZE):
    return torch.cartesian_prod(*map(torch.arange, size))


def same_offset(size=SIZE):
    """Which pixels lie at the same place of their blocks."""
    block = torch.tensor([each // P for each in size])
    offset = places(size) % block
    return (offset[:, None] == offset).all(dim=2)


def same_block(size=SIZE):
    block = torch.tensor([each // P for each in size])
    number = places(size) // block
    return (number[:, None] == number).all(dim=2)


def with_a_norm_that_does_something(module):
    for name, values in module.named_parameters():
        if name.endswith("omega.1.weight"):
            torch.nn.init.ones_(values)
    return module


@pytest.mark.parametrize("offsets", [True, False])
def test_groups_are_what_they_are_said_to_be(offsets):
    numbers = torch.arange(math.prod(SIZE)).float().view(1, 1, *SIZE)
    allowed = same_offset() if offsets else same_block()
    groups = grouped(numbers, P, offsets)
    assert groups.shape == ((6, 1, P, P) if offsets else (P * P, 1, 2, 3))
    for group in groups.flatten(1).long():
        assert group.tolist() == allowed[group[0]].nonzero().flatten().tolist()


@pytest.mark.parametrize("offsets", [True, False])
def test_groups_become_the_map_again(offsets):
    x = torch.randn(3, 5, *SIZE)
    assert torch.equal(ungrouped(grouped(x, P, offsets), P, offsets, SIZE), x)


@pytest.mark.parametrize("tokens", [7, FEW + 1])
def test_attention_is_not_scaled(tokens):
    torch.manual_seed(0)
    theta, phi, g = torch.randn(3, 5, 6), torch.randn(3, tokens, 6), torch.randn(3, tokens, 6)
    expected = torch.einsum("ntu,nud->ntd", torch.einsum("ntd,nud->ntu", theta, phi).softmax(dim=-1), g)
    torch.testing.assert_close(attended(theta, phi, g), expected)


@pytest.mark.parametrize(("offsets", "allowed"), [(True, same_offset()), (False, same_block())])
def test_a_step_is_full_attention_that_is_forbidden_elsewhere(offsets, allowed):
    torch.manual_seed(0)
    layer, x = with_a_norm_that_does_something(Correlation(6)).eval(), torch.randn(2, 6, *SIZE)
    theta, phi, g = (part(x).flatten(2).mT for part in (layer.theta, layer.phi, layer.g))
    scores = (theta @ phi.mT).masked_fill(~allowed, -torch.inf)
    mixed = (scores.softmax(dim=-1) @ g).mT.unflatten(2, SIZE)
    torch.testing.assert_close(layer(x, P, offsets), x + layer.omega(mixed))


def test_pooled_groups_are_attended_by_the_largest_of_four():
    torch.manual_seed(0)
    layer, x = with_a_norm_that_does_something(Correlation(4, 2.0)).eval(), torch.randn(1, 4, 16, 8)
    found, block = layer(x, P, False), (..., slice(4, 8), slice(2, 4))  # in row 1, column 1
    theta, phi, g = (part(x[block]) for part in (layer.theta, layer.phi, layer.g))
    phi, g = (F.max_pool2d(each, 2).flatten(2).mT for each in (phi, g))
    mixed = ((theta.flatten(2).mT @ phi.mT).softmax(dim=-1) @ g).mT.unflatten(2, (4, 2))
    torch.testing.assert_close(found[block], x[block] + layer.omega(mixed))


@pytest.mark.parametrize(
    ("pooled", "size", "differs"),
    [("large", 124, False), ("large", 128, True), ("always", 8, True), ("always", 4, True)],
)
def test_what_is_pooled_depends_on_the_size_of_blocks(pooled, size, differs):
    """Blocks of 31 and of 32 pixels; where they are single pixels, the groups of offsets are what is pooled."""
    torch.manual_seed(0)
    plain = with_a_norm_that_does_something(GlobalCorrelation(1, pooled="never")).eval()
    other = GlobalCorrelation(1, pooled=pooled).eval()
    other.load_state_dict(plain.state_dict())
    s, q = torch.randn(2, 1, 1, size, size).unbind()
    assert torch.allclose(plain(s, q), other(s, q)) != differs


def reached(layer, start, size=SIZE):
    """The pixels in which anything changes when one pixel of the input does."""
    x = torch.randn(1, 4, *size, dtype=torch.float64)
    changed = x.clone()
    changed[..., start[0], start[1]] += 1
    return (layer(x) != layer(changed)).any(dim=1)[0]


def test_after_one_step_a_pixel_reaches_its_group_alone_and_after_both_every_other():
    torch.manual_seed(0)
    module = with_a_norm_that_does_something(GlobalCorrelation(2)).eval().double()
    for start in ((0, 0), (3, 7), (7, 11)):
        row = start[0] * SIZE[1] + start[1]
        long = reached(lambda x: module.long(x, P, True), start)
        assert torch.equal(long.flatten(), same_offset()[row])
        short = reached(lambda x: module.short(x, P, False), start)
        assert torch.equal(short.flatten(), same_block()[row])
        assert reached(lambda x: module.short(module.long(x, P, True), P, False), start).all()
        assert not (long | short).all()


@pytest.mark.parametrize("which", [0, 1])
def test_every_pixel_of_the_query_learns_of_every_pixel_of_both(which):
    torch.manual_seed(0)
    module = with_a_norm_that_does_something(GlobalCorrelation(3)).eval().double()
    maps = [torch.randn(1, 3, *SIZE, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    found = module(*maps)
    for i, j in ((0, 0), (5, 6)):
        (slope,) = torch.autograd.grad(found[0, :, i, j].sum(), maps[which], retain_graph=True)
        assert (slope != 0).any(dim=1).all()


def test_it_begins_as_a_convolution_of_both_maps():
    torch.manual_seed(0)
    module, s, q = GlobalCorrelation(3), torch.randn(2, 3, *SIZE), torch.randn(2, 3, *SIZE)
    torch.testing.assert_close(module(s, q), q + module.join(torch.cat([s, q], dim=1)))


def test_one_support_serves_every_query():
    torch.manual_seed(0)
    module = with_a_norm_that_does_something(GlobalCorrelation(2)).eval()
    s, q = torch.randn(1, 2, *SIZE), torch.randn(3, 2, *SIZE)
    torch.testing.assert_close(module(s, q), module(s.expand(3, -1, -1, -1), q))


def test_the_gradient_reaches_every_parameter_but_what_waits_for_the_norm():
    torch.manual_seed(0)
    module, s, q = GlobalCorrelation(2), torch.randn(2, 2, *SIZE), torch.randn(2, 2, *SIZE)
    module(s, q).square().sum().backward()
    still = {name.split(".", 1)[1] for name, values in module.named_parameters() if not values.grad.any()}
    waiting = {f"{part}.{kind}" for part in ("theta", "phi", "g", "omega.0") for kind in ("weight", "bias")}
    assert still == waiting


def test_bfloat16_agrees_with_float32():
    torch.manual_seed(0)
    module = with_a_norm_that_does_something(GlobalCorrelation(8))
    s, q = torch.randn(2, 2, 8, 48, 48).unbind()
    full = module(s, q)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module(s, q).float()
    assert float((half - full).detach().norm() / full.detach().norm()) < 0.02


def test_shapes_are_known_without_computing():
    with torch.device("meta"):
        assert GlobalCorrelation(4)(torch.empty(1, 4, 64, 64), torch.empty(2, 4, 64, 64)).shape == (2, 4, 64, 64)


def test_sizes_that_cannot_be_cut_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4, got \(8, 10\)"):
        GlobalCorrelation(2)(torch.randn(1, 2, 8, 10), torch.randn(1, 2, 8, 10))
