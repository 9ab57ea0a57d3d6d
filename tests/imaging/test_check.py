from dataclasses import replace

import numpy as np
import pytest
import torch

from imaging.stored_images import OBLIQUE, SHIFTED, with_forms
from lowshot.imaging.check import Finding, check, check_together, given_before
from lowshot.imaging.files import read_scan
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

SHAPE = (12, 12, 8)


def scan(voxels=None, affine=None, **more):
    image = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0)) if voxels is None else voxels
    return Scan("case", image, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine, **more)


def labelled(labels=None, image=None, **more):
    if labels is None:
        labels = torch.zeros(SHAPE, dtype=torch.long)
        labels[2:6, 2:6, 2:6], labels[8:11, 8:11, 2:6] = 1, 2
    image = image or scan()
    return LabelledScan(image, Segmentation(labels, Names.of({1: "liver", 2: "spleen"}), image.affine), **more)


def found(subject):
    return [(finding.severity, finding.message) for finding in check(subject)]


def only(subject):
    ((severity, message),) = found(subject)
    assert message.startswith("case")
    return severity, message


def test_a_sound_scan_has_no_findings():
    assert found(scan()) == []
    assert found(labelled()) == []


def with_nan():
    voxels = torch.rand(1, *SHAPE)
    voxels[0, 0, 0, :3] = torch.nan
    return voxels


@pytest.mark.parametrize(
    ("subject", "severity", "part"),
    [
        (scan(with_nan()), "error", "3 of 1,152 voxels are NaN"),
        (scan(torch.full((1, *SHAPE), 7.0)), "error", "every voxel is 7"),
        (scan(torch.linspace(-1000, 500, 1152).reshape(1, *SHAPE)), "note", "CT in HU"),
        (scan(spacing_known=False), "note", "says nothing about millimetres"),
        (scan(affine=np.diag([0.5, 0.5, 6.0, 1.0])), "warning", "0.5 × 0.5 × 6 mm are far longer"),
        (scan(affine=np.diag([0.001, 0.001, 0.001, 1.0])), "warning", "are these millimetres"),
        (scan(affine=np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])), "note", "by 14.0°"),
    ],
)
def test_images(subject, severity, part):
    assert only(subject)[0] == severity
    assert part in only(subject)[1]


def test_a_label_map_in_place_of_an_image_is_told():
    assert only(scan(torch.arange(12.0).expand(1, 8, 12, 12).transpose(1, 3).contiguous())) == (
        "warning",
        "case: only 12 different values; is it a label map?",
    )


def test_the_channel_is_named():
    voxels = torch.stack([torch.rand(SHAPE), torch.zeros(SHAPE)])
    assert only(scan(voxels, channels=("T1", "FLAIR")))[1].startswith("case, FLAIR: every voxel is 0")


def test_one_slice_is_not_called_anisotropic():
    assert found(scan(torch.rand(1, 12, 12, 1), np.diag([0.5, 0.5, 8.0, 1.0]))) == []


def labels_with(index, count):
    labels = torch.zeros(SHAPE, dtype=torch.long)
    labels[2:6, 2:6, 2:6] = 1
    labels[8, 8, :count] = index
    return labels


def padded_image():
    voxels = torch.rand(1, *SHAPE) + 1
    voxels[:, :6] = 0
    return scan(voxels)


@pytest.mark.parametrize(
    ("subject", "severity", "part"),
    [
        (labelled(torch.zeros(SHAPE, dtype=torch.long)), "error", "is empty"),
        (labelled(labels_with(2, 3)), "warning", "fewer than 10 voxels of spleen (3)"),
        (labelled(labels_with(2, 0)), "note", "nothing labelled as spleen"),
        (labelled(torch.randint(1, 3, SHAPE)), "warning", "no voxel is background"),
        (labelled(known=torch.zeros(SHAPE, dtype=torch.bool)), "error", "no voxel of its label map is known"),
        (labelled(annotated=frozenset(["liver"])), "warning", "not declared as annotated: spleen"),
        (labelled(image=padded_image()), "warning", "64% of its labelled voxels lie where the image is empty"),
    ],
)
def test_label_maps(subject, severity, part):
    assert only(subject)[0] == severity
    assert part in only(subject)[1]


def known_where(*box):
    known = torch.zeros(SHAPE, dtype=torch.bool)
    known[box] = True
    return known


def test_only_known_voxels_are_counted():
    """The second structure lies outside of the annotated slice, and has 4 voxels in the other."""
    assert only(labelled(known=known_where(slice(0, 7)))) == ("note", "case: nothing labelled as spleen")
    known = known_where(slice(0, 7)) | known_where(8, 8, slice(2, 6))
    assert only(labelled(known=known)) == ("warning", "case: fewer than 10 voxels of spleen (4)")
    assert only(labelled(known=known_where(0))) == ("error", "case: its label map is empty: no structure is annotated")


def test_structures_alone_are_not_enough_where_the_rest_is_unknown():
    severity, message = next(iter(found(labelled(known=labelled().truth.labels > 0))))
    assert severity == "error"
    assert "no background is known" in message
    some = (labelled().truth.labels > 0) | known_where(0)
    assert found(labelled(known=some)) == []


def test_scans_that_all_show_one_thing_and_no_background_are_an_error_together():
    one, two = (labelled(torch.full(SHAPE, index)) for index in (1, 2))
    (finding,) = check_together([one, one])
    assert finding.severity == "error"
    assert finding.message.startswith("case, case: every voxel is liver and none background")
    divided = labelled(torch.randint(1, 3, SHAPE))
    empty = labelled(torch.zeros(SHAPE, dtype=torch.long))
    for support in ([], [labelled()], [one, labelled()], [one, two], [divided], [empty]):
        assert check_together(support) == []


def test_image_and_label_map_of_few_values_are_told_apart_by_how_many():
    image, labels = scan().voxels[0], labelled().truth.labels
    grey = ((image - image.min()) / (image.max() - image.min()) * 200).long()
    names = Names.from_values(range(1, 201))
    swapped = LabelledScan(scan(labels[None].float()), Segmentation(grey, names, np.diag([1.0, 1.0, 2.0, 1.0])))
    assert "3 different values in its image" in next(iter(found(swapped)))[1]
    assert [finding.severity for finding in check(swapped)].count("error") == 1
    assert not any("swapped" in message for _, message in found(labelled()))


@pytest.mark.parametrize(("codes", "told"), [((2, 1), 1), ((1, 1), 0), ((2, 0), 0), ((0, 0), 1)])
def test_two_places_in_one_header_are_told(tmp_path, codes, told):
    path = with_forms(tmp_path / "case.nii", sform=(SHIFTED, codes[0]), qform=(OBLIQUE, codes[1]))
    messages = [message for severity, message in found(read_scan(path)) if severity == "note"]
    assert len(messages) == told
    if codes == (2, 1):
        assert messages[0].startswith(
            "case: programs read two places from its header (sform and qform), which differ by 3.46"
        )


def test_a_picture_that_came_before_is_told_by_either_name():
    seen = {}
    assert given_before(scan(), seen) == given_before(replace(scan(torch.zeros(1, *SHAPE)), name="other"), seen) == []
    (finding,) = given_before(replace(scan(), name="copy", affine=np.eye(4)), seen)
    assert finding == Finding("warning", "copy: the same picture as case; was another scan meant?")


def test_an_empty_image_matters_where_labels_are_known():
    image = padded_image()  # empty where the second index is below 6
    assert only(labelled(image=image, known=known_where(slice(7, None))))[1].endswith("liver")


@pytest.mark.parametrize("index", [3, -1])
def test_labels_outside_of_the_table(index):
    labels = labels_with(2, 8)
    labels[9, 9] = 2
    labels[0, 0, 0] = index
    assert ("error", "case: labels outside of the table of 3 names") in found(labelled(labels))


def test_the_most_severe_comes_first():
    severities = [severity for severity, _ in found(labelled(labels_with(2, 3), scan(torch.ones(1, *SHAPE))))]
    assert severities == ["error", "warning"]


@pytest.mark.parametrize(("step", "gapped"), [(1, False), (2, True), (3, True)])
def test_slices_that_were_perhaps_left_out_are_asked_about(step, gapped):
    labels = torch.zeros(SHAPE, dtype=torch.long)
    labels[2:6, 2:6, 1::step], labels[8:11, 8:11, 2:6] = 1, 2
    told = [message for severity, message in found(labelled(labels)) if severity == "warning"]
    assert bool(told) == gapped
    if gapped:
        assert told[0].startswith(f"case: liver never in two slices next to each other (liver in 1, {1 + step}")
    assert not any("next to each other" in message for _, message in found(labelled(labels, known=labels > -1)))


@pytest.mark.parametrize("right_first", [False, True])
def test_a_mirrored_label_map_is_told(right_first):
    """In world coordinates x grows towards the patient's right."""
    names = Names.of({1: "right kidney", 2: "left kidney"} if right_first else {1: "left kidney", 2: "right kidney"})
    sound = labelled()
    paired = replace(sound, truth=replace(sound.truth, names=names))
    told = [message for _, message in found(paired)]
    assert bool(told) == right_first
    if right_first:
        assert told[0].startswith("case: left kidney lies on the patient's right, as its file tells; is the label map")
        chambers = Names.of({1: "right ventricle", 2: "left ventricle"})
        assert found(replace(sound, truth=replace(sound.truth, names=chambers))) == []
        assert len(found(replace(paired, scan=replace(paired.scan, spacing_known=False)))) == 1  # about millimetres
