"""What a reader may count on: one idea per file, functions that fit on a screen, names that say what a thing does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCREEN = 60
LONGEST_FILE = 400
SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "base", "core", "tools", "stuff"}

FILES = sorted(path for folder in ("src", "tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and length of every function, its docstring not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def test_docstrings_do_not_count_as_length():
    source = 'def short():\n    """One\n    two."""\n    def inner():\n        pass\n    return inner\n'
    assert list(functions(source)) == [("short", 4), ("inner", 2)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_its_functions_fit_on_a_screen(path):
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    assert {name: length for name, length in functions(source) if length > SCREEN} == {}


def test_names_say_what_a_module_does():
    parts = {part for path in FILES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & SAY_NOTHING == set()
