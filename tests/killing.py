"""Commands that are killed with SIGKILL at a given moment, to see what stays on disk and how they go on.

    with commands() as run:
        ended = run("fit", ..., kill_after=0.3)           # seconds
        ended = run("fit", ..., kill_at=(folder, 7))      # before the seventh change of a file in the folder
        ended.killed, ended.code, ended.out, ended.err
        leftovers(folder)                                 # what was begun and not taken away again

Each command is a process of its own, forked from one that has imported everything: thirty times four seconds of imports
would be most of a test. What a command would decide by a clock is decided beforehand: precision and memory format are
not measured, and checkpoints are written after every ``CHECKPOINT_SECONDS``. It has one thread, so that equal
commands give equal weights.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_SECONDS = 0.05
IMPORTED = (
    "lightning_fabric",
    "lowshot.cli.app",
    "lowshot.evaluation.folders",
    "lowshot.fitting",
    "lowshot.inputs.task_files",
    "lowshot.methods.mre_net.method",
    "lowshot.methods.mre_net.presets",
    "lowshot.reporting.write",
    "lowshot.segmenting_files",
    "lowshot.segmenting_on_cluster",
    "nibabel",
    "pydantic.type_adapter",
    "rich.console",
    "safetensors.torch",
    "scipy.ndimage",
)
CHANGES = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@contextmanager
def commands(*more: str) -> Iterator["Commands"]:
    """Where commands are run. The process that they are forked from imports ``more`` too, and ends with the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, *more]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        yield Commands(server, Path(folder))
        server.stdin.close()


def leftovers(folder: Path) -> list[str]:
    """The temporary files in a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".part-*")]


class Commands:
    """Runs ``lowshot`` with the words given."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server, self._out, self._err = server, folder / "out", folder / "err"

    def __call__(
        self, *words: object, kill_after: float | None = None, kill_at: tuple[Path, int] | None = None
    ) -> Ended:
        request = {
            "words": [str(word) for word in words],
            "kill_after": kill_after,
            "kill_at": None if kill_at is None else [str(kill_at[0]), kill_at[1]],
            "files": [str(self._out), str(self._err)],
        }
        print(json.dumps(request), file=self._server.stdin, flush=True)
        code, seconds = json.loads(self._server.stdout.readline())
        return Ended(code, self._out.read_text(), self._err.read_text(), seconds)


def serve() -> None:
    """Fork a process for every line of standard input, and say how it ended."""
    for module in (*IMPORTED, *sys.argv[1:]):
        importlib.import_module(module)
    decide_beforehand()
    for line in sys.stdin:
        request, start = json.loads(line), time.monotonic()
        child = os.fork()
        if child == 0:
            work(request)
        code = ending_of(child, request["kill_after"])
        print(json.dumps([code, time.monotonic() - start]), flush=True)


def decide_beforehand() -> None:
    """Settle what would otherwise follow from how fast the machine happens to be."""
    from lowshot.training import run
    from lowshot.training.measure import Choice
    from lowshot.training.resume import Checkpoint

    def due(self: Checkpoint) -> bool:
        return self.path is not None and time.monotonic() - self._last >= CHECKPOINT_SECONDS

    run.fastest = lambda *_: Choice("float32", "contiguous")
    Checkpoint.due = due


def ending_of(child: int, kill_after: float | None) -> int:
    """The exit code of a process, or minus the signal that killed it."""
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # one that has ended stays a zombie until it is waited for
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def work(request: dict) -> None:
    """Be the command: never returns."""
    for number, path in enumerate(request["files"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if request["kill_at"] is not None:
        kill_before_change(*request["kill_at"])
    code: object = 70
    try:
        from lowshot.cli.app import app

        app(request["words"], prog_name="lowshot")
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


def kill_before_change(folder: str, number: int) -> None:
    """Kill this process before its ``number``-th change of a file in the folder, counted from 1."""
    left = number

    def see(event: str, arguments: tuple) -> None:
        nonlocal left
        if event not in CHANGES or not str(arguments[0]).startswith(folder):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)


if __name__ == "__main__":
    serve()
