"""Few-shot networks that nobody has trained: how they come to tell slices apart, and what rounding does to them."""

import torch

from lowshot.training.batch_statistics import settle_batch_statistics
from lowshot.training.run import Run

HALF = torch.arange(32).lt(16).float()[:, None].expand(32, 32)


def settled(network):
    """With weights so large, and statistics of BatchNorm such, that what it answers depends on what it is shown."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)

    def look(step, generator):
        support, query = (torch.rand(2, *more, 1, 32, 32, generator=generator) for more in ((1,), ()))
        network(support, (torch.rand(2, 1, 32, 32, generator=generator) > 0.5).float(), query)

    settle_batch_statistics(network, look, 5, Run(device="cpu", precision="float32"))
    return network


def in_both_precisions(network):
    """What it answers in bfloat16, and in float32; the marked half is brighter, and in the query it is another."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack([HALF, HALF.T, HALF.flip(0)])
    support, *query = masks[:, None] + torch.rand(3, 1, 32, 32, generator=generator)
    given = support[None, None], masks[:1, None], torch.stack(query)
    with torch.inference_mode():
        full = network(*given)
        with torch.autocast("cpu", torch.bfloat16):
            return network(*given), full


def relative_error(found, expected):
    """The norm of the difference; at 1 the mean of what is expected would be as near."""
    return (found - expected).norm() / (expected - expected.mean()).norm()
