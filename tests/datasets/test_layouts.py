import json
from dataclasses import replace

import pytest
import torch

from contract.studies import SHAPE
from lowshot.datasets.export import export, export_nnunet
from lowshot.datasets.layouts import COPIES, find_in_any_layout, whose_copy
from lowshot.datasets.reader import find_cases, read_case
from lowshot.datasets.table import BTCV, CHAOS_MR, IMAGE_N, MRBRAINS18, MS_CMRSEG
from lowshot.errors import InputError
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

NUMBERED = {"images": dict.fromkeys(IMAGE_N.images, ""), "labels": IMAGE_N.labels}
AFFINE = torch.eye(4, dtype=torch.float64).numpy()


def subject(number, dataset, channels=("image",), values=None):
    """Stripes of all structures; background between them."""
    names = Names.of(values or dict(enumerate(dataset.structures.values(), start=1)))
    labels = torch.zeros(SHAPE, dtype=torch.int16)
    for k in range(1, len(names)):
        labels[k] = k
    voxels = torch.rand(len(channels), *SHAPE, generator=torch.Generator().manual_seed(number)) * 100
    return LabelledScan(Scan(f"case_{number:03d}", voxels, AFFINE, channels), Segmentation(labels, names, AFFINE))


def marked(labelled, name):
    return labelled.truth.labels == labelled.truth.names.index(name)


@pytest.mark.parametrize("dataset", [CHAOS_MR, MS_CMRSEG], ids=lambda each: each.name)
def test_numbered_copies_are_found_where_nothing_else_is(dataset, tmp_path):
    copy, subjects = COPIES[dataset.name], [subject(n, dataset) for n in (1, 2)]
    export(replace(copy, name=IMAGE_N.name, **NUMBERED), subjects, tmp_path)
    found = find_in_any_layout(dataset, tmp_path)
    assert (list(found.cases), found.problems) == (["1", "2"], {})
    assert set(found.dataset.structures.values()) == set(dataset.structures.values())
    read = read_case(found.dataset, found.cases["2"])
    for name in dataset.structures.values():
        assert torch.equal(marked(read, name), marked(subjects[1], name))


def test_numbered_copies_of_synapse_are_read_with_the_names_beside_them(tmp_path):
    values = {4: "Liver", 1: "spleen", 2: "pancreas"}
    export(replace(BTCV, name=IMAGE_N.name, **NUMBERED, structures=values), [subject(1, BTCV, values=values)], tmp_path)
    wanted = BTCV.only(("spleen", "liver"))
    with pytest.raises(InputError, match="differ in what values mean; write names\\.txt into this folder"):
        find_in_any_layout(wanted, tmp_path)
    (tmp_path / "names.txt").write_text("1 spleen\n2 pancreas\n4 Liver\n")
    found = find_in_any_layout(wanted, tmp_path)
    read = read_case(found.dataset, found.cases["1"])
    assert set(read.truth.names.foreground) == {"spleen", "liver"}
    assert torch.equal(marked(read, "liver"), marked(subject(1, BTCV, values=values), "Liver"))
    with pytest.raises(InputError, match="found no right kidney"):
        find_in_any_layout(BTCV.only(("right kidney",)), tmp_path)


@pytest.mark.parametrize("dataset", [CHAOS_MR, MS_CMRSEG], ids=lambda each: each.name)
def test_values_tell_whose_copies_they_are(dataset, tmp_path):
    copy = COPIES[dataset.name]
    export(replace(copy, name=IMAGE_N.name, **NUMBERED), [subject(1, dataset)], tmp_path)
    assert whose_copy(find_cases(IMAGE_N, tmp_path)) == copy


def test_values_of_none_are_no_copy_of_it(tmp_path):
    values = {7: "stomach"}
    export(replace(BTCV, name=IMAGE_N.name, **NUMBERED, structures=values), [subject(1, BTCV, values=values)], tmp_path)
    assert whose_copy(find_cases(IMAGE_N, tmp_path)) is None


def test_what_is_distributed_comes_before_its_copies(tmp_path):
    export(CHAOS_MR, [subject(n, CHAOS_MR) for n in (1, 2)], tmp_path / "distributed")
    export(IMAGE_N, [subject(3, CHAOS_MR)], tmp_path / "copies")
    assert find_in_any_layout(CHAOS_MR, tmp_path).dataset == CHAOS_MR


def test_a_data_set_of_nnunet_says_what_its_values_mean(tmp_path):
    organs = ("spleen", "liver")
    export_nnunet([subject(n, BTCV, values={7: "Liver", 2: "spleen", 1: "aorta"}) for n in (1, 2)], tmp_path)
    found = find_in_any_layout(BTCV.only(organs), tmp_path)
    assert list(found.cases) == ["case_001", "case_002"]
    read = read_case(found.dataset, found.cases["case_001"])
    written = subject(1, BTCV, values={7: "Liver", 2: "spleen", 1: "aorta"})
    assert set(read.truth.names.foreground) == set(organs)
    assert torch.equal(marked(read, "liver"), marked(written, "Liver"))
    with pytest.raises(InputError, match="found no right kidney, no left kidney"):
        find_in_any_layout(BTCV, tmp_path)


def test_of_nnunet_channels_are_found_by_name_and_what_is_ignored_is_unknown(tmp_path):
    channels = ("FLAIR", "T1", "IR")
    export_nnunet([subject(1, MRBRAINS18, channels)], tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["labels"]["infarction"] = 9
    content["labels"]["ignore"] = 11
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    found = find_in_any_layout(MRBRAINS18, tmp_path)
    assert [path.name[-8:] for path in found.cases["case_001"].images.values()] == ["1.nii.gz", "2.nii.gz", "0.nii.gz"]
    assert found.dataset.unknown == (9, 11)
    assert read_case(found.dataset, found.cases["case_001"]).scan.channels == ("T1", "IR", "FLAIR")
    content["channel_names"] = {"0": "FLAIR", "1": "T1", "2": "T2"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected the channels T1, IR, FLAIR"):
        find_in_any_layout(MRBRAINS18, tmp_path)


def test_in_an_empty_folder_nothing_is_found(tmp_path):
    for dataset in (CHAOS_MR, BTCV):
        found = find_in_any_layout(dataset, tmp_path)
        assert (found.dataset, len(found.cases)) == (dataset, 0)
