import numpy as np
import pytest
import torch

from lowshot.imaging.grid import Grid
from lowshot.registration.correspondence import Correspondence

GRID = Grid((5, 6, 7), np.array([[-2.0, 0, 0, 10], [0, 3.0, 0, 20], [0, 0, 4.0, 30], [0, 0, 0, 1.0]]))
WORLD = np.array([[1.0, 0, 0, 5], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


def points(*world):
    return torch.tensor(world, dtype=torch.float32).reshape(-1, 1, 1, 3)


def test_first_the_affine_map_then_the_field_along_the_grids_axes():
    field = torch.zeros(3, *GRID.shape)
    field[0], field[1] = 2.0, 6.0  # mm: one voxel along i, which runs to the left; two along j
    found = Correspondence(WORLD, GRID, field)
    there = found.to_atlas(points([3.0, 23.0, 34.0]))
    torch.testing.assert_close(there, points([3.0 + 5 - 2, 23.0 + 6, 34.0]), atol=1e-4, rtol=0)


def test_beyond_its_grid_the_field_goes_on_as_at_its_border():
    field = torch.zeros(3, *GRID.shape)
    field[2, 0] = 4.0
    there = Correspondence(np.eye(4), GRID, field).to_atlas(points([100.0, 20.0, 30.0]))
    torch.testing.assert_close(there, points([100.0, 20.0, 34.0]), atol=1e-3, rtol=0)


def test_trust_is_read_where_the_point_lies():
    alike = torch.zeros(GRID.shape)
    alike[1, 2, 3] = 7.0
    found = Correspondence(np.eye(4), GRID, torch.zeros(3, *GRID.shape), alike)
    assert found.trust(points([8.0, 26.0, 42.0])).item() == pytest.approx(7.0, abs=1e-4)
    assert found.trust(points([8.0, 26.0, 46.0])).item() == pytest.approx(0.0, abs=1e-4)
    everywhere = Correspondence(np.eye(4), GRID, torch.zeros(3, *GRID.shape))
    assert everywhere.trust(points([0.0, 0.0, 0.0])).item() == 1.0


def test_what_it_turns_inside_out_is_counted():
    field = torch.zeros(3, *GRID.shape)
    assert Correspondence(np.eye(4), GRID, field).folded_share() == 0
    field[0] = -4.0 * torch.arange(5).view(5, 1, 1)  # twice as far back as the voxels go forward
    assert Correspondence(np.eye(4), GRID, field).folded_share() == 1
