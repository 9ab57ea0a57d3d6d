import math

import pytest
import torch
import torch.nn.functional as F

from lowshot.losses.contrastive import class_prototypes, prototype_contrast


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_prototypes_by_hand():
    """Cells of 2×2 pixels; a single pixel of class 1 makes its cell one of class 1 and leaves it one of class 0."""
    embedding = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])  # 1 image, 2 numbers in each of 1×2 cells
    labels = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 0]]])
    prototypes, present = class_prototypes(embedding, labels, 3)
    assert prototypes.tolist() == [[[1.5, 15.0], [2.0, 20.0], [0.0, 0.0]]]
    assert present.tolist() == [[True, True, False]]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_labels_are_the_masks_of_all_classes(dtype):
    embedding, labels = torch.randn(3, 5, 4, 4), torch.randint(4, (3, 16, 16), generator=generator()).to(dtype)
    masks = F.one_hot(labels.long(), 4).movedim(-1, 1).bool()
    of_labels, of_masks = class_prototypes(embedding, labels, 4), class_prototypes(embedding, masks, 4)
    assert all(torch.equal(*pair) for pair in zip(of_labels, of_masks, strict=True))


def test_prototypes_at_full_size_are_means_over_the_class():
    embedding, labels = torch.randn(2, 3, 6, 5), torch.randint(3, (2, 6, 5), generator=generator())
    prototypes, present = class_prototypes(embedding, labels, 3)
    assert present.all()
    for n, k in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        torch.testing.assert_close(prototypes[n, k], embedding[n, :, labels[n] == k].mean(1))


def test_a_class_of_one_pixel_in_a_slice_is_not_missed():
    labels = torch.zeros(1, 224, 224, dtype=torch.int64)
    labels[0, 3, 220] = 1
    embedding = torch.randn(1, 8, 7, 7)
    prototypes, present = class_prototypes(embedding, labels, 2)
    assert present.all()
    torch.testing.assert_close(prototypes[0, 1], embedding[0, :, 0, 6])


def test_under_autocast_prototypes_are_float32():
    embedding, labels = torch.randn(2, 4, 8, 8), torch.randint(3, (2, 16, 16))
    expected, _ = class_prototypes(embedding, labels, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = class_prototypes(embedding, labels, 3)
    assert torch.equal(found, expected)


def as_described(prototypes, present, chosen, temperature):
    """The formula, anchor by anchor; ``chosen`` names the image of the positive."""
    images, classes = present.shape
    v, terms = prototypes / prototypes.norm(dim=-1, keepdim=True), []
    for n in range(images):
        for k in range(1, classes):
            if not present[n, k] or not any(present[m, k] for m in range(images) if m != n):
                continue
            others = [(i, j) for i in range(images) for j in range(classes) if i != n and j != k and present[i, j]]
            if not others:
                continue
            positive = (v[n, k] @ v[chosen(n, k), k] / temperature).exp()
            negative = sum((v[n, k] @ v[i, j] / temperature).exp() for i, j in others)
            terms.append(-(positive / (positive + negative)).log())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_it_is_the_formula(temperature):
    """Every class is in two images, so that there is no choice of positives."""
    torch.manual_seed(0)
    prototypes = torch.randn(4, 4, 6, requires_grad=True)
    present = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]]).bool()
    found = prototype_contrast(prototypes, present, generator(), temperature)
    holders = {k: present[:, k].nonzero().flatten().tolist() for k in range(4)}
    expected = as_described(prototypes, present, lambda n, k: next(m for m in holders[k] if m != n), temperature)
    torch.testing.assert_close(found, expected)
    own, other = (torch.autograd.grad(each, prototypes)[0] for each in (found, expected))
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_a_case_by_hand():
    """Two images, an organ and background, orthogonal to each other: both anchors have the cosines 1 and 0."""
    prototypes = torch.tensor([[[0.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [5.0, 0.0]]])
    present = torch.ones(2, 2, dtype=torch.bool)
    expected = math.log(1 + math.exp(-1 / 0.5))
    assert float(prototype_contrast(prototypes, present, generator(), 0.5)) == pytest.approx(expected)


def test_positives_are_drawn_uniformly_from_other_images_that_have_the_class():
    """Anchor 0 has class 1, as have images 1 to 3; image 4 has not. The loss tells which one was drawn."""
    angles = torch.tensor([0.0, 0.3, 0.6, 0.9, 1.2])
    prototypes = torch.zeros(5, 2, 3)
    prototypes[:, 1, :2] = torch.stack([angles.cos(), angles.sin()], 1)
    prototypes[:, 0, 2] = 1
    present = torch.tensor([[0, 1], [0, 1], [0, 1], [0, 1], [1, 0]]).bool()
    losses, draws = {}, generator(1)
    for _ in range(600):
        loss = float(prototype_contrast(prototypes, present, draws, 1.0))
        losses[round(loss, 5)] = losses.get(round(loss, 5), 0) + 1
    images = range(4)
    term = {(n, m): math.log(1 + math.exp(-math.cos(0.3 * (n - m)))) for n in images for m in images if n != m}
    expected = sum(term.values()) / len(term)
    assert len(losses) > 3
    assert sum(loss * count for loss, count in losses.items()) / 600 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "present",
    [
        [[1, 1, 0], [1, 0, 1]],  # no class is in two images
        [[0, 1, 0], [0, 1, 0]],  # nothing else is in the other image
        [[1, 0, 0], [1, 0, 0]],  # background alone
        [[0, 0, 0], [0, 0, 0]],
    ],
)
def test_where_no_anchor_counts_it_is_zero_and_can_be_differentiated(present):
    embedding = torch.randn(2, 4, 3, 3, requires_grad=True)
    mask = torch.tensor(present).bool()
    prototypes, found = class_prototypes(embedding, mask[..., None, None].expand(2, 3, 3, 3), 3)
    assert torch.equal(found, mask)
    loss = prototype_contrast(prototypes, found, generator())
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(embedding.grad, torch.zeros_like(embedding))


def test_a_single_image_has_nothing_to_compare_with():
    assert float(prototype_contrast(torch.randn(1, 3, 4), torch.ones(1, 3).bool(), generator())) == 0


def test_absent_classes_have_no_say_and_no_gradient():
    torch.manual_seed(0)
    prototypes = torch.randn(3, 4, 5, requires_grad=True)
    present = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 0]]).bool()
    loss = prototype_contrast(prototypes, present, generator())
    loss.backward()
    assert not prototypes.grad[~present].any()
    others = torch.where(present[..., None], prototypes, 100.0)
    assert float(prototype_contrast(others, present, generator()).detach()) == float(loss.detach())


def test_the_length_of_a_prototype_does_not_matter_and_zeros_do_no_harm():
    torch.manual_seed(0)
    prototypes, present = torch.randn(3, 3, 5), torch.ones(3, 3, dtype=torch.bool)
    loss = prototype_contrast(prototypes, present, generator())
    torch.testing.assert_close(prototype_contrast(1e4 * prototypes, present, generator()), loss)
    zeros = torch.zeros(3, 3, 5, requires_grad=True)
    prototype_contrast(zeros, present, generator()).backward()
    assert torch.isfinite(zeros.grad).all()


def test_learning_by_it_gathers_classes_and_parts_them():
    torch.manual_seed(0)
    prototypes, present = torch.randn(4, 3, 8, requires_grad=True), torch.ones(4, 3, dtype=torch.bool)
    optimiser, draws = torch.optim.Adam([prototypes], 0.1), generator()
    for _ in range(40):
        optimiser.zero_grad()
        prototype_contrast(prototypes, present, draws).backward()
        optimiser.step()
    v = F.normalize(prototypes.detach(), dim=-1)
    cosines = torch.einsum("nke,mje->kjnm", v, v)
    same = torch.cat([cosines[1, 1].flatten(), cosines[2, 2].flatten()])
    assert float(same.min()) > float(cosines[1, 2].max()) + 0.3


def test_under_autocast_it_is_float32():
    prototypes, present = torch.randn(3, 3, 16), torch.ones(3, 3, dtype=torch.bool)
    expected = prototype_contrast(prototypes, present, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prototype_contrast(prototypes, present, generator()), expected)
