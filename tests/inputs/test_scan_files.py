from pathlib import Path

import pytest
import torch

from ball_files import write_ball_files
from lowshot.errors import BadVoxels, ChannelMismatch, InputError
from lowshot.imaging.files import write_volume
from lowshot.inputs.scan_files import Declared, ScanFiles, one_scan


def test_a_path_is_one_scan_named_after_its_file():
    assert one_scan("scans/1000.nii.gz") == ScanFiles("1000", Path("scans/1000.nii.gz"))


@pytest.mark.parametrize("word", ["T1=a_T1.nii.gz,FLAIR=b/a_FLAIR.nii.gz", " T1 = a_T1.nii.gz, FLAIR=b/a_FLAIR.nii.gz"])
def test_channels(word):
    found = one_scan(word)
    assert found.paths == {"T1": Path("a_T1.nii.gz"), "FLAIR": Path("b/a_FLAIR.nii.gz")}
    assert found.name == "a"
    assert found.all_paths == (Path("a_T1.nii.gz"), Path("b/a_FLAIR.nii.gz"))


def test_a_path_may_hold_commas_and_the_channels_of_one_scan_need_no_common_name():
    found = one_scan("T1=x,1.nii.gz,T2=y=2.nii.gz")
    assert found.paths == {"T1": Path("x,1.nii.gz"), "T2": Path("y=2.nii.gz")}
    assert found.name == "x,1"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz"), "sub-01"),
        (("ann.nii.gz", "ann.flair.nii.gz"), "ann"),
        (("T1.nii.gz", "T2.nii.gz"), "T1"),
        (("ann_1_t1.mha", "ann_12_t1.mha"), "ann"),
    ],
)
def test_several_files_share_the_words_that_their_names_begin_with(files, name):
    assert ScanFiles.of({"a": Path(files[0]), "b": Path(files[1])}).name == name


def test_an_existing_file_is_a_path_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("T1=a.nii.gz").touch()
    assert one_scan("T1=a.nii.gz").paths == Path("T1=a.nii.gz")


def test_a_channel_given_twice_is_refused():
    with pytest.raises(ChannelMismatch, match="each channel once"):
        one_scan("T1=a.nii.gz,T1=b.nii.gz")


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "a\\b", "", ".", "..", ".hidden", "a\0b", "a\nb", "\x1b[2J", "\x9b", "\udcff"]
)
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(InputError, match=r"a\.nii\.gz: .* cannot name a scan"):
        ScanFiles.of(Path("a.nii.gz"), name)


@pytest.mark.parametrize("file", [".nii.gz", ".hidden.nii.gz", "a\x1b[2Jb.nii.gz", "a\udcffb.nii.gz"])
def test_a_file_that_cannot_give_its_scan_a_name_is_refused(file):
    with pytest.raises(InputError, match="cannot name a scan"):
        one_scan(file)


@pytest.mark.parametrize("name", ["1000", "a.b", "Müller_½", "肝 (2)", "a..b", "-x"])
def test_other_names_are_kept(name):
    assert ScanFiles.of(Path("a.nii.gz"), name).name == name


def test_the_folders_we_are_in_have_names(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert one_scan(".").name == "inner"
    assert one_scan("..").name == tmp_path.name


def test_a_word_may_be_longer_than_any_file_name():
    assert one_scan("T1=" + "a" * 300 + ".nii.gz,T2=b.nii.gz").paths["T1"] == Path("a" * 300 + ".nii.gz")


@pytest.mark.parametrize("channel", ["T1\x1b[2J", "T1\nT2", "\udcff"])
def test_a_channel_that_a_terminal_would_obey_is_refused(channel):
    with pytest.raises(InputError, match=r"the channel name .* holds control characters"):
        Declared(("T1", channel))


def test_channels_are_read_into_one_scan(tmp_path):
    images = write_ball_files(tmp_path, 2) / "images"
    scan = one_scan(f"T1={images}/s0.nii.gz,T2={images}/s1.nii.gz").read()
    assert (scan.name, scan.channels, tuple(scan.voxels.shape)) == ("s0", ("T1", "T2"), (2, 24, 24, 24))


def test_a_fourth_axis_is_refused_unless_declared(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(torch.rand(2, 4, 4, 4), torch.eye(4).double().numpy(), path)
    with pytest.raises(BadVoxels, match="three axes"):
        one_scan(path).read()
    assert one_scan(path).read(Declared(("T1", "T2"))).channels == ("T1", "T2")
