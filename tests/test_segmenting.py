import pytest
import torch

import ball_files
from ball_files import TINY, labelled
from lowshot.errors import ChannelMismatch, SettingsError
from lowshot.fitting import fit
from lowshot.imaging.scan import Scan
from lowshot.segmenting import options_of, segment
from lowshot.task import LowShotTask


@pytest.fixture(scope="module")
def fitted():
    task = LowShotTask(ball_files.NAMES, [labelled(0)])
    return fit(task, settings=TINY, steps=2, device="cpu", precision="float32")


def test_one_scan_is_segmented_on_its_own_grid(fitted):
    scan = labelled(1).scan
    result = segment(fitted, scan, device="cpu", precision="float32")
    assert result.segmentation.grid.same_as(scan.grid, tolerance=1e-3)
    assert set(result.quality) == set(ball_files.NAMES.foreground)


def test_options_are_the_methods(fitted):
    assert options_of(fitted, {"tiles_at_once": 3}).tiles_at_once == 3
    with pytest.raises(SettingsError, match="did you mean tiles_at_once"):
        segment(fitted, labelled(1).scan, options={"tile_at_once": 3})
    one, three = (
        segment(fitted, labelled(1).scan, options={"tiles_at_once": n}, device="cpu", precision="float32").segmentation
        for n in (1, 3)
    )
    assert float((one.labels == three.labels).float().mean()) > 0.999


def test_other_channels_are_refused(fitted):
    scan = Scan("two", torch.rand(2, 8, 8, 8), ball_files.AFFINE, ("T1", "T2"))
    with pytest.raises(ChannelMismatch, match="two: the model was made for the channels image"):
        segment(fitted, scan)
