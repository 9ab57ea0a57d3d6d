import pytest
import torch
import torch.nn.functional as F

from lowshot.nn.window_attention import (
    GaussianAxialAttention,
    LocalGlobalAttention,
    WindowAttention,
    enlarged,
    into_windows,
    out_of_windows,
)


def close_with_gradients(found, expected, *inputs):
    """Both, and the gradients of a random weighting of each."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn(found.shape)
    ours, theirs = (torch.autograd.grad((weights * each).sum(), inputs) for each in (found, expected))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def attended(query, keys, values, scale=1.0, bias=0.0):
    """One query (c) to n keys (n, c)."""
    shares = (scale * (keys @ query) + bias).exp()
    return (shares / shares.sum()) @ values


def windows_by_loops(attention, windows):
    """Window by window, head by head, token by token."""
    query, key, value = attention.query_key_value(windows).chunk(3, dim=-1)
    b, p, q, tokens, width = windows.shape
    size, mixed = width // 8, []
    for n, i, j in ((n, i, j) for n in range(b) for i in range(p) for j in range(q)):
        for head in range(8):
            part = slice(head * size, (head + 1) * size)
            for t in range(tokens):
                one = query[n, i, j, t, part]
                mixed.append(attended(one, key[n, i, j, :, part], value[n, i, j, :, part], size**-0.5))
    heads = torch.stack(mixed).view(b, p, q, 8, tokens, size)
    return attention.out(heads.transpose(3, 4).flatten(4))


def axial_by_loops(attention, tokens, b=0.0):
    """−(s·d² + b) is added to every score, as in MT-UNet's public code."""
    query, key, value = attention.query_key_value(tokens).chunk(3, dim=-1)
    found = torch.zeros_like(tokens)
    for n, i, j in torch.cartesian_prod(*(torch.arange(size) for size in tokens.shape[:3])).tolist():
        across = -(attention.sharpness * torch.tensor([(x - j) ** 2 for x in range(tokens.shape[2])]) + b)
        down = -(attention.sharpness * torch.tensor([(y - i) ** 2 for y in range(tokens.shape[1])]) + b)
        one = query[n, i, j]
        found[n, i, j] = attended(one, key[n, i], value[n, i], bias=across)
        found[n, i, j] += attended(one, key[n, :, j], value[n, :, j], bias=down)
    return found


def test_attention_in_windows_is_that_of_loops():
    torch.manual_seed(0)
    attention, windows = WindowAttention(16), torch.randn(2, 1, 2, 16, 16, requires_grad=True)
    close_with_gradients(attention(windows), windows_by_loops(attention, windows), windows, *attention.parameters())


@pytest.mark.parametrize("size", [(3, 4), (1, 5), (1, 1)])
def test_axial_attention_is_that_of_loops(size):
    torch.manual_seed(0)
    attention, tokens = GaussianAxialAttention(4), torch.randn(2, *size, 4, requires_grad=True)
    close_with_gradients(attention(tokens), axial_by_loops(attention, tokens), tokens, attention.query_key_value.weight)


def test_the_gradient_of_the_sharpness_is_that_of_loops():
    torch.manual_seed(0)
    attention, tokens = GaussianAxialAttention(4), torch.randn(1, 3, 4, 4)
    close_with_gradients(attention(tokens), axial_by_loops(attention, tokens), attention.sharpness)


def test_the_learned_constant_of_the_public_code_would_change_nothing():
    torch.manual_seed(0)
    attention, tokens = GaussianAxialAttention(4), torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(attention(tokens), axial_by_loops(attention, tokens, b=-0.7), rtol=1e-4, atol=1e-5)


def test_a_very_sharp_window_sees_itself_alone():
    attention, tokens = GaussianAxialAttention(4), torch.randn(2, 3, 4, 4)
    attention.sharpness.data.fill_(1e4)
    torch.testing.assert_close(attention(tokens), 2 * attention.query_key_value(tokens)[..., 8:])


def test_large_scores_stay_finite_in_bfloat16():
    """The axial attention is not scaled: a wide network's scores are in the hundreds."""
    torch.manual_seed(0)
    attention, tokens = GaussianAxialAttention(64), 40 * torch.randn(1, 4, 4, 64)
    tokens.requires_grad_()
    for training in (True, False):
        with torch.set_grad_enabled(training), torch.autocast("cpu", dtype=torch.bfloat16):
            found = attention(tokens)
        assert torch.isfinite(found).all()
        if training:
            found.float().sum().backward()
            assert torch.isfinite(tokens.grad).all()


def test_windows_hold_4_by_4_tokens_and_zeros_beyond_the_end():
    tokens = torch.arange(1, 5 * 6 + 1).float().view(1, 5, 6, 1)
    windows = into_windows(tokens)
    assert windows.shape == (1, 2, 2, 16, 1)
    assert windows[0, 0, 0, :, 0].tolist() == [1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16, 19, 20, 21, 22]
    assert windows[0, 1, 1, :, 0].tolist() == [29, 30] + [0] * 14
    assert torch.equal(out_of_windows(windows, (5, 6)), tokens)


@pytest.mark.parametrize("size", [(8, 12), (4, 4), (7, 10)])
def test_enlarging_is_pytorchs_bilinear_interpolation_between_corners(size):
    coarse = [-(-each // 4) for each in size]
    tokens = torch.randn(2, *coarse, 3, requires_grad=True)
    expected = F.interpolate(tokens.movedim(-1, 1), scale_factor=4, mode="bilinear", align_corners=True).movedim(1, -1)
    close_with_gradients(enlarged(tokens, size), expected[:, : size[0], : size[1]], tokens)


@pytest.mark.parametrize("size", [(4, 8), (7, 6)])
def test_local_and_global_are_joined_as_described(size):
    """Concatenation, then one matrix; ours takes the matrix before the interpolation."""
    torch.manual_seed(0)
    attention, tokens = LocalGlobalAttention(16), torch.randn(1, *size, 16, requires_grad=True)
    h, w = size
    padded = F.pad(tokens, (0, 0, 0, -w % 4, 0, -h % 4))
    windows = windows_by_loops(attention.local, into_windows(padded))
    shares = attention.share(windows.mean(3)).softmax(-1)
    distant = axial_by_loops(attention.axial, (shares[..., None] * windows).sum(3))
    distant = F.interpolate(distant.movedim(-1, 1), scale_factor=4, mode="bilinear", align_corners=True).movedim(1, -1)
    joined = attention.join(torch.cat([distant, out_of_windows(windows, padded.shape[1:3])], dim=-1))
    close_with_gradients(attention(tokens), joined[:, :h, :w], tokens, *attention.parameters())


def test_widths_that_eight_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="multiple of 8, got 12"):
        WindowAttention(12)
