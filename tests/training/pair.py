"""What two processes train, and one process with batches of twice the size. ``torchrun`` runs it as a program."""

import atexit
import sys
from pathlib import Path

import torch
from torch import nn

from lowshot.training.loop import Goal, train
from training.toy import Toy, toy_run


def train_plain(run):
    """A network without BatchNorm: two processes with two samples each are one process with four."""
    with run.seeded("weights"):
        network = nn.Sequential(nn.Conv3d(1, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv3d(6, 1, 1))
        sometimes = nn.Parameter(torch.ones(1))
        never = nn.Parameter(torch.ones(1))
    network.register_parameter("sometimes", sometimes)
    network.register_parameter("never", never)

    def batch(step, generator):
        samples = torch.randn(4, 1, 6, 6, 6, generator=torch.Generator().manual_seed(step))
        return samples[2 * run.rank : 2 * run.rank + 2] if run.world_size == 2 else samples

    def loss(samples, done):
        extra = sometimes.square().mean() if run.rank == 0 else 0.0  # half of the processes use it
        return {"error": network(samples).square().mean() + extra / (3 - run.world_size)}

    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    train([Goal(loss, network, optimiser)], batch, steps=10, run=run, stage="plain")
    return network.state_dict()


def expect_that_all_left():
    if torch.distributed.is_initialized():
        print("the processes are still connected while Python ends")


def main():
    folder = Path(sys.argv[1])
    atexit.register(expect_that_all_left)  # the first to register is the last to be called
    run = toy_run(folder)
    if run.rank == 1:
        torch.manual_seed(99)  # weights of a careless method, which seeds nothing
    toy = Toy(run)
    if run.rank == 1:
        nn.init.normal_(toy.generator[0].weight)
    toy.train(10)
    torch.save({"toy": toy.weights(), "plain": train_plain(run)}, folder / f"{run.rank}.pt")


if __name__ == "__main__":
    main()
