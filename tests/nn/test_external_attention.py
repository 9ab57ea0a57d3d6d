import pytest
import torch

from lowshot.nn.external_attention import ExternalAttention, normalised_twice


def as_described(similarity):
    """Softmax over the tokens, then divided by the sum over the memories."""
    attention = similarity.softmax(1)
    return attention / (attention.sum(-1, keepdim=True) + 1e-9)


def test_a_case_by_hand():
    """Two tokens, one head, two memories. Over tokens: (3/4, 1/2) and (1/4, 1/2); then every token's sum is 1."""
    similarity = torch.tensor([[3.0, 5.0], [1.0, 5.0]]).log().view(1, 2, 1, 2)
    expected = torch.tensor([[3 / 5, 2 / 5], [1 / 3, 2 / 3]])
    torch.testing.assert_close(normalised_twice(similarity).view(2, 2), expected)


def test_its_gradient_is_that_of_the_formula():
    torch.manual_seed(0)
    similarity = (3 * torch.randn(3, 5, 4, 6)).requires_grad_()
    weights = torch.randn(similarity.shape)
    found, expected = normalised_twice(similarity), as_described(similarity)
    torch.testing.assert_close(found, expected)
    (own,) = torch.autograd.grad((weights * found).sum(), similarity)
    (other,) = torch.autograd.grad((weights * expected).sum(), similarity)
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_bfloat16_differs_by_its_rounding_alone():
    torch.manual_seed(0)
    similarity = (3 * torch.randn(2, 300, 4, 64)).bfloat16().requires_grad_()
    exact = similarity.detach().double().requires_grad_()
    weights = torch.randn(similarity.shape).bfloat16()
    found, expected = normalised_twice(similarity), as_described(exact)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=0)
    (own,) = torch.autograd.grad(found, similarity, weights)
    (other,) = torch.autograd.grad(expected, exact, weights.double())
    assert float((own.double() - other).norm() / other.norm()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_that_resembles_no_memory_is_finite(dtype):
    """Beside others, its share of every memory is smaller than any number."""
    similarity = torch.zeros(1, 3, 1, 2, dtype=dtype)
    similarity[0, 0] = -1e4
    similarity.requires_grad_()
    found = normalised_twice(similarity)
    found.float().square().sum().backward()
    assert found[0, 0].tolist() == [[0, 0]]
    assert torch.isfinite(similarity.grad).all()


def test_images_do_not_see_each_other_and_tokens_have_no_order():
    torch.manual_seed(0)
    attention, tokens = ExternalAttention(16), torch.randn(3, 10, 16)
    order = torch.randperm(10)
    torch.testing.assert_close(attention(tokens[:, order]), attention(tokens)[:, order])
    torch.testing.assert_close(attention(tokens)[1:2], attention(tokens[1:2]))


def test_it_is_32_heads_that_share_their_memory():
    torch.manual_seed(0)
    attention, tokens = ExternalAttention(16), torch.randn(2, 10, 16, requires_grad=True)
    queries = attention.query(tokens)
    heads = [queries[..., 2 * n : 2 * n + 2] for n in range(32)]
    found = [attention.values(as_described(attention.keys(each)[:, :, None])[:, :, 0]) for each in heads]
    expected = attention.out(torch.cat(found, dim=-1))
    torch.testing.assert_close(attention(tokens), expected, rtol=1e-4, atol=1e-6)
    parameters = list(attention.parameters())
    weights = torch.randn(expected.shape)
    ours, theirs = (
        torch.autograd.grad((weights * each).sum(), [tokens, *parameters]) for each in (attention(tokens), expected)
    )
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_widths_that_the_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="multiple of 8, got 20"):
        ExternalAttention(20)
