import torch
from torch import nn

from lowshot.nn.support_and_query import encode_both


def test_every_slice_gets_its_own_features():
    encoder = nn.Conv2d(2, 3, 2, stride=2)
    support, query = torch.rand(2, 4, 2, 6, 8), torch.rand(5, 2, 6, 8)
    examples, features = encode_both(encoder, support, query)
    assert examples.shape == (2, 4, 3, 3, 4)
    torch.testing.assert_close(examples[1, 2], encoder(support[1, 2][None])[0])
    torch.testing.assert_close(features, encoder(query))


def test_statistics_of_a_batch_are_of_both():
    norm = nn.BatchNorm2d(1, momentum=1.0)
    encode_both(norm, torch.zeros(1, 1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert float(norm.running_mean) == 0.5
