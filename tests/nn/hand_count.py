"""Parameters of the published networks, counted by hand."""


def convolution(inputs: int, outputs: int, kernel: int = 27) -> int:
    return kernel * inputs * outputs + outputs


def norm(channels: int) -> int:
    return 2 * channels


def block(inputs: int, outputs: int, count: int) -> int:
    """3×3×3 convolutions, each followed by a batch norm."""
    return convolution(inputs, outputs) + (count - 1) * convolution(outputs, outputs) + count * norm(outputs)


def luna_park(channels: int) -> int:
    """Widths 64, 128, 256 with 3, 4, 5 convolutions; transitions of 32 and 16 channels; twice 2 on the way up."""
    encoder = block(channels, 64, 3) + block(64, 128, 4) + block(128, 256, 5)
    up = convolution(256, 256, kernel=4) + convolution(128, 128, kernel=8)
    transitions = block(128, 32, 1) + block(64, 16, 1)
    decoder = block(256 + 32, 128, 2) + block(128 + 16, 64, 2)
    return encoder + up + transitions + decoder
