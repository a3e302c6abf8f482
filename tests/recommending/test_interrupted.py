"""`graft recommend fit` killed or stopped at any moment, and on a full disk: all of the folder or nothing, and the same command goes on to the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.small_disk import small_disk

from graft.cli import main

KILLS = 200 if os.environ.get("GRAFT_SOAK") else 10
DATA = "data:streamrec:people=100,items=40,seed=1"
MODELS = "popularity,recent-popularity,item-knn,ease"
WRITTEN = {"model", "report.html", "result.json"}

# As in tests/test_interrupted.py: a nursery with everything imported, each fit a fork of it. A fit that is killed leaves what it measured to the
# next one, so kills come within the time that this one takes, and every fifth one through begins with nothing kept.
NURSERY = """
    import json, os, random, shutil, signal, sys, time
    from pathlib import Path
    from graft import cli
    import graft.recommending.flow, graft.recommending.report, graft.interactions.read, graft.tables.render, graft.interactions.streamrec
    import scipy.linalg, scipy.sparse, scipy.stats, jinja2, pyarrow.parquet, safetensors.numpy, sklearn.manifold, torch

    data, models, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
    draw = random.Random(0)

    def fit(out):
        pid = os.fork()
        if pid:
            return pid
        sys.stdout = sys.stderr = Path("said.txt").open("w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.main(["recommend", "fit", data, "--models", models, "--budget", "1h", "--out", out])
        sys.stdout.close()
        os._exit(code)

    def end(pid, sent):
        status = os.waitpid(pid, 0)[1]
        kept = len(list(Path("cache").rglob("*.npz")))
        print(json.dumps([sent, os.waitstatus_to_exitcode(status), Path("said.txt").read_text(), kept]), flush=True)

    os.environ["GRAFT_CACHE"] = "cache"
    for out in ("warm", "undisturbed"):
        began = time.monotonic()
        pid = fit(out)
        if out == "warm":
            os.waitpid(pid, 0)
        else:
            end(pid, 0)
        whole = time.monotonic() - began
    for number in range(kills):
        if number % 5 == 0:
            shutil.rmtree("cache/training", ignore_errors=True)
        pid = fit(f"killed/{number}")
        time.sleep(draw.uniform(0, whole * (.4 if number % 5 < 4 else 1)))
        sent = signal.SIGINT if number % 2 else signal.SIGKILL
        os.kill(pid, sent)
        end(pid, sent)
    end(fit("killed/again"), 0)
    """


def told(out: Path) -> dict[str, Any]:
    """What `result.json` says beside seconds and its own place."""
    tree: dict[str, Any] = json.loads((out / "result.json").read_text())
    for model in tree["models"]:
        del model["seconds"]
    return {name: value for name, value in tree.items() if name not in ("seconds", "out")}


def same(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == WRITTEN
    for name in ("model.safetensors", "items.parquet", "people.json"):
        assert (one / "model" / name).read_bytes() == (other / "model" / name).read_bytes()
    assert told(one) == told(other)


@pytest.mark.soak
def test_killed_at_any_moment(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "-c", textwrap.dedent(NURSERY), DATA, MODELS, str(KILLS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    first, *stopped, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first[1] == last[1] == 0, (first, last)
    assert first[3] == last[3] == 0  # once the folder is written, nothing is left to go on from
    for number, (sent, code, said, _) in enumerate(stopped):
        out = tmp_path / "killed" / str(number)
        assert "Traceback" not in said and "defect" not in said
        if sent == signal.SIGINT:
            assert code == 0 or (code == 130 and "give the same command again" in said)
        else:
            assert code in (0, -signal.SIGKILL)
        assert out.exists() or code != 0
        if out.exists():  # the signal came after the last rename
            same(out, tmp_path / "undisturbed")
    assert len([code for _, code, _, _ in stopped if code]) > KILLS / 3
    assert any("goes on" in said for _, _, said, _ in stopped) and any(kept for *_, kept in stopped)
    same(tmp_path / "killed" / "again", tmp_path / "undisturbed")
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]
    shutil.rmtree(tmp_path / "killed")


def test_a_full_disk_while_the_folder_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is left there, the way out is said, and what was measured is kept for the same command with another folder."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    command = ["recommend", "fit", DATA, "--models", "popularity,item-knn", "--json"]
    with small_disk(tmp_path / "small", "64k") as disk:
        assert main([*command, "--out", str(disk / "out")]) == 4
        error = json.loads(capsys.readouterr().out)["error"]
        assert "The disk is full" in error["message"] and str(disk / "out") in error["message"]
        assert not list(disk.iterdir())
    assert len(list((tmp_path / "cache").rglob("*.npz"))) > 2
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "goes on" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    assert not list((tmp_path / "cache").rglob("*.npz"))
