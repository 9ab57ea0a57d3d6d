from dataclasses import replace

import pytest

from ball_files import NAMES, labelled
from lowshot.errors import ChannelMismatch, EmptySupport, UnknownLabel
from lowshot.imaging.names import Names
from lowshot.task import LowShotTask


def with_channels(*channels):
    example = labelled(0)
    voxels = example.scan.voxels.expand(len(channels), -1, -1, -1)
    return replace(example, scan=replace(example.scan, name=" and ".join(channels), voxels=voxels, channels=channels))


def test_without_any_scan_there_is_no_task():
    with pytest.raises(EmptySupport):
        LowShotTask(NAMES)
    assert LowShotTask(NAMES, unlabelled=[labelled(0).scan]).channels == labelled(0).scan.channels
    assert LowShotTask(NAMES, base=[labelled(0)]).channels == labelled(0).scan.channels


@pytest.mark.parametrize(
    "other",
    [Names(NAMES.names, (0, 1, 2, 3)), Names((NAMES.names[0], *NAMES.foreground[::-1]), NAMES.values)],
    ids=["other values", "another order"],
)
def test_annotated_scans_have_the_names_of_the_task(other):
    with pytest.raises(UnknownLabel, match=r"s0: its label map's table is 0 background, 3 left ball, .*the task's 0 "):
        LowShotTask(other, [labelled(0)])


def test_a_structure_missing_in_the_table_of_the_second_scan_is_told():
    second = labelled(1)
    fewer = Names(NAMES.names[:-1], NAMES.values[:-1])
    second = replace(second, truth=replace(second.truth, names=fewer))
    with pytest.raises(UnknownLabel, match="s1: "):
        LowShotTask(NAMES, [labelled(0), second])


@pytest.mark.parametrize("second", [("T2", "T1"), ("T1",), ("T1", "T2", "FLAIR")])
def test_annotated_scans_have_the_same_channels_in_the_same_order(second):
    LowShotTask(NAMES, [with_channels("T1", "T2"), with_channels("T1", "T2")])
    with pytest.raises(ChannelMismatch, match=f"{' and '.join(second)}: has the channels .*T1 and T2 has T1, T2"):
        LowShotTask(NAMES, [with_channels("T1", "T2"), with_channels(*second)])
