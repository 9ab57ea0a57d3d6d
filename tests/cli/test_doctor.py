import json
import shutil

import nibabel
import numpy as np


def test_good_files(typed, folder):
    done = typed("doctor", folder / "images", "--labels", folder / "labels", "--names", folder / "names.txt")
    assert done.code == 0, done.out
    assert "3 of 3 scans can be used" in done.out


def test_every_bad_file_is_told_and_the_exit_code_says_so(typed, folder):
    (folder / "images" / "s0.nii.gz").write_bytes(b"damaged")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), folder / "labels" / "s1.nii.gz")
    done = typed("doctor", folder / "images", "--labels", folder / "labels", "--json")
    assert done.code == 2
    severities = {case: [each["severity"] for each in findings] for case, findings in done.json.items()}
    assert severities["s0"] == severities["s1"] == ["error"]
    assert "error" not in severities["s2"]
    assert "s0.nii.gz" in done.json["s0"][0]["message"]
    assert "different grids" in done.json["s1"][0]["message"]
    assert "2 of 3 scans cannot be used: s0, s1" in done.events[-1]["message"]


def test_a_scan_that_comes_twice_is_told(typed, folder):
    shutil.copy(folder / "images" / "s1.nii.gz", folder / "images" / "copy.nii.gz")
    done = typed("doctor", folder / "images")
    assert done.code == 0
    assert done.out.count("the same picture as") == 1
    assert "warning: s1: the same picture as copy; was another scan meant?" in done.out


def test_a_value_without_a_name(typed, folder):
    (folder / "names.txt").write_text("3\tleft ball\n7\tright ball\n")
    done = typed("doctor", folder / "images", "--labels", folder / "labels", "--names", folder / "names.txt")
    assert done.code == 2
    assert "label value 9 has no name" in done.out


def test_a_table_and_one_pair_of_other_names(typed, folder):
    (folder / "scans.csv").write_text("image,labels\nimages/s0.nii.gz,labels/s0.nii.gz\nimages/s1.nii.gz,\n")
    assert typed("doctor", folder / "scans.csv").code == 0
    assert typed("doctor", folder / "images" / "s0.nii.gz", "--labels", folder / "labels" / "s1.nii.gz").code == 0


def test_scans_in_a_folder_for_each_patient(typed, folder):
    for image in sorted((folder / "images").iterdir()):
        (folder / "patients" / image.name.removesuffix(".nii.gz")).mkdir(parents=True)
        image.rename(folder / "patients" / image.name.removesuffix(".nii.gz") / "T1.nii.gz")
    done = typed("doctor", folder / "patients", "--labels", folder / "labels", "--json")
    assert done.code == 0
    assert "label" not in json.dumps(done.json)
    assert list(done.json) == ["s0", "s1", "s2"]


def test_label_maps_that_fit_no_scan_at_all_are_an_error(typed, folder):
    for k in range(3):
        (folder / "images" / f"s{k}.nii.gz").rename(folder / "images" / f"mr{k}.nii.gz")
    done = typed("doctor", folder / "images", "--labels", folder / "labels")
    assert done.code == 2
    assert "with the names of scans (mr0, mr1, mr2), found s0.nii.gz, s1.nii.gz, s2.nii.gz; rename them" in done.err


def test_label_maps_that_fit_no_scan_are_told(typed, folder):
    (folder / "images" / "s2.nii.gz").rename(folder / "images" / "ann.nii.gz")
    done = typed("doctor", folder / "images", "--labels", folder / "labels")
    assert done.code == 0
    assert "no scan has the name of s2.nii.gz" in done.err
    assert f"warning: ann: no label map of this name in {folder / 'labels'}" in done.out
