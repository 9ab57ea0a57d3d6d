from dataclasses import replace

import pytest
import torch

from benchmarking.test_document import cell
from contract.studies import subject
from lowshot.benchmarking import distributed
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.distributed import arranged
from lowshot.benchmarking.document import command
from lowshot.datasets.export import export
from lowshot.datasets.table import DATASETS
from lowshot.errors import InputError
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names_file import read_names
from lowshot.progress import Silent
from lowshot.protocols.mre_net import PHANTOM
from lowshot.protocols.registry import PROTOCOLS

BRIGHT = "case-1"


@pytest.fixture
def folder(tmp_path):
    """Six annotated bodies in the plain layout, much alike but for one with a bright half."""
    for seed in range(6):
        labelled = subject(seed, shape=(28, 30, 20))
        case, voxels = f"case-{seed}", labelled.scan.voxels.clone()
        if case == BRIGHT:
            voxels[:, :14] += 150 * (voxels[:, :14] > 0)
        write_volume(voxels, labelled.scan.affine, tmp_path / "images" / f"{case}.nii.gz")
        write_segmentation(labelled.truth, tmp_path / "labels" / f"{case}.nii.gz")
    names = labelled.truth.names
    lines = (f"{value} {name}\n" for value, name in zip(names.values, names.names, strict=True))
    (tmp_path / "names.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.usefixtures("brief_alignment")
def test_the_atlas_is_the_scan_closest_to_the_average_and_is_looked_for_once(folder, tmp_path, monkeypatch):
    one = PROTOCOLS["candi-one-atlas"]
    (before,) = one.distributed.arrange(tuple(f"case-{seed}" for seed in range(6)))
    assert BRIGHT in before.support  # or its not being chosen would show nothing
    ready, _ = arranged(one, folder, tmp_path / "out", Silent())
    (fold,) = ready.folds
    (atlas,) = fold.support
    assert atlas != BRIGHT
    assert sorted((atlas, *fold.unlabelled, *fold.queries)) == sorted((*before.support, *before.queries))
    monkeypatch.setattr(distributed, "choose", None)
    assert arranged(one, folder, tmp_path / "out", Silent())[0].folds == ready.folds


ATLASES, IMAGES = PROTOCOLS["candi-atlases"], PROTOCOLS["busi-images"]


def test_phantoms_are_told_and_nothing_published_stands_beside_them(tmp_path):
    ready, _ = arranged(IMAGES, None, tmp_path, Silent())
    assert ready.differs[-1].startswith("data: 6 phantoms, written as BUSI, breast ultrasound images is distributed;")
    assert not ready.paper
    assert command(ready, [cell() | {"preset": "paper"}]).startswith("lowshot bench busi-images --steps")


def test_of_a_part_of_a_data_set_the_number_of_cases_is_told(tmp_path):
    export(DATASETS["busi"], IMAGES.study, tmp_path / "data")
    ready, _ = arranged(IMAGES, tmp_path / "data", tmp_path / "out", Silent())
    assert ready.differs == (*IMAGES.differs, "data: 6 of the 780 cases of BUSI, breast ultrasound images")
    assert ready.paper == "mre-net"
    assert "busi-images --data DATA" in command(ready, [cell() | {"preset": "paper"}])


def test_a_plain_folder_is_told_to_be_taken_as_prepared(folder, tmp_path):
    ready, data = arranged(ATLASES, folder, tmp_path / "out", Silent())
    assert data == folder
    assert ready.differs[-1].startswith("data: 6 cases that are taken as prepared; CANDI, SchizBull 2008 as it is")


def test_of_a_plain_folder_the_protocol_s_structures_alone_are_looked_at(folder, tmp_path):
    names = read_names(folder / "names.txt").foreground
    some = replace(ATLASES, distributed=replace(ATLASES.distributed, structures=names[1:]))
    ready, data = arranged(some, folder, tmp_path / "out", Silent())
    ours, theirs = (cases_of(ready, where, tmp_path, Silent()) for where in (data, folder))
    assert ours.names.foreground == names[1:]
    assert ours.annotated == theirs.annotated
    some_of_them, all_of_them = ours.query("case-3"), theirs.query("case-3")
    assert some_of_them.scan.voxels.equal(all_of_them.scan.voxels)
    for name in names[1:]:
        one, other = (each.truth.labels == each.truth.names.index(name) for each in (some_of_them, all_of_them))
        assert one.equal(other)
    assert torch.count_nonzero(some_of_them.truth.labels) < torch.count_nonzero(all_of_them.truth.labels)
    assert arranged(some, folder, tmp_path / "out", Silent())[0] == ready


def test_a_plain_folder_that_lacks_a_structure_is_refused(folder, tmp_path):
    lacking = replace(ATLASES, distributed=replace(ATLASES.distributed, structures=("spleen",)))
    with pytest.raises(InputError, match=r"names.txt: expected spleen; of these it lacks spleen"):
        arranged(lacking, folder, tmp_path / "out", Silent())


def test_where_data_is_given_the_command_says_so(folder, tmp_path):
    ready, _ = arranged(PHANTOM, folder, tmp_path, Silent())
    assert "phantom-ct --data DATA" in command(ready, [cell()])
    assert arranged(PHANTOM, None, tmp_path, Silent())[0] == PHANTOM
