import subprocess
import sys

import pytest

from lowshot import catalogue
from lowshot.contract import Method
from lowshot.errors import MissingExtra, SettingsError

EVERY_PRESET = [(name, preset) for name in catalogue.CATALOGUE for preset in catalogue.presets(name)]


@pytest.mark.parametrize(("name", "preset"), EVERY_PRESET)
def test_every_preset_makes_its_method(name, preset):
    assert isinstance(catalogue.create(name, catalogue.settings(name, preset)), Method)


@pytest.mark.parametrize("name", catalogue.CATALOGUE)
def test_every_method_has_the_two_presets_that_are_promised(name):
    assert {"paper", "compact"} <= set(catalogue.presets(name))


def test_defaults_exist():
    assert catalogue.DEFAULT_PRESET in catalogue.presets(catalogue.DEFAULT_METHOD)


def test_changes_go_over_the_preset_and_the_preset_over_the_entry(monkeypatch):
    entry = catalogue.Entry("", "a:b", "c:d", settings={"a": 1, "b": 1, "c": 1})
    monkeypatch.setitem(catalogue.CATALOGUE, "made-up", entry)
    monkeypatch.setattr(catalogue, "presets", lambda name: {"paper": {"b": 2, "c": 2}})
    assert catalogue.settings("made-up", "paper", {"c": 3}) == {"a": 1, "b": 2, "c": 3}
    assert entry.settings == {"a": 1, "b": 1, "c": 1}


def test_the_nearest_name_is_suggested():
    with pytest.raises(SettingsError, match=r"no method named 'mrenet'; did you mean mre-net\?"):
        catalogue.entry("mrenet")
    with pytest.raises(SettingsError, match="there are: mre-net, unet"):
        catalogue.entry("zzz")
    with pytest.raises(SettingsError, match="mre-net has no preset named 'papr'; there are: paper"):
        catalogue.settings("mre-net", "papr")


def test_a_wrong_setting_names_the_method():
    with pytest.raises(SettingsError, match=r"settings of mre-net: no setting named mode; did you mean modes\?"):
        catalogue.create("mre-net", {"mode": 1})


def test_a_missing_extra_says_what_to_install(monkeypatch):
    entry = catalogue.Entry("", "not_installed_anywhere:Method", "lowshot.methods.mre_net.presets:UNET", extra="ants")
    monkeypatch.setitem(catalogue.CATALOGUE, "ants", entry)
    with pytest.raises(MissingExtra, match=r"ants needs not_installed_anywhere: pip install 'lowshot\[ants\]'"):
        catalogue.create("ants", {})


def test_listing_methods_and_presets_imports_nothing_heavy():
    code = (
        "import sys; from lowshot import catalogue\n"
        "for name in catalogue.CATALOGUE: catalogue.presets(name), catalogue.entry(name).summary\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'monai', 'nibabel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
