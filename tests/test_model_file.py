import errno
import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lowshot import catalogue
from lowshot.contract import State
from lowshot.errors import ModelFileError, OutputError
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.inference.patch_model import PatchModel
from lowshot.model_file import FORMAT, Fitted, load
from lowshot.nn.geometry import Geometry

TINY = {
    "widths": [4, 8],
    "convolutions": [1, 1],
    "strides": [[2, 2, 2]],
    "patch": [8, 8, 8],
    "margin": [1, 1, 1],
    "pyramid_width": 4,
    "embedding_size": 8,
    "mixer_width": 4,
}
NAMES = Names(("background", "left kidney", "Niere rechts ½"), (0, 63, -5))


def made(settings=TINY, channels=("T1", "FLAIR")):
    method = catalogue.create("mre-net", settings)
    geometry = Geometry(3, method.strides, method.patch, method.margin)
    network = method._network(len(channels), len(NAMES), geometry)
    preparation = Preparation(spacing=(1.0, 0.7, 1 / 3), crop="foreground")
    return PatchModel(network, NAMES, channels, preparation, geometry)


def fitted(model, **more):
    return Fitted(model, catalogue.create("mre-net", TINY), "mre-net", TINY, **more)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "models" / "model.safetensors"
    model = made()
    fitted(model, provenance={"seed": 3, "format": "mine"}).save(path)
    return path, model


def rewritten(path, change_header=None, change_tensors=None):
    """The file with its JSON header or its tensors changed by someone else."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["lowshot"])
    tensors = load_file(path)
    header = change_header(header) if change_header else header
    tensors = change_tensors(tensors) if change_tensors else tensors
    save_file(tensors, path, metadata={"lowshot": header if isinstance(header, str) else json.dumps(header)})


def test_the_way_to_disk_and_back_is_exact(saved):
    path, model = saved
    loaded = load(path)
    assert loaded.name == "mre-net"
    assert loaded.method == catalogue.create("mre-net", TINY)
    assert (loaded.model.names, loaded.model.channels) == (model.names, model.channels)
    assert (loaded.model.preparation, loaded.model.geometry) == (model.preparation, model.geometry)
    before, after = model.network.state_dict(), loaded.model.network.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype
        assert torch.equal(value, after[name])


def test_it_computes_the_same(saved):
    path, model = saved
    image, coordinates = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 3, 8, 8, 8)
    with torch.inference_mode():
        before, after = (each.network(image, coordinates) for each in (model, load(path).model))
    # Weights are equal to the bit, but lie elsewhere in memory: another kernel may sum them in another order.
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def test_what_is_said_about_it_comes_back(saved):
    loaded = load(saved[0])
    assert loaded.provenance == {"seed": 3, "format": "mine"}  # and cannot overwrite what loading needs
    assert loaded.settings == TINY
    with safe_open(saved[0], framework="pt") as file:
        header = json.loads(file.metadata()["lowshot"])
    assert (header["format"], header["kind"]) == (FORMAT, "model")


def test_memory_format_and_shared_storage_do_not_matter(tmp_path):
    class Shared(PatchModel):
        def state(self):
            weight = torch.arange(48.0).reshape(1, 2, 2, 3, 4).contiguous(memory_format=torch.channels_last_3d)
            return State({}, {"a": weight, "b": weight, "c": weight[:, :, 0]})

    model = made()
    model.__class__ = Shared
    fitted(model).save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    expected = torch.arange(48.0).reshape(1, 2, 2, 3, 4)
    assert torch.equal(tensors["a"], expected)
    assert torch.equal(tensors["b"], expected)
    assert torch.equal(tensors["c"], expected[:, :, 0])


def test_loading_does_not_draw_random_numbers(saved):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load(saved[0])
    assert torch.equal(torch.rand(1), expected)


class Trap:
    """Unpickling it leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def foreign(kind, path, saved):
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(path.with_name("trace"))))
    elif kind == "torch":
        torch.save({"weights": Trap(path.with_name("trace"))}, path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a model")
    elif kind == "truncated":
        path.write_bytes(saved[0].read_bytes()[:-10])
    elif kind == "cut in its header":
        path.write_bytes(saved[0].read_bytes()[:100])
    elif kind == "lying about its size":
        path.write_bytes((2**62).to_bytes(8, "little") + saved[0].read_bytes()[8:])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind",
    ["pickle", "torch", "empty", "text", "truncated", "cut in its header", "lying about its size", "folder", "missing"],
)
def test_what_is_no_model_file_is_refused_and_never_unpickled(kind, saved, tmp_path):
    path = foreign(kind, tmp_path / "other.safetensors", saved)
    with pytest.raises(ModelFileError, match=r"other\.safetensors: (expected a lowshot model|no such model file)"):
        load(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "the file is empty; copy it again"),
        ("truncated", r"the file is cut off after [\d,]+ bytes; copy it again"),
        ("cut in its header", "the file is cut off after 100 bytes; copy it again"),
        ("text", "got a file of another kind"),
        ("torch", "got a file of another kind"),
        ("folder", "got a folder; the model comes first"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_in_plain_words(kind, told, saved, tmp_path):
    with pytest.raises(ModelFileError, match=told) as refused:
        load(foreign(kind, tmp_path / "other.safetensors", saved))
    assert "header" not in str(refused.value)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "nowhere.PNG"])
def test_an_image_in_place_of_the_model_is_told_as_one(name, tmp_path):
    with pytest.raises(ModelFileError, match="got an image; the model comes first, then scans"):
        load(tmp_path / name)


def test_a_model_that_may_not_be_read_is_told(saved, monkeypatch):
    """As the system does it: those who run the tests as root may read everything."""

    def refuse(path, *more):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(type(saved[0]), "open", refuse)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: cannot be read: Permission denied; permit"):
        load(saved[0])


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"lowshot": "{"}, {"lowshot": "[]"}, {"lowshot": "3"}])
def test_safetensors_of_others_are_refused(metadata, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(ModelFileError, match="not one that lowshot wrote"):
        load(path)


def test_a_header_without_end_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"lowshot": "[" * 200_000})
    with pytest.raises(ModelFileError, match="not one that lowshot wrote"):
        load(path)


def test_another_format_is_refused_with_both_names(saved):
    rewritten(saved[0], lambda header: header | {"format": "lowshot model 99"})
    with pytest.raises(ModelFileError, match="written as 'lowshot model 99', this version reads 'lowshot model 1'"):
        load(saved[0])


def lacking(key):
    return lambda header: {name: value for name, value in header.items() if name != key}


def with_state(**changes):
    return lambda header: header | {"state": header["state"] | changes}


def with_settings(**changes):
    return lambda header: header | {"settings": header["settings"] | changes}


@pytest.mark.parametrize(
    "change",
    [
        lacking("method"),
        lacking("settings"),
        lacking("state"),
        lacking("provenance"),
        lambda header: header | {"method": "nonsense"},
        lambda header: header | {"method": ["mre-net"]},
        lambda header: header | {"settings": 3},
        lambda header: header | {"state": "none"},
        lambda header: header | {"provenance": [3]},
        lambda header: header | {"provenance": {"plan": None}},
        lambda header: header | {"provenance": {"plan": {"stages": [1]}}},
        lambda header: header | {"provenance": {"plan": {"stages": {"training": 1}}}},
        lambda header: header | {"provenance": {"plan": {"stages": {"training": {"steps": "x"}}}}},
        with_settings(widths=[8, 8]),
        with_settings(unheard_of=1),
        with_settings(steps=-1),
        with_settings(embedding_size=10**12),
        with_state(names=["background", "liver"]),
        with_state(names=["background", "liver", "liver"]),
        with_state(channels=["T1"]),
        with_state(channels=["T1", "FL\x1b[2JAIR"]),
        with_state(channels=["T1", "FLAIR\ud800"]),
        with_state(geometry={}),
        with_state(geometry=[]),
        with_state(geometry={"dimensions": 3, "strides": [[2, 2, 2]], "patch": [7, 8, 8], "margin": [0, 0, 0]}),
        with_state(preparation=[]),
        with_state(preparation={"unheard_of": 1}),
    ],
)
def test_a_damaged_header_is_one_error(change, saved):
    rewritten(saved[0], change)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: "):
        load(saved[0])


def test_missing_and_misshapen_weights_are_named(saved):
    rewritten(saved[0], change_tensors=lambda tensors: {k: v for k, v in tensors.items() if "prototypes" not in k})
    with pytest.raises(ModelFileError, match="prototypes"):
        load(saved[0])


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    path, model = saved
    before = path.read_bytes()
    with pytest.raises(TypeError):
        replace(fitted(model), settings={"not JSON": object()}).save(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_told_as_one(saved):
    resource = pytest.importorskip("resource")
    path, model = saved
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"model\.safetensors: cannot be written: File too large"):
            fitted(model).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_saving_ends_the_training_that_its_folder_holds(tmp_path):
    checkpoint = tmp_path / "training" / "checkpoints" / "training.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(ModelFileError):
        fitted(made(), folder=tmp_path / "training").save(tmp_path / "m.pt")
    assert checkpoint.exists()
    fitted(made(), folder=tmp_path / "training").save(tmp_path / "m.safetensors")
    assert not checkpoint.exists()
