from lowshot.catalogue import CATALOGUE


def test_every_method_is_listed_with_its_presets(typed):
    done = typed("methods")
    assert done.code == 0
    for name, entry in CATALOGUE.items():
        assert name in done.out
        assert entry.summary in done.out
    assert set(typed("methods", "--json").json) == set(CATALOGUE)


def test_one_method_with_what_can_be_set(typed):
    done = typed("methods", "unet", "--json").json
    assert done["settings"]["metric_learning"] == {"type": "bool", "default": False}  # the entry's, not the class's
    assert done["settings"]["widths"]["type"] == "tuple[int, ...]"
    assert "compact" in done["presets"]
    assert "tiles_at_once" in done["options"]
    shown = typed("methods", "mre-net").out
    assert "embedding_size" in shown
    assert "tiles_at_once" in shown


def test_a_misspelt_method(typed):
    done = typed("methods", "une")
    assert (done.code, "did you mean unet" in done.err) == (2, True)
