"""What ``lowshot`` offers is a chosen list, and the list is true."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lowshot


@pytest.mark.parametrize("name", lowshot.__all__)
def test_everything_listed_is_there_and_documented(name):
    assert getattr(lowshot, name).__doc__


def test_what_type_checkers_see_is_what_is_imported():
    tree = ast.parse(Path(lowshot.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: module for module, names in lowshot._HOME.items() for name in names}
    assert sorted(seen) == sorted(lowshot.__all__)
    assert set(lowshot.__all__) <= set(dir(lowshot))


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        lowshot.segmnt  # noqa: B018


def test_importing_it_imports_no_torch():
    code = "import lowshot, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
