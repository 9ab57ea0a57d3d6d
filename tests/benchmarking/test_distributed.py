import pytest

from contract.studies import subject
from lowshot.benchmarking import distributed
from lowshot.benchmarking.distributed import arranged
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.progress import Silent
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
    names = labelled.truth.names.names
    (tmp_path / "names.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(names) if k))
    return tmp_path


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
