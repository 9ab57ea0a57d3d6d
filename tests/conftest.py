"""The order of tests, and which of them this machine can run."""

import pytest
import torch

from lowshot.training.measure import is_emulated


def pytest_collection_modifyitems(items):
    """Slow ones first: where several processes share the files, none is left alone with the longest at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_runtest_setup(item):
    if item.get_closest_marker("bfloat16") and is_emulated(torch.device("cpu")):
        pytest.skip("this processor only emulates bfloat16")
