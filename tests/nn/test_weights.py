import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from listening import Listening
from lowshot.errors import SettingsError, UnreadableFile
from lowshot.nn.weights import Loaded, load_file_into, take_weights
from lowshot.progress import Silent


class Network(nn.Module):
    """Eight tensors, and a counter that nothing depends on."""

    def __init__(self, width=3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(nn.Conv2d(width, width, 1))


def written(folder, stored, name="weights.pth"):
    path = folder / name
    save_file(stored, path) if path.suffix == ".safetensors" else torch.save(stored, path)
    return path


def values(network):
    return {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors", "WEIGHTS.SafeTensors"])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_weights_are_taken_by_name_and_the_rest_is_told(tmp_path, name, prefix):
    network, stored = Network(), values(Network())
    del stored["layer1.0.bias"]
    stored["conv1.weight"] = torch.zeros(3, 1, 1, 1)  # not its shape
    stored["fc.weight"] = torch.ones(2)
    path = tmp_path / name
    file = {prefix + key: value for key, value in stored.items()} | {"classifier.0.bias": torch.ones(1)}
    save_file(file, path) if path.suffix.lower() == ".safetensors" else torch.save(file, path)
    before = values(network)
    loaded = load_file_into(network, path)
    assert set(loaded.missing) == {"layer1.0.bias", "conv1.weight"}
    assert set(loaded.unused) == {"conv1.weight", "fc.weight", "classifier.0.bias"}
    assert set(loaded.names) == set(before) - set(loaded.missing)
    assert loaded.prefix == prefix
    for key, value in values(network).items():
        assert torch.equal(value, before[key] if key in loaded.missing else stored[key])


def test_a_name_that_ends_alike_in_a_deeper_part_is_not_the_prefix(tmp_path):
    """``conv1.weight`` is the end of names in every block of a residual network."""
    stored = values(Network())
    blocks = {f"layer{stage}.{n}.conv1.weight": torch.zeros(3, 1, 3, 3) for stage in (2, 3) for n in range(9)}
    network = Network()
    assert load_file_into(network, written(tmp_path, blocks | stored)).missing == ()
    assert torch.equal(network.conv1.weight, stored["conv1.weight"])


def test_what_stands_outside_the_prefix_is_not_taken(tmp_path):
    stored = values(Network())
    file = {f"teacher.{key}": value for key, value in stored.items()} | {"conv1.bias": torch.full((3,), 9.0)}
    network = Network()
    loaded = load_file_into(network, written(tmp_path, file))
    assert torch.equal(network.conv1.bias, stored["conv1.bias"])
    assert loaded.unused == ("conv1.bias",)


@pytest.mark.parametrize("counted", [True, False])
def test_the_counter_of_batch_norm_may_be_absent(tmp_path, counted):
    stored = dict(Network().state_dict()) if counted else values(Network())
    loaded = load_file_into(Network(), written(tmp_path, stored))
    assert len(loaded.names) == 8
    assert loaded.missing == loaded.unused == ()


def test_files_in_half_precision_become_the_networks(tmp_path):
    stored = {name: value.half() for name, value in values(Network()).items()}
    network = Network()
    load_file_into(network, written(tmp_path, stored))
    assert network.conv1.weight.dtype == torch.float32
    assert torch.equal(network.conv1.weight, stored["conv1.weight"].float())


def test_the_table_counts_by_part():
    loaded = Loaded(
        ("conv1.weight", "layer1.0.a", "layer1.1.a"), ("layer1.1.b", "layer2.0.a"), ("fc.w", "layer1.9.a", "fc.b")
    )
    assert loaded.table().splitlines() == [
        "conv1: 1 of 1 taken",
        "layer1: 2 of 3 taken, 1 in the file without a place",
        "layer2: 0 of 1 taken",
        "fc: 2 in the file, no place",
    ]


def test_the_table_is_short_and_harmless_whatever_the_file_says():
    loaded = Loaded((), ("a",), ("\x1b[2Jx.y", *(f"part{n}.weight" for n in range(20))))
    lines = loaded.table().splitlines()
    assert len(lines) == 10
    assert lines[1] == "?[2Jx: 1 in the file, no place"
    assert lines[-1] == "and 13 more without a place"


def test_what_is_taken_is_noted_and_what_is_missing_warned_of(tmp_path):
    stored, told = values(Network()), Listening()
    take_weights(Network(), written(tmp_path, stored), told)
    assert told.notes == ["weights.pth:\nconv1: 2 of 2 taken\nbn1: 4 of 4 taken\nlayer1: 2 of 2 taken"]
    assert told.warnings == []
    del stored["bn1.weight"]
    take_weights(Network(), written(tmp_path, stored), told)
    assert "bn1: 3 of 4 taken" in told.notes[1]
    assert told.warnings == ["weights.pth has no fitting bn1.weight; these begin at random"]


def test_a_long_list_of_missing_tensors_is_cut(tmp_path):
    network, told = nn.ModuleList([Network(), Network(), Network()]), Listening()
    stored = {name: value for name, value in values(network).items() if name[0] in "01" and "conv1.bias" not in name}
    take_weights(network, written(tmp_path, stored), told)
    assert told.warnings[0].count(".weight") + told.warnings[0].count(".bias") + told.warnings[0].count("running") == 8
    assert "0.conv1.bias, 1.conv1.bias, 2.conv1.weight" in told.warnings[0]
    assert told.warnings[0].endswith(" and 2 more; these begin at random")


@pytest.mark.parametrize("kept", [(), ("conv1.weight",), ("conv1.weight", "conv1.bias", "bn1.weight")])
def test_a_file_with_less_than_half_of_the_network_is_refused(tmp_path, kept):
    stored = {name: value for name, value in values(Network()).items() if name in kept}
    path = written(tmp_path, stored | {"features.0.weight": torch.zeros(2)})
    with pytest.raises(SettingsError, match=r"weights\.pth: a weights file of another architecture, .*; features: 1"):
        take_weights(Network(), path, Silent())


def test_a_model_whose_backbone_is_as_wide_is_a_start_and_a_narrower_one_is_none(tmp_path):
    trained, same, wider = Network(), Network(), Network(width=6)
    stored = {f"network encoder.backbone.{name}": value for name, value in trained.state_dict().items()}
    file = written(tmp_path, stored, "model.safetensors")
    take_weights(same, file, Silent())
    assert all(torch.equal(value, values(trained)[name]) for name, value in values(same).items())
    with pytest.raises(SettingsError, match="another architecture, or width, than Network's"):
        take_weights(wider, file, Silent())


def test_half_of_it_is_enough(tmp_path):
    stored = dict(list(values(Network()).items())[:4])
    told = Listening()
    take_weights(Network(), written(tmp_path, stored), told)
    assert len(told.warnings) == 1


def test_files_that_hold_no_weights_are_refused(tmp_path):
    text, safe = tmp_path / "text.pth", tmp_path / "text.safetensors"
    text.write_text("not weights")
    safe.write_text("not weights")
    bad = {
        "code": {"conv1.weight": Hostile()},
        "list": [1, 2],
        "wrapped": {"model": values(Network())},
        "named": {1: 2},
    }
    files = [written(tmp_path, stored, f"{name}.pth") for name, stored in bad.items()]
    for path in (tmp_path / "gone.pth", tmp_path / "gone.safetensors", text, safe, *files):
        with pytest.raises(UnreadableFile, match=path.name):
            load_file_into(Network(), path)
    assert not Hostile.ran


class Hostile:
    """Unpickling it would run code."""

    ran = False

    def __reduce__(self):
        return Hostile.run, ()

    @staticmethod
    def run():
        Hostile.ran = True
