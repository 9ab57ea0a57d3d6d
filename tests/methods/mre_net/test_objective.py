import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowshot.methods.mre_net.network import PrototypeClassifier
from lowshot.methods.mre_net.objective import hard_examples, majority_classes, mined_loss

MAJORITY, MULTIPLE = (0, 1), 2.0


def random_labels(*shape, classes=4, seed=0):
    """Two frequent and two rare classes."""
    random = torch.Generator().manual_seed(seed)
    frequent = torch.randint(2, shape, generator=random)
    rare = torch.randint(2, classes, shape, generator=random)
    return torch.where(torch.rand(shape, generator=random) < 0.1, rare, frequent).to(torch.int16)


def naive_kept(hardness, labels, known, majority=MAJORITY, multiple=MULTIPLE):
    """One voxel after the other, as the paper says it."""
    minority = [n for n in range(len(labels)) if known[n] and int(labels[n]) not in majority]
    common = [n for n in range(len(labels)) if known[n] and int(labels[n]) in majority]
    hardest = sorted(common, key=lambda n: -float(hardness[n]))
    return set(minority) | set(hardest[: int(multiple * len(minority))])


def test_all_of_the_minority_and_the_hardest_of_the_majority():
    labels, hardness = random_labels(300), torch.rand(300)
    known = torch.rand(300) < 0.8
    kept = hard_examples(hardness, labels, known, majority=MAJORITY, multiple=MULTIPLE)
    assert set(kept.nonzero().flatten().tolist()) == naive_kept(hardness, labels, known)
    minority = int(((labels > 1) & known).sum())
    assert int(kept.sum()) == minority + 2 * minority


def test_shape_is_kept_and_does_not_matter():
    labels, hardness = random_labels(2, 5, 6, 5), torch.rand(2, 5, 6, 5)
    known = torch.ones_like(labels, dtype=torch.bool)
    kept = hard_examples(hardness, labels, known, majority=MAJORITY, multiple=MULTIPLE)
    flat = hard_examples(hardness.flatten(), labels.flatten(), known.flatten(), majority=MAJORITY, multiple=MULTIPLE)
    assert kept.shape == labels.shape
    assert torch.equal(kept.flatten(), flat)


def test_without_a_minority_the_hardest_hundredth_is_kept():
    labels, hardness = torch.zeros(1000, dtype=torch.int16), torch.rand(1000)
    kept = hard_examples(hardness, labels, torch.ones(1000, dtype=torch.bool), majority=(0,), multiple=6.0)
    assert set(kept.nonzero().flatten().tolist()) == set(hardness.topk(10).indices.tolist())


def test_a_large_minority_takes_every_majority_voxel_there_is():
    labels = torch.tensor([0] * 10 + [2] * 90)
    kept = hard_examples(torch.rand(100), labels, torch.ones(100, dtype=torch.bool), majority=(0,), multiple=6.0)
    assert kept.all()


@pytest.mark.parametrize("majority", [(0,), ()])
def test_nothing_known_keeps_nothing(majority):
    kept = hard_examples(
        torch.rand(50), random_labels(50), torch.zeros(50, dtype=torch.bool), majority=majority, multiple=6.0
    )
    assert not kept.any()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1000, 100, 90, 5, 4], (0, 1, 2, 3)),  # 5 is a twentieth of 100
        ([1000, 100, 90, 4, 4], (0, 1, 2)),
        ([1000, 50], (0,)),  # ultrasound: the lesion is the minority
        ([1000, 50, 45], (0,)),  # two kidneys
        ([10, 50, 0, 1], (0, 1)),  # a structure that does not occur is in neither group
        ([1000, 0, 0], (0,)),
        ([1000], (0,)),
    ],
)
def test_majority_follows_from_the_counts(counts, expected):
    assert majority_classes(counts) == expected


def problem(seed=0):
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Linear(5, 6), PrototypeClassifier(6, 4, modes=2, hidden=4))
    features = torch.randn(2, 5, 4, 5, 3)
    labels = random_labels(2, 4, 5, 3, seed=seed)
    known = torch.rand(labels.shape) < 0.8
    return head, features, labels, known


def naive_loss(head, features, labels, known, majority, multiple=MULTIPLE):
    """Eq. 5 over what is kept: every voxel classified with gradient, summed category by category."""
    logits = torch.stack([head(voxel) for voxel in features.movedim(1, -1).reshape(-1, 5)])
    flat, hardness = labels.flatten(), F.cross_entropy(logits, labels.flatten().long(), reduction="none")
    kept = set(known.flatten().nonzero().flatten().tolist())
    if majority is not None:
        kept = naive_kept(hardness.tolist(), flat, known.flatten(), majority, multiple)
    loss = torch.zeros(())
    for k in range(4):
        own = [hardness[n] for n in sorted(kept) if int(flat[n]) == k]
        if own:
            loss = loss + torch.stack(own).mean()
    return loss


@pytest.mark.parametrize("majority", [None, MAJORITY, (0,)])
def test_loss_and_gradient_are_those_of_a_plain_loop(majority):
    head, features, labels, known = problem()
    values, gradients = [], []
    for loss in (
        lambda x: mined_loss(head, x, labels, known, majority=majority, multiple=MULTIPLE),
        lambda x: naive_loss(head, x, labels, known, majority),
    ):
        x = features.clone().requires_grad_()
        head.zero_grad()
        value = loss(x)
        value.backward()
        values.append(value.detach())
        gradients.append([x.grad, *(p.grad.clone() for p in head.parameters())])
    torch.testing.assert_close(*values)
    for mined, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(mined, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("majority", [None, MAJORITY])
def test_the_head_is_trained_in_bfloat16_too(majority):
    """The pass that ranks must not leave casts of the weights behind that carry no gradient."""
    gradients = []
    for enabled in (False, True):
        head, features, labels, known = problem()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = mined_loss(head, features, labels, known, majority=majority, multiple=100.0)
        loss.backward()
        gradients.append({name: p.grad for name, p in head.named_parameters()})
    for name, exact in gradients[0].items():
        assert gradients[1][name] is not None, name
        assert torch.cosine_similarity(exact.flatten(), gradients[1][name].flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize("majority", [None, MAJORITY])
def test_voxels_that_are_not_known_have_no_say(majority):
    head, features, labels, known = problem()
    lies = torch.where(known, labels, 3)
    one, other = (mined_loss(head, features, each, known, majority=majority) for each in (labels, lies))
    assert torch.equal(one, other)


def test_balance_is_passed_on():
    head, features, labels, known = problem()
    logits = head(features.movedim(1, -1))[known]
    plain = F.cross_entropy(logits, labels[known].long())
    present = len(labels[known].unique())
    loss = mined_loss(head, features, labels, known, majority=None, balance=0.0)
    torch.testing.assert_close(loss, present * plain)


@pytest.mark.parametrize("majority", [None, MAJORITY])
def test_a_batch_without_known_voxels_trains_nothing(majority):
    head, features, labels, known = problem()
    loss = mined_loss(head, features, labels, torch.zeros_like(known), majority=majority)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in head.parameters())
