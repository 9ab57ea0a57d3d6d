from pathlib import Path

import pytest

from lowshot.errors import InputError
from lowshot.inputs.label_files import label_maps_of
from lowshot.inputs.scan_files import ScanFiles

P1 = ScanFiles.of(Path("scans/p1/T1.nii.gz"), "p1")
P2 = ScanFiles.of(Path("scans/p2/T1.nii.gz"), "p2")
FLAT = ScanFiles.of(Path("scans/ct_3.nii.gz"))
NAMED = ScanFiles.of(Path("scans/1007.nii.gz"), "ann")


def found(scans, *files):
    return {name: path.name for name, path in label_maps_of(scans, [Path(file) for file in files]).items()}


def test_scans_in_a_folder_each_have_label_maps_of_that_folders_name():
    assert found([P1, P2, FLAT], "p2_seg.nii", "p1.nii.gz", "label_ct_3.nii") == {
        "p1": "p1.nii.gz",
        "p2": "p2_seg.nii",
        "ct_3": "label_ct_3.nii",
    }


def test_the_name_of_the_file_comes_second():
    assert found([NAMED], "1007.nii") == {"ann": "1007.nii"}
    assert found([NAMED], "1007.nii", "ann.nii") == {"ann": "ann.nii"}
    assert found([NAMED, FLAT], "else.nii") == {}


def test_a_label_map_of_the_name_of_all_files_is_refused():
    with pytest.raises(InputError, match=r"'T1' fits several files: scans/p1/T1.nii.gz, scans/p2/T1.nii.gz, T1.nii"):
        found([P1, P2], "T1.nii")
