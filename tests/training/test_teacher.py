import torch
from torch import nn

from lowshot.training.teacher import MeanTeacher


def student():
    return nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))


def test_it_begins_as_the_student_and_learns_nothing_by_gradients():
    network = student()
    teacher = MeanTeacher(network)
    assert all(
        own.equal(theirs) for own, theirs in zip(teacher.network.parameters(), network.parameters(), strict=True)
    )
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert not teacher.network.training


def test_it_follows_weights_and_statistics():
    network = student()
    network[0].weight.data.zero_()
    teacher = MeanTeacher(network, momentum=0.9)
    network[0].weight.data.fill_(1.0)
    network[1].running_mean.fill_(2.0)
    for step, expected in enumerate((0.1, 0.19)):
        teacher.follow(step)
        torch.testing.assert_close(teacher.network[0].weight, torch.full((1, 1), expected))
        torch.testing.assert_close(teacher.network[1].running_mean, torch.tensor([2 * expected]))


def test_what_cannot_be_averaged_is_copied():
    network = student()
    teacher = MeanTeacher(network)
    network.train()(torch.randn(4, 1))
    teacher.follow(10_000)
    assert int(teacher.network[1].num_batches_tracked) == 1
