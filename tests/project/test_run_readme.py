"""The script that runs the README's blocks, on pages of three lines and on the README."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    """scripts/run_readme.py as a module."""
    spec = importlib.util.spec_from_file_location("run_readme", ROOT / "scripts" / "run_readme.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_readme"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["run_readme"]


def page(*blocks: str) -> str:
    return "# Title\n\n" + "\n\nProse.\n\n".join(blocks) + "\n"


def outputs(script, tmp_path, *blocks: str) -> list[str]:
    return [output for _, output in script.run_page(page(*blocks), tmp_path)]


def test_blocks_share_one_folder_and_run_in_order(script, tmp_path):
    write, read = "```bash\necho 7 > seven\n```", "```python\nprint(open('seven').read().strip())\n```"
    assert outputs(script, tmp_path, write, read) == ["", "7\n"]


def test_python_is_the_one_that_runs_the_script(script, tmp_path):
    block = "```bash\npython -c 'import sys; print(sys.prefix)'\n```"
    assert outputs(script, tmp_path, block) == [sys.prefix + "\n"]


def test_other_blocks_and_those_marked_are_left_out(script, tmp_path):
    marked = "<!-- not run: needs your scans -->\n```bash\nfalse\n```"
    shown, other = "```text\nliver 1\n```", "```toml\na = 1\n```"
    assert outputs(script, tmp_path, marked, shown, other, "```bash\ntrue\n```") == [""]


def test_a_mark_leaves_out_one_block_and_none_before_the_next_mark(script, tmp_path):
    marked = "<!-- not run: needs your scans -->\n```bash\nfalse\n```"
    assert outputs(script, tmp_path, marked, "```bash\necho between\n```", marked) == ["between\n"]


@pytest.mark.parametrize("failing", ["false", "false | true", "echo $undefined", "false\ntrue"])
def test_a_failing_command_anywhere_in_a_block_is_reported_with_its_line(script, tmp_path, failing):
    with pytest.raises(script.BlockError, match="line 9: exit code"):
        outputs(script, tmp_path, "```bash\ntrue\n```", f"```bash\n{failing}\n```")


@pytest.mark.parametrize("shown", ["liver -0.8\nspleen 9", "liver 1", "spleen 3", "liver …\n…een 1"])
def test_shown_output_may_differ_in_numbers_blanks_and_lines_between(script, tmp_path, shown):
    block = "```bash\nprintf 'liver  0.91\\nnoise\\nspleen 10\\n'\n```"
    assert len(outputs(script, tmp_path, block, f"```text\n{shown}\n```")) == 1


@pytest.mark.parametrize("shown", ["liver 0.9", "spleen 1\nliver 1", "kidney 1", "spleen 1\nspleen 1", "liver… kg"])
def test_shown_output_may_not_differ_in_words_or_order(script, tmp_path, shown):
    block = "```bash\nprintf 'liver 3 mm\\nspleen 2\\n'\n```"
    with pytest.raises(script.BlockError, match="the page shows"):
        outputs(script, tmp_path, block, f"```text\n{shown}\n```")


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_readme_does_what_it_says(script, tmp_path):
    ran = [block.language for block, _ in script.run_page((ROOT / "README.md").read_text(), tmp_path)]
    assert set(ran) == {"bash", "python"}
