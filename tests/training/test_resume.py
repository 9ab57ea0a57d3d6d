import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lowshot.errors import OutputError, SettingsError, UnreadableFile
from lowshot.training.archive import write_archive
from lowshot.training.interruption import Stopped
from lowshot.training.resume import refuse_other_steps
from training.toy import Toy, same, toy_run

STEPS = 30
TOY = Path(__file__).with_name("toy.py")


def test_a_process_that_does_not_see_the_checkpoint_of_the_others_says_so(tmp_path, monkeypatch):
    run = toy_run(tmp_path)
    refuse_other_steps(7, run)
    monkeypatch.setattr(run, "broadcast", lambda step: step + 7)  # what process 0 of another machine found
    with pytest.raises(SettingsError, match="process 0 found 0 steps done there, not all of the others did; put the"):
        refuse_other_steps(0, run)


@pytest.fixture(scope="module")
def undisturbed():
    toy = Toy(toy_run(None))
    toy.train(STEPS)
    return toy.weights()


def killed_at(step):
    def kill(now):
        if now == step:
            raise ZeroDivisionError

    return kill


def interrupted(folder, step, **settings):
    with pytest.raises(ZeroDivisionError):
        Toy(toy_run(folder)).train(STEPS, on_step=killed_at(step), checkpoint_every_seconds=0.0, **settings)


def resumed(folder):
    toy = Toy(toy_run(folder))
    steps = []
    toy.train(STEPS, on_step=steps.append)
    return toy.weights(), steps


def test_training_moves_all_weights_and_depends_on_the_seed_alone(undisturbed):
    again, other = Toy(toy_run(None)), Toy(toy_run(None, seed=1))
    untrained = again.weights()
    again.train(STEPS)
    other.train(STEPS)
    assert same(again.weights(), undisturbed)
    moved = {name for name in untrained if not torch.equal(untrained[name], undisturbed[name])}
    assert moved >= {name for name in untrained if name.endswith(("weight", "running_mean", "values"))}
    assert not same(other.weights(), undisturbed)


def test_a_training_that_is_killed_with_sigkill_ends_with_the_same_weights(tmp_path, undisturbed):
    random.seed(3)
    folder = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOY.parents[1])}
    done = -1
    for _ in range(2):
        last = done + random.randrange(2, STEPS // 3)
        command = [sys.executable, TOY, folder, tmp_path, str(STEPS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            first = int(process.stdout.readline())
            assert first in (done, done + 1)  # killed during a checkpoint, its step is taken again
            while done < last:
                done = int(process.stdout.readline())
            time.sleep(0.01 * random.random())
            process.kill()
    weights, steps = resumed(folder)
    assert same(weights, undisturbed)
    assert steps[0] > 0
    assert steps[-1] == STEPS - 1


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path, undisturbed):
    interrupted(tmp_path, step=11)
    (tmp_path / "checkpoints" / ".part-ffffffcd-training.pt").write_bytes(b"half of a checkpoint")
    weights, steps = resumed(tmp_path)
    assert steps == list(range(11, STEPS))
    assert same(weights, undisturbed)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["training.pt"]


def test_a_finished_training_is_not_repeated(tmp_path, undisturbed):
    Toy(toy_run(tmp_path)).train(STEPS)
    weights, steps = resumed(tmp_path)
    assert steps == []
    assert same(weights, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_step_and_stops_with_a_sentence(tmp_path, undisturbed, number):
    before = signal.getsignal(number)

    def send(step):
        if step == 7:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match="stopped after step 8 of 30; run it again to go on") as stopped:
        Toy(toy_run(tmp_path)).train(STEPS, on_step=send)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before
    weights, steps = resumed(tmp_path)
    assert steps == list(range(8, STEPS))
    assert same(weights, undisturbed)


def damage_by_cutting(content):
    return content[: len(content) // 2]


def damage_by_a_flipped_bit(content):
    position = content.index(b"data/0") + 200  # inside the first tensor
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def damage_by_emptying(content):
    return b""


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_a_flipped_bit, damage_by_emptying])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    interrupted(tmp_path, step=5)
    path = tmp_path / "checkpoints" / "training.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UnreadableFile, match=r"training\.pt: expected a training checkpoint"):
        resumed(tmp_path)


def test_a_checkpoint_with_code_inside_is_refused(tmp_path):
    interrupted(tmp_path, step=5)
    torch.save({"step": 5, "fingerprint": {}, "parts": Toy}, tmp_path / "checkpoints" / "training.pt")
    with pytest.raises(UnreadableFile, match="damaged"):
        resumed(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"step": 5},
        {"step": "five", "fingerprint": {}, "parts": {}},
        {"step": 5, "fingerprint": [1], "parts": {}},
        {"step": 5, "fingerprint": None, "parts": None},
    ],
)
def test_a_checkpoint_that_holds_something_else_is_named(tmp_path, content):
    interrupted(tmp_path, step=5)
    write_archive(tmp_path / "checkpoints" / "training.pt", content)
    with pytest.raises(UnreadableFile, match=r"training\.pt: expected a training checkpoint, it holds something else"):
        resumed(tmp_path)


@pytest.mark.parametrize("change", [{}, {"module of generator": {}}, {"optimiser of critic": [3]}, {"state queue": 0}])
def test_parts_that_do_not_fit_are_named(tmp_path, change):
    interrupted(tmp_path, step=5)
    path = tmp_path / "checkpoints" / "training.pt"
    content = torch.load(path, weights_only=True)
    write_archive(path, content | {"parts": content["parts"] | change if change else {}})
    with pytest.raises(UnreadableFile, match=r"training\.pt: expected a training checkpoint, it holds something else"):
        resumed(tmp_path)


@pytest.mark.parametrize("error", [AssertionError("no state"), NotImplementedError, StopIteration, Exception("what")])
def test_whatever_a_part_makes_of_a_state_that_is_none_is_told_with_the_file(tmp_path, monkeypatch, error):
    def fail(self, state_dict):
        raise error

    interrupted(tmp_path, step=5)
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", fail)
    with pytest.raises(UnreadableFile, match=r"training\.pt: expected a training checkpoint, it holds something else"):
        resumed(tmp_path)


def test_a_gpu_without_memory_is_not_the_fault_of_the_checkpoint(tmp_path, monkeypatch):
    def full(self, state_dict):
        raise torch.OutOfMemoryError("CUDA out of memory")

    interrupted(tmp_path, step=5)
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", full)
    with pytest.raises(torch.OutOfMemoryError):
        resumed(tmp_path)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    interrupted(tmp_path, step=5)
    with pytest.raises(SettingsError, match="made with seed 0, now it is 1"):
        Toy(toy_run(tmp_path, seed=1)).train(STEPS)


def test_a_failing_write_keeps_the_checkpoint_before(tmp_path, monkeypatch, undisturbed):
    interrupted(tmp_path, step=5)

    def full(content, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match=r"training\.pt.*No space left"):
            resumed(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["training.pt"]
    weights, steps = resumed(tmp_path)
    assert steps == list(range(5, STEPS))
    assert same(weights, undisturbed)
