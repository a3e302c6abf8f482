"""Checkpoints: whole or not at all, never another training's, and a training killed at any step goes on to the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from tests.small_disk import small_disk
from tests.trainers.small_training import bits, trained

from graft.trainers import checkpoints
from graft.trainers.checkpoints import NAME, Checkpoints, State, training_key
from graft.trainers.loop import Hooks

STATE = State(
    {"weights/0": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3), "flags": torch.tensor([True, False])},
    {"epoch": 2, "best": float("inf"), "history": [{"loss": 0.1 + 0.2}]},
)


def kept(folder: Path, key: str = "k") -> Path:
    path = folder / NAME
    assert Checkpoints(path, key, every=0.0).save(lambda: STATE)
    return path


def test_what_is_kept_comes_back_bit_for_bit(tmp_path: Path) -> None:
    found = Checkpoints(kept(tmp_path), "k").load()
    assert found is not None and found.facts == STATE.facts
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in STATE.tensors.items())
    assert {n: t.dtype for n, t in found.tensors.items()} == {n: t.dtype for n, t in STATE.tensors.items()}
    assert found.nbytes == 24 + 8 + 2


def refused(path: Path, key: str = "k") -> str:
    tried = Checkpoints(path, key)
    assert tried.load() is None
    (note,) = tried.notes
    assert str(path) in note and "starts anew" in note
    return note


def test_a_file_cut_short_anywhere_is_known(tmp_path: Path) -> None:
    path = kept(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "damaged" in refused(path)


def test_a_changed_byte_anywhere_is_known(tmp_path: Path) -> None:
    path = kept(tmp_path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 11):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert NAME in refused(path)


def test_another_key_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path)
    assert "another training" in refused(path, "other")
    monkeypatch.setattr(checkpoints, "VERSION", 2)
    assert "another version" in refused(path)


def test_a_folder_in_its_place_is_noted(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert Checkpoints(tmp_path / NAME, "k").load() is None


def test_none_means_nothing_is_kept(tmp_path: Path) -> None:
    nothing = Checkpoints(None, "k", every=0.0)
    assert nothing.load() is None and not nothing.save(lambda: STATE) and not list(tmp_path.iterdir())
    assert not Checkpoints(tmp_path / NAME, "k", every=0.0, writes=False).save(lambda: STATE)


def test_keys_tell_facts_and_tensors_apart() -> None:
    x = {"x": torch.zeros(2)}
    keys = {
        training_key("a", {}, x),
        training_key("b", {}, x),
        training_key("a", {"seed": 1}, x),
        training_key("a", {}, {"x": torch.tensor([0.0, -0.0])}),
        training_key("a", {}, {"y": torch.zeros(2)}),
        training_key("a", {}, {"x": torch.zeros(2, 1)}),
    }
    assert len(keys) == 6 and training_key("a", {}, {"x": torch.zeros(2)}) in keys


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    tried = Checkpoints(tmp_path / NAME, "k", every=60.0)
    written = []

    def write(*_: object) -> None:
        written.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(tried, "_write", write)
    for inside in (True, False, True, False, True, False, True):
        now[0] += 30.0
        tried.save(lambda: STATE, inside=inside)
    # at 160 the first end of an epoch; then 2 s of writing ask for 40 s; inside an epoch for 60
    assert written == [160.0, 222.0, 284.0]


@pytest.mark.parametrize("filled", [52, 56, 64])
def test_a_full_disk_is_said_and_the_training_goes_on(tmp_path: Path, filled: int) -> None:
    expected, _ = trained()
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(b"x" * filled * 1024)
        hooks = Hooks(checkpoint=disk / "run" / NAME, every=0.0)
        net, run = trained(hooks=hooks)
        assert bits(net) == bits(expected)
        (note,) = run.notes
        assert "The disk is full" in note and "without checkpoints" in note
        left = [p.name for p in disk.rglob("*") if p.is_file() and p.name != "filler"]
        assert left in ([], [NAME])  # what was written before the disk was full is whole
        net, again = trained(hooks=hooks)
        assert bits(net) == bits(expected) and again.resumed == bool(left)


def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        tried = Checkpoints(kept(disk), "k", every=0.0)
        assert tried.save(lambda: State({"x": torch.zeros(1_000_000)}, {})) and not tried.writes
        assert [p.name for p in disk.iterdir()] == [NAME]
        found = Checkpoints(disk / NAME, "k").load()
        assert found is not None and found.facts == STATE.facts


# Everything is imported before the first fork, and no thread is started there. Every child is killed by the system's SIGKILL: from within, in the
# middle of a step; by the nursery, at a random moment; then one goes through. Printed: bits of the result, and how often one was resumed.
NURSERY = """
    import hashlib, json, os, random, signal, sys, time
    from pathlib import Path
    import torch, torch._dynamo, safetensors.torch
    from tests.trainers.small_training import *

    def child(folder, kill):
        pid = os.fork()
        if pid:
            return pid
        calls = iter(range(10**6))
        def objective(model, batch):
            value = loss(model, batch)
            if next(calls) == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            return value
        feed = points()
        hooks = Hooks(checkpoint=Path(folder, "checkpoint.safetensors"), key="k", every=0.0)
        recipe = Recipe(epochs=3, batch=4, ema=0.9, patience=2)
        net, run = trained(recipe=recipe, feed=feed, evaluate=validation(feed), objective=objective, hooks=hooks)
        found = hashlib.sha256(repr(bits(net)).encode()).hexdigest()
        print(json.dumps([found, run.resumed, run.steps, [r.loss for r in run.epochs]]), flush=True)
        os._exit(0)

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    began = time.monotonic()
    assert ended(child("undisturbed", -1)) == 0
    whole = time.monotonic() - began
    for kill in (1, 2, 3, 9, 4, 5, 6):  # calls of the objective in each child: the first measures memory
        assert ended(child("within", kill)) == -9
    assert ended(child("within", -1)) == 0
    draw = random.Random(0)
    for _ in range(int(sys.argv[1])):
        pid = child("around", -1)
        time.sleep(draw.uniform(0, whole / 2))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    assert ended(child("around", -1)) == 0
    """


def test_kill_9_in_any_step_then_resume_gives_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(NURSERY), "10"]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "GRAFT_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    results = {json.dumps([found, steps, losses]) for found, _, steps, losses in lines}
    assert len(results) == 1 and len(lines) >= 3
    assert not lines[0][1] and lines[1][1] and lines[-1][1]
    for folder in ("within", "around"):
        assert [p.name for p in (tmp_path / folder).iterdir() if not p.name.startswith(".graft-")] == [NAME]
