from dataclasses import replace

import pytest

from lowshot import catalogue
from lowshot.phantoms import study


@pytest.fixture
def tiny(monkeypatch):
    """Two small subjects, and the smallest network."""
    monkeypatch.setattr(
        study, "DEMO", replace(study.DEMO, subjects=2, shape=(32, 28, 24), spacing_mm=(12.0, 12.0, 12.0))
    )
    small = {"widths": (4, 8), "convolutions": (1, 1), "patch_voxels": 4096, "batch": 1}
    presets = {"compact": {**catalogue.presets("mre-net")["compact"], **small}}
    monkeypatch.setattr(catalogue, "presets", lambda name: presets)


def test_it_shows_every_command_and_ends_with_a_table_and_a_page(typed, tiny, tmp_path):
    demo = tmp_path / "demo"
    done = typed("demo", "-o", demo, "--minutes", "0.02")
    assert done.code == 0, done.err
    commands = [line for line in done.err.splitlines() if line.startswith("$ lowshot")]
    assert [command.split()[2] for command in commands] == ["fit", "segment", "evaluate"]
    assert f"{demo}/annotated/labels/subject-01.nii.gz" in commands[0]
    assert "subject-01" not in commands[1]
    assert "all structures" in done.out
    assert done.out.rstrip().endswith("evaluation/report.html")
    assert (demo / "evaluation" / "report.html").exists()
    again = typed("demo", "-o", demo, "--minutes", "0.02", "--json")
    assert again.code == 0, again.err
    assert set(again.json) == {"fit", "segment", "evaluate"}
    assert ["--overwrite" in line for line in again.err.splitlines() if "$ lowshot" in line] == [True] * 3


def test_it_ends_where_a_command_fails(typed, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("lowshot.fitting.fit", lambda *args, **more: 1 / 0)
    done = typed("demo", "-o", tmp_path / "demo")
    assert done.code == 1
    assert done.err.count("internal error") == 1
    assert "$ lowshot segment" not in done.err


def test_a_stopped_demo_can_begin_anew(typed, tiny, tmp_path, monkeypatch):
    words = ["demo", "-o", tmp_path / "demo", "--json"]
    with monkeypatch.context() as patched:
        patched.setattr("lowshot.training.resume.Checkpoint.due", lambda self: True)
        patched.setattr("lowshot.model_file.Fitted.save", lambda self, path: 1 / 0)
        assert typed(*words, "--minutes", "0.02").code == 1
    other = typed(*words, "--minutes", "0.03")
    assert other.code == 2
    assert "--restart" in other.events[-1]["message"]
    assert typed(*words, "--minutes", "0.03", "--restart").code == 0
