"""The order of tests."""


def pytest_collection_modifyitems(items):
    """Slow ones first: where several processes share the files, none is left alone with the longest at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
