"""MRE-Net's loss: cross-entropy normalised per category, over voxels chosen by online hard example mining."""

import math
from collections.abc import Sequence

import torch
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
    candidates = common.flatten().nonzero().squeeze(1)
    hardest = cross_entropy.detach().flatten()[candidates].topk(min(budget, candidates.numel())).indices
    kept = minority.flatten().clone()
    kept[candidates[hardest]] = True
    return kept.reshape(labels.shape)


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

    The head is voxel-wise, so the dense pass that ranks the voxels needs no gradient, and only the kept voxels
    are classified again with one: the same loss at a fraction of the memory traffic.

    ``share`` < 1 (ours) looks at that part of the known voxels, drawn anew with PyTorch's global generator: neighbours
    tell nearly the same, and the head, which has the widest maps of the network, is spared the others.
    """
    voxels = embedding.movedim(1, -1)
    if share < 1:
        known = some_of(known, share)
    elif majority is None:
        cross_entropy = voxel_cross_entropy(head(voxels).movedim(-1, 1), labels)
        return category_mean(cross_entropy[known], labels[known], balance)
    kept = known
    if majority is not None:
        with torch.no_grad():
            hardness = voxel_cross_entropy(head(voxels).movedim(-1, 1), labels)
        # Before pytorch#165068 autocast kept the weights it cast here, and the second pass found them without gradient.
        torch.clear_autocast_cache()
        kept = hard_examples(hardness, labels, known, majority=majority, multiple=multiple)
    chosen = labels[kept]
    cross_entropy = voxel_cross_entropy(head(voxels[kept]), chosen)
    return category_mean(cross_entropy, chosen, balance)


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
