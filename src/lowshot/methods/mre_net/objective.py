"""MRE-Net's loss: cross-entropy normalised per category, over voxels chosen by online hard example mining."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lowshot.losses.classification import category_mean, voxel_cross_entropy


def hard_examples(
    cross_entropy: Float[Tensor, "*any"],
    labels: Int[Tensor, "*any"],
    known: Bool[Tensor, "*any"],
    *,
    majority: Sequence[int],
    multiple: float,
    floor: float = 0.01,
) -> Bool[Tensor, "*any"]:
    """Which voxels of a mini-batch count: all of the minority, and the hardest ``multiple`` times as many others.

    ``multiple`` is the paper's N_Lg. Where a batch holds (almost) no minority voxel, the hardest ``floor`` of its
    known voxels are kept (ours), so that no step is empty. Hardness is the unweighted cross-entropy.
    """
    common = torch.isin(labels, torch.tensor(majority, device=labels.device)) & known
    minority = known & ~common
    budget = max(int(multiple * int(minority.sum())), int(floor * int(known.sum())), 1)
    # Sorting all, in place of taking the ``budget`` hardest, keeps the sizes of tensors equal from step to step.
    order = cross_entropy.detach().where(common, -math.inf).flatten().argsort(descending=True)
    hardest = torch.zeros_like(common.flatten())
    hardest[order[:budget]] = True
    return minority | (common & hardest.reshape(labels.shape))


def majority_classes(counts: Sequence[int], share: float = 0.05) -> tuple[int, ...]:
    """Background and every structure with at least ``share`` of the largest structure's voxels (ours).

    The paper names its groups per data set; this rule stands in where they are not given. Where it leaves no minority
    (one structure, or all of about one size), only background is the majority, as in the paper's ultrasound.
    """
    present = {k: count for k, count in enumerate(counts) if k > 0 and count > 0}
    large = [k for k, count in present.items() if count >= share * max(present.values())]
    return (0, *large) if len(large) < len(present) else (0,)


def mined_loss(
    head: nn.Module,
    embedding: Float[Tensor, "b w *space"],
    labels: Int[Tensor, "b *space"],
    known: Bool[Tensor, "b *space"],
    *,
    majority: Sequence[int] | None,
    multiple: float = 6.0,
    balance: float = 1.0,
    share: float = 1.0,
) -> Float[Tensor, ""]:
    """Eq. 5 over the voxels that OHEM keeps; over every known voxel when ``majority`` is None (rows a to d).

    With ``balance`` < 1 (ours) the hard voxels of a category stand for all of it. If each counted for itself alone,
    what mining leaves out would be missing from the weights, and small structures would swell over the others.

    The head is voxel-wise, so the pass that ranks the voxels needs no gradient, and only the kept voxels are
    classified again with one: the same loss at a fraction of the memory traffic.

    ``share`` < 1 (ours) looks at that part of the known voxels, drawn anew with PyTorch's global generator: neighbours
    tell nearly the same, and the head, which has the widest maps of the network, is spared the others.
    """
    voxels = embedding.movedim(1, -1)
    if share < 1:
        known = some_of(known, share)
    elif majority is None:
        cross_entropy = voxel_cross_entropy(head(voxels).movedim(-1, 1), labels)
        return category_mean(cross_entropy[known], labels[known], balance)
    voxels, labels = voxels.flatten(0, -2), labels.flatten()
    rows = candidates = known.flatten().nonzero().squeeze(1)
    if majority is not None:
        hardness = _hardness(head, voxels, labels, candidates)
        every = torch.ones_like(candidates, dtype=torch.bool)
        rows = candidates[hard_examples(hardness, labels[candidates], every, majority=majority, multiple=multiple)]
    padded = F.pad(rows, (0, _steady(len(rows), len(candidates)) - len(rows)))
    # ``index_select``, because indexing takes twice as long, there and back.
    cross_entropy = voxel_cross_entropy(head(voxels.index_select(0, padded)), labels[padded])[: len(rows)]
    return category_mean(cross_entropy, labels[rows], balance, stands_for=labels[candidates])


@torch.no_grad()
def _hardness(head: nn.Module, voxels: Tensor, labels: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of the candidates."""
    if len(candidates) < len(voxels):
        voxels, labels = voxels.index_select(0, candidates), labels[candidates]
    hardness = voxel_cross_entropy(head(voxels), labels)
    # Before pytorch#165068 autocast kept the weights it cast here, and the second pass found them without gradient.
    torch.clear_autocast_cache()
    return hardness


def _steady(count: int, most: int, sizes: int = 8) -> int:
    """The next larger of a few sizes: how many voxels are kept changes, how much memory they take should not."""
    step = max(1, -(-most // sizes))
    return min(most, -(-count // step) * step)


def some_of(known: Bool[Tensor, "*any"], share: float) -> Bool[Tensor, "*any"]:
    """A random part of the known voxels, always equally many of them.

    Tensors whose size changes from step to step leave holes in the memory that is kept between steps
    (``lowshot.training.allocator``): a training would grow by gigabytes.
    """
    voxels = known.flatten().nonzero().squeeze(1)
    chosen = torch.randperm(len(voxels), device=known.device)[: math.ceil(share * len(voxels))]
    some = torch.zeros_like(known.flatten())
    some[voxels[chosen]] = True
    return some.reshape(known.shape)
