"""Run the blocks of a Markdown page in order, in one empty folder, as a reader would type them.

    python scripts/run_readme.py README.md

```bash and ```python blocks are run; the first that fails ends it. A ```text block shows what the block before it
prints: its lines have to come, in this order and with these words; a number stands for any number, … for anything, and
other lines may come between. A line `<!-- not run: reason -->` right above a block leaves it and its output out.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?P<skip><!-- not run: [^\n]+ -->\n)?```(?P<language>bash|python|text)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@dataclass(frozen=True)
class Block:
    """One fenced block of the page."""

    language: str
    text: str
    line: int
    skipped: bool


class BlockError(Exception):
    """A block ended with an error, or did not print what the page says."""


def blocks(page: str) -> list[Block]:
    """The blocks that are run or show output, in order."""
    return [
        Block(found["language"], found["text"], page.count("\n", 0, found.start()) + 1, found["skip"] is not None)
        for found in FENCE.finditer(page)
    ]


def run_page(page: str, folder: Path) -> Iterator[tuple[Block, str]]:
    """Run every block in ``folder``; yields it with its output, as it goes."""
    output: str | None = None
    for block in blocks(page):
        if block.skipped:
            output = None
        elif block.language == "text":
            if output is not None:
                check_output(block, output)
        else:
            output = run(block, folder)
            yield block, output


def run(block: Block, folder: Path) -> str:
    """What one block prints."""
    here = Path(sys.executable).parent  # its `lowshot` and `python`, not those of the shell that started this
    environment = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    command = [*COMMANDS[block.language], block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        raise BlockError(f"line {block.line}: exit code {done.returncode}\n{block.text}\n{done.stdout}")
    return done.stdout


def check_output(block: Block, output: str) -> None:
    """Every line of a ``text`` block has to occur in the output, after the one before it."""
    printed = iter([comparable(line) for line in output.splitlines()])
    for line in filter(str.strip, block.text.splitlines()):
        shown = re.compile(".*".join(map(re.escape, comparable(line).split("…"))))
        if not any(map(shown.fullmatch, printed)):  # takes the lines up to the first that fits
            raise BlockError(f"line {block.line}: the page shows {line.strip()!r}; printed was\n{output}")


def comparable(line: str) -> str:
    """A line with every number replaced by 0, and with single blanks."""
    return " ".join(re.sub(r"-?\d+(\.\d+)?", "0", line).split())


def main() -> int:
    """Run the pages named on the command line."""
    for path in map(Path, sys.argv[1:]):
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                for block, output in run_page(path.read_text(), Path(folder)):
                    print(
                        f"{path}:{block.line} {block.language}, {time.monotonic() - start:.0f} s\n{output}", flush=True
                    )
            except BlockError as error:
                print(f"{path}: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
