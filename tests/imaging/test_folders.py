"""What a folder holds, by names."""

from lowshot.imaging.folders import image_files, label_files, visible

FILES = ("b.nii.gz", "a.PNG", "c.dcm", "notes.txt", ".hidden.nii.gz", "._b.nii.gz")


def test_files_are_told_by_suffix_and_hidden_ones_left_out(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    (tmp_path / "folder.nii.gz").mkdir()
    assert [path.name for path in visible(tmp_path)] == ["a.PNG", "b.nii.gz", "c.dcm", "folder.nii.gz", "notes.txt"]
    assert [path.name for path in image_files(tmp_path)] == ["a.PNG", "b.nii.gz"]
    assert [path.name for path in label_files(tmp_path)] == ["a.PNG", "b.nii.gz", "c.dcm"]
