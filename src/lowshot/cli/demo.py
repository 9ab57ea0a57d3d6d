"""``lowshot demo``: the whole way on a synthetic study, by the commands that a user would type."""

import io
import json
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from lowshot.cli.options import AsJson, Restart
from lowshot.cli.terminal import Terminal

MINUTES = 2.5
"""Of training. The rest of the demo takes about another minute on two cores, so that all of it stays under five."""

Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for scans, model, segmentations and scores.")]
Minutes = Annotated[float, typer.Option(help="How long to train.")]


def demo(
    *, output: Folder = Path("demo"), minutes: Minutes = MINUTES, restart: Restart = False, as_json: AsJson = False
) -> None:
    """Make synthetic abdominal CT scans, annotate one, segment the others, and see how good that is."""
    terminal = Terminal(as_json)
    _make_study(output, terminal)
    model, results, scores = (output / name for name in ("model.safetensors", "segmentations", "evaluation"))
    example, others = output / "annotated", output / "others"
    pair: Sequence[Path] = [_only_file(example / "images"), _only_file(example / "labels")]
    names = ["--names", str(example / "names.txt")]
    anew = ["--restart"] if restart else []
    pictures = ["--images", str(others / "images")]
    commands: dict[str, Sequence[str | Path]] = {
        "fit": [*pair, *names, "--minutes", f"{minutes:g}", "-o", model, *anew, *_again(model)],
        "segment": [model, others / "images", "-o", results, *_again(results)],
        "evaluate": [results, others / "labels", *names, *pictures, "-o", scores, *_again(scores)],
    }
    printed = {command: _run([command, *map(str, words)], terminal) for command, words in commands.items()}
    if as_json:
        terminal.result(printed)


def _make_study(folder: Path, terminal: Terminal) -> None:
    """One annotated scan, the others, and their truth, which the model never sees."""
    from lowshot.phantoms.study import DEMO
    from lowshot.phantoms.study_folder import write_study

    with terminal.progress.task("making synthetic scans", len(DEMO)) as task:
        for number, subject in enumerate(DEMO):
            write_study([subject], folder / ("others" if number else "annotated"))
            task.advance()


def _only_file(folder: Path) -> Path:
    from lowshot.imaging.folders import image_files

    return image_files(folder)[0]


def _again(result: Path) -> list[str]:
    """What a command is told whose result is there, from a demo before this one."""
    return ["--overwrite"] if result.exists() else []


def _run(words: Sequence[str], terminal: Terminal) -> Any:
    """Show a command and run it here, as if it had been typed; with ``--json``, what it printed."""
    from lowshot.cli.app import app

    terminal.progress.note(f"\n$ lowshot {shlex.join(words)}")
    if not terminal.as_json:
        _check(app(list(words), prog_name="lowshot", standalone_mode=False))
        return None
    with redirect_stdout(io.StringIO()) as printed:
        _check(app([*words, "--json"], prog_name="lowshot", standalone_mode=False))
    return json.loads(printed.getvalue())


def _check(code: int | None) -> None:
    """End with the exit code of a command that failed; it has said why."""
    if code:
        raise typer.Exit(code)
