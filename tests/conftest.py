"""The order of tests, and which of them this machine can run."""

import pytest
import torch

from lowshot.registration import affine
from lowshot.training.measure import is_emulated


def pytest_collection_modifyitems(items):
    """Slow ones first: where several processes share the files, none is left alone with the longest at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def brief_alignment(monkeypatch):
    """Scans are laid upon each other in a few steps: for tests where it is no matter how well, and most of the time."""
    for name in ("RIGID_STEPS", "AFFINE_STEPS", "FINE_STEPS"):
        monkeypatch.setattr(affine, name, 4)


def pytest_runtest_setup(item):
    if item.get_closest_marker("bfloat16") and is_emulated(torch.device("cpu")):
        pytest.skip("this processor only emulates bfloat16")
