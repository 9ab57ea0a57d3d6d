import pytest

from ball_files import write_ball_files
from benchmarking.balls import BALLS
from lowshot.protocols.registry import PROTOCOLS


@pytest.fixture
def balls(monkeypatch, tmp_path):
    monkeypatch.setitem(PROTOCOLS, "balls", BALLS)
    return write_ball_files(tmp_path / "data")


def test_a_table_comes_out_and_the_files_are_named(typed, balls, tmp_path):
    words = ["bench", "balls", "--data", balls, "--seeds", "0", "--device", "cpu", "--precision", "float32"]
    done = typed(*words, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "mre-net" in done.out
    assert "unet" in done.out
    assert "0.784 ±" in done.out  # published; the deviation may stand below
    assert sorted(path.name for path in (tmp_path / "out" / "balls").iterdir() if path.is_file() and path.suffix) == [
        "results.csv",
        "results.jsonl",
        "tables.html",
        "tables.md",
        "tables.tex",
    ]
    assert sorted(path.name for path in (tmp_path / "out" / "balls" / "figures").iterdir()) == [
        *("dice-over-minutes-s0.svg", "dice-s0.svg", "queries.png", "training.svg"),
        *("volumes-mre-net.svg", "volumes-unet.svg"),
    ]
    assert "- data: balls" in (tmp_path / "out" / "balls" / "tables.md").read_text()
    assert "not as published: data: balls" in done.out
    again = typed(*words, "-o", tmp_path / "out", "--methods", "unet", "--json")
    assert again.json["cells"] == 2


def test_structures_are_printed_where_asked_for_and_stand_in_the_files(typed, balls, tmp_path):
    words = ["bench", "balls", "--data", balls, "--seeds", "0", "--device", "cpu", "--precision", "float32"]
    words += ["--methods", "unet", "-o", tmp_path / "out"]
    asked = ("Dice per structure", "spread over scans per structure")
    brief, whole = (" ".join(typed(*words, *more).out.split()) for more in ((), ("--per-structure",)))
    assert not any(title in brief for title in asked)
    assert all(title in whole for title in asked)
    root = tmp_path / "out" / "balls"
    for page in ("tables.md", "tables.html", "tables.tex"):
        assert all(title in (root / page).read_text() for title in asked), page
    assert (root / "tables" / "balls-s0-spread-over-scans-per-structure.csv").is_file()


def test_embeddings_are_drawn_beside_the_tables(typed, balls, tmp_path):
    words = ["bench", "balls", "--data", balls, "--seeds", "0", "--device", "cpu", "--precision", "float32"]
    done = typed(*words, "--embedding", "mre-net,unet", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "neighbours alike" in done.out
    assert (tmp_path / "out" / "balls" / "embedding.png").is_file()
    assert (tmp_path / "out" / "balls" / "tables" / "embedding.csv").read_text().count("\n") == 3
    refused = typed(*words, "--embedding", "unet,lt-net", "-o", tmp_path / "other")
    assert refused.code == 2
    assert "--embedding: expected some of mre-net, unet; got lt-net" in refused.err
    assert not (tmp_path / "other").exists()


def test_lists(typed):
    listed = typed("bench", "--list", "--json").json
    assert "brain-one-shot" in listed["protocols"]
    assert {"name": "alpnet", "standing": "implemented", "method": "ssl-alpnet", "tables": ["apscl 1"]} in listed[
        "systems"
    ]
    assert "mabmis" in typed("bench", "--list").out
    assert "without coordinates" in typed("bench", "brain-one-shot", "--list").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "brains", "-o", "x"], "no protocol named 'brains'"),
        (["bench", "brain-one-shot"], "-o"),
        (["bench", "brain-one-shot", "-o", "x"], "--data"),
        (["bench", "brain-one-shot", "-o", "x", "--seeds", "a"], "--seeds: expected whole numbers"),
        (["bench", "brain-one-shot", "-o", "x", "--methods", "nnunet"], "no system 'nnunet'"),
        (["bench", "brain-one-shot", "-o", "x", "--folds", "2"], "no fold '2'"),
        (["bench", "brain-one-shot", "-o", "x", "--steps", "2", "--minutes", "1"], "not both"),
        (["bench", "brain-one-shot", "-o", "x", "--data", "nowhere"], "nowhere"),
        (["bench", "brain-one-shot", "-o", "x", "--correlated", "gcn-de"], "--correlated: expected some of"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(typed, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = typed(*words)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_failed_cell_shows_in_the_exit_code(typed, balls, tmp_path):
    words = ["bench", "balls", "--data", balls, "--methods", "unet", "--device", "cpu", "--precision", "float32"]
    assert typed(*words, "-o", tmp_path / "out").code == 0
    done = typed(*words, "--steps", "4", "-o", tmp_path / "out")
    assert done.code != 0
    assert "1 cell failed" in done.err
