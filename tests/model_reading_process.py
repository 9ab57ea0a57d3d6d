"""Reads model files in a process of its own, whose memory the system limits: PyTorch's and safetensors' too."""

import hashlib
from pathlib import Path

from imaging import reading_process


def weights(path: Path) -> str:
    """SHA-256 over the weights of a model, by name."""
    from lowshot.model_file import load

    total = hashlib.sha256()
    for name, tensor in sorted(load(path).model.state().tensors.items()):
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    reading_process.read, reading_process.MEMORY_BYTES = weights, 128 * 2**20
    reading_process.main()
