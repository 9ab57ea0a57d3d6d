from pathlib import Path

import pytest

from ball_files import write_ball_files
from lowshot.errors import InputError, UnreadableFile
from lowshot.imaging.files import scan_name
from lowshot.inputs.words import rows, scan_files


@pytest.fixture
def folder(tmp_path):
    return write_ball_files(tmp_path)


def names(*words):
    return [scan.name for scan in scan_files(words)]


def test_files_folders_and_patterns(folder):
    images = folder / "images"
    (images / "readme.txt").write_text("not an image")
    (images / ".hidden.nii.gz").write_text("not to be seen")
    assert names(images) == ["s0", "s1", "s2"]
    assert names(images / "s2.nii.gz", images / "s0.nii.gz") == ["s2", "s0"]
    assert names(f"{images}/s[01]*") == ["s0", "s1"]
    assert names(f"{folder}/**/s1.nii.gz".replace("**", "images")) == ["s1"]


def test_a_table_among_the_words(folder):
    (folder / "some.csv").write_text("image,labels,name\nimages/s1.nii.gz,labels/s1.nii.gz,ann\n")
    assert names(folder / "some.csv", folder / "images" / "s0.nii.gz") == ["ann", "s0"]
    assert rows([folder / "some.csv"])[0].labels == folder / "labels" / "s1.nii.gz"


def test_a_folder_without_images_is_a_dicom_series_and_folders_in_it_are_several(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert names(tmp_path) == ["one", "two"]
    (tmp_path / "one" / "IM0001").write_bytes(b"DICM")
    assert [scan.paths for scan in scan_files([tmp_path / "one"])] == [tmp_path / "one"]


@pytest.fixture
def patients(tmp_path):
    """A folder each: with one image, with an image a folder deeper, with a DICOM series a folder deeper."""
    for file in ("p1/T1.nii.gz", "p2/anat/T1.nii.gz", "p3/series/IM0001"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(b"x")
    return tmp_path


def test_a_folder_for_each_patient_names_the_scans(patients):
    found = scan_files([patients])
    assert [scan.name for scan in found] == ["p1", "p2", "p3"]
    assert [scan.paths for scan in found] == [
        patients / "p1" / "T1.nii.gz",
        patients / "p2" / "anat" / "T1.nii.gz",
        patients / "p3" / "series",
    ]


@pytest.mark.parametrize("name", ["Thumbs.db", "participants.tsv", "DICOMDIR"])
def test_what_lies_beside_the_folders_of_patients_is_no_slice(patients, name):
    (patients / name).write_bytes(bytes(128) + b"DICM" if name == "DICOMDIR" else b"x")
    assert names(patients) == ["p1", "p2", "p3"]
    (patients / "IM0001").write_bytes(bytes(128) + b"DICM")
    assert [scan.paths for scan in scan_files([patients])] == [patients]


def test_files_of_one_name_are_named_after_their_folders(patients):
    (patients / "p4").mkdir()
    (patients / "p4" / "T1.nii.gz").write_bytes(b"x")
    assert names(f"{patients}/*/T1.nii.gz") == ["p1", "p4"]
    assert names(f"{patients}/p1/*.nii.gz") == ["T1"]


def test_the_pattern_that_is_advised_is_of_scans_not_of_label_maps(patients):
    for name in ("GT_mask.nii.gz", "LABELS.nii.gz"):
        (patients / "p1" / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds 3 images \(GT_mask.* pattern such as '.*/\*/T1\.nii\.gz'"):
        scan_files([patients])


def test_several_images_of_a_patient_are_not_guessed_from(patients):
    (patients / "p1" / "FLAIR.nii.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"p1: holds 2 images \(FLAIR\.nii\.gz, T1.* pattern such as '.*/\*/FLAIR"):
        scan_files([patients])


def test_an_image_among_dicom_files_is_refused(folder):
    images = folder / "images"
    (images / "IM0001").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match=r"images: holds images \(s0\.nii\.gz\) and DICOM files \(IM0001\)"):
        scan_files([images])


@pytest.mark.parametrize("image", ["p4.nii.gz", "overview.png"])
def test_an_image_among_folders_of_patients_is_refused(patients, image):
    (patients / image).write_bytes(b"x")
    (patients / "p3" / "series" / "IM0001").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(
        InputError, match=rf"holds images \({image}\) and folders with scans \(p1, p2, p3\).* such as '"
    ):
        scan_files([patients])
    assert names(f"{patients}/*{Path(image).suffix}") == [scan_name(image)]


def test_folders_of_label_maps_and_results_among_images_are_none_of_patients(folder):
    images = folder / "images"
    for file in ("labels/other.nii.gz", "out/s0.nii.gz", "out/s0.json", "out/report/s1_pred.nii.gz", "notes/a.txt",
                 "out/probabilities/s0/1-liver.nii.gz", "pages/figure.png"):  # fmt: skip
        (images / file).parent.mkdir(parents=True, exist_ok=True)
        (images / file).write_bytes(b"x")
    (images / "out" / "again").symlink_to(images / "out")
    assert names(images) == ["s0", "s1", "s2"]


def test_images_of_formats_that_are_not_read_are_told(folder, tmp_path):
    told = []
    (folder / "images" / "s3.JPG").write_bytes(b"x")
    assert [scan.name for scan in scan_files([folder / "images"], told.append)] == ["s0", "s1", "s2"]
    assert len(told) == 1
    assert "left out .JPG (s3.JPG); convert them: images end in .nii.gz, .nii, " in told[0]
    analyze = tmp_path / "analyze"
    analyze.mkdir()
    for name in ("a.hdr", "a.img", "b.hdr", "b.img"):
        (analyze / name).write_bytes(b"x")
    with pytest.raises(
        UnreadableFile, match=r"in this folder, found \.hdr, \.img \(a\.hdr, a\.img, b\.hdr and 1 more\); co"
    ):
        scan_files([analyze])
    for each in analyze.iterdir():  # as some archives call slices
        each.write_bytes(bytes(128) + b"DICM")
    assert [scan.paths for scan in scan_files([analyze])] == [analyze]


def test_two_scans_of_one_name_are_refused(folder):
    image = folder / "images" / "s0.nii.gz"
    with pytest.raises(InputError, match=r"two scans are named s0: .*images.*s0.*labels.*s0.*column 'name'"):
        scan_files([image, folder / "labels" / "s0.nii.gz"])


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(UnreadableFile, match="it is empty"):
        scan_files([tmp_path])
    with pytest.raises(UnreadableFile, match="matches nothing"):
        scan_files([f"{tmp_path}/*.nii.gz"])
    (tmp_path / "a.txt").touch()
    with pytest.raises(UnreadableFile, match=r"only a\.txt, which is no image"):
        scan_files([f"{tmp_path}/*.txt"])


def test_a_missing_file_is_told_when_it_is_read(folder):
    scan = scan_files([folder / "images" / "s7.nii.gz"])[0]
    with pytest.raises(UnreadableFile, match="Did you mean"):
        scan.read()
