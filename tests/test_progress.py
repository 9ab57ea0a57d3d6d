import errno
import io
import json
import os
from itertools import pairwise

import pytest

from lowshot import progress
from lowshot.progress import Bars, Events, Lines, Silent, progress_for


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_ever_more_rarely_and_tell_the_time_left(clock):
    stream = io.StringIO()
    with Lines(stream).task("training", 1000) as task:
        for _ in range(1000):
            clock[0] += 1.0
            task.advance(1, loss=0.123456)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training 1/1000, 17 min left, loss 0.123"
    assert lines[1] == "training 2/1000, 17 min left, loss 0.123"
    assert lines[-1] == "training 1000/1000, done in 17 min, loss 0.123"
    assert 20 < len(lines) < 40
    done = [int(line.split()[1].split("/")[0]) for line in lines]
    assert max(b - a for a, b in pairwise(done)) <= 60


def test_what_an_earlier_process_did_does_not_count_for_the_speed(clock):
    stream = io.StringIO()
    with Lines(stream).task("training", 100, done=50) as task:
        clock[0] += 10.0
        task.advance(10)
        assert stream.getvalue() == "training 60/100, 40 s left\n"


@pytest.mark.parametrize("make", [Lines, Events, Bars])
def test_work_outlives_whoever_reads_about_it(make):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        told = make(stream)
        os.close(reading)
        told.note("to nobody")
        with told.task("training", 2) as task:
            task.advance()
            told.warn("to nobody either")
            task.advance()
    # Closing the stream wrote what was still in it, to nowhere.


def test_work_outlives_a_full_disk_for_its_log():
    class Log(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, "no space left on device")
            return super().write(text)

    log = Log()
    told = Lines(log)
    told.note("no room")
    log.full = False
    told.note("room again")
    assert log.getvalue() == "room again\n"


def test_events_are_json(clock):
    stream = io.StringIO()
    events = Events(stream)
    with events.task("segment", 2) as task:
        clock[0] += 3.0
        task.advance(1, dice=0.5)
    events.note("a sentence")
    events.warn("another")
    first, second, note, warning = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "event": "progress", "task": "segment", "done": 1, "total": 2,
        "seconds": 3.0, "seconds_left": 3.0, "figures": {"dice": 0.5},
    }  # fmt: skip
    assert second["done"] == 1
    assert note == {"event": "note", "message": "a sentence"}
    assert warning == {"event": "warning", "message": "another"}


def test_bars_draw_name_count_and_figures():
    stream = io.StringIO()
    bars = Bars(stream)
    with bars.task("training", 4, done=1) as task:
        task.advance(3, loss=0.25)
    bars.note("[bold] is no markup")
    assert "training" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "loss 0.25" in stream.getvalue()
    assert "[bold] is no markup" in stream.getvalue()


def test_silence(capsys):
    silent = Silent()
    with silent.task("training", 2) as task:
        task.advance(2, loss=1.0)
    silent.note("x")
    silent.warn("y")
    assert capsys.readouterr() == ("", "")


def test_the_stream_decides():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert isinstance(progress_for(io.StringIO()), Lines)
    assert isinstance(progress_for(Terminal()), Bars)
    assert isinstance(progress_for(Terminal(), json_events=True), Events)
