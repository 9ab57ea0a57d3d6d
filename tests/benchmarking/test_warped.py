from dataclasses import replace

import numpy as np
import pytest
import torch

from ball_files import write_ball_files
from benchmarking.balls import BALLS, HOW, SETTINGS, bench
from lowshot.benchmarking.cases import cases_of
from lowshot.benchmarking.cell import cells_to_picture
from lowshot.benchmarking.runner import cells
from lowshot.benchmarking.warped import picture_warped, warped
from lowshot.errors import SettingsError
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.progress import Silent
from lowshot.protocols.protocol import System
from lowshot.registration.correspondence import Correspondence

ROWS = {
    "registration": System(method="multi-atlas", settings={"levels": ((2, 2),)}),
    "mre-net": System(method="mre-net", settings=SETTINGS),
}
PROTOCOL = replace(BALLS, systems=ROWS, reference="mre-net")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_ball_files(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def root(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    _, failed = bench(data, folder, PROTOCOL)
    assert not failed
    return folder


def draw(data, root, *names):
    pictured = cells_to_picture(cells(PROTOCOL, ROWS, PROTOCOL.folds, None), names, "--warped")
    return picture_warped(pictured, cases_of(PROTOCOL, data, root, Silent()), root, HOW, Silent())


def test_the_atlas_is_drawn_as_a_system_lays_it_upon_a_query(data, root):
    assert draw(data, root, "registration") == {"warped": str(root / "warped.png")}
    assert (root / "warped.png").read_bytes().startswith(b"\x89PNG")
    assert draw(data, root) == {}


def test_what_does_not_deform_is_refused(data, root):
    with pytest.raises(SettingsError, match=r"--warped: mre-net \(mre-net\) does not find"):
        draw(data, root, "mre-net")


def test_a_field_of_whole_voxels_moves_the_image_by_whole_voxels():
    """Field and grid in the atlas's world; the atlas is stored at another place than the query."""
    generator = torch.Generator().manual_seed(0)
    affine, shifted = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])
    shifted[:3, 3] = 10.0
    atlas, query = (
        LabelledScan(
            Scan("a", torch.rand(1, 8, 9, 10, generator=generator), where),
            Segmentation(torch.zeros(8, 9, 10, dtype=torch.int16), Names.of({1: "ball"}), where),
        )
        for where in (shifted, affine)
    )
    world = np.eye(4)
    world[:3, 3] = 10.0
    field = torch.zeros(3, 8, 9, 10)
    field[1] = 4.0  # mm, two voxels
    laid = warped(atlas, query, Correspondence(world, Grid((8, 9, 10), shifted), field))
    torch.testing.assert_close(laid[:, :, :-2], atlas.scan.voxels[:, :, 2:], atol=1e-5, rtol=1e-5)
