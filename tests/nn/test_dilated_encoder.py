import pytest
import torch

from lowshot.nn.dilated_encoder import DilatedEncoder


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_features_at_an_eighth_of_the_size(channels):
    encoder = DilatedEncoder(channels, 6, depth=18, width=1 / 16)
    assert encoder(torch.randn(2, channels, 48, 32)).shape == (2, 6, 6, 4)


def test_a_grey_image_is_one_of_three_equal_channels():
    torch.manual_seed(0)
    grey = DilatedEncoder(1, 6, depth=18, width=1 / 16).eval()
    colour = DilatedEncoder(3, 6, depth=18, width=1 / 16).eval()
    colour.load_state_dict(grey.state_dict())
    image = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(image), colour(image.repeat(1, 3, 1, 1)))


def test_published_it_is_deeplabs_resnet_101_and_256_numbers():
    with torch.device("meta"):
        encoder = DilatedEncoder(1)
        features = encoder(torch.empty(1, 1, 256, 256))
    assert features.shape == (1, 256, 32, 32)
    assert encoder.reduce.weight.shape == (256, 2048, 1, 1)
    assert "layer3.22.conv3.weight" in encoder.backbone.state_dict()
