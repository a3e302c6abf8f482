"""`graft fit` killed or stopped at any moment: all of the result or nothing, and the same command then gives the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from tests.small_inputs import pictures

import graft

KILLS = 300 if os.environ.get("GRAFT_SOAK") else 6
WRITTEN = {"model", "report.html", "result.json", "split.json"}

# A nursery has everything imported and no thread started; each fit is a fork of it, killed by it at a random moment. It prints one line
# a fit: the signal, how the fit ended, and what it said.
NURSERY = """
    import json, os, random, shutil, signal, sys, time
    from pathlib import Path
    from graft import cli
    import graft.fitting.steps, graft.fitting.proof, graft.encoders.open, graft.encoders.runtime, graft.opened, graft.reports.build, graft.tables.render
    import graft.selection.select
    import PIL.Image, PIL.PngImagePlugin, openvino, scipy.optimize, sklearn.manifold, sklearn.neighbors, torch, jinja2

    data, kills = sys.argv[1], int(sys.argv[2])
    draw = random.Random(0)

    def fit(out, cache, said):
        pid = os.fork()
        if pid:
            return pid
        os.environ["GRAFT_CACHE"] = cache
        sys.stdout = sys.stderr = Path(said).open("w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.main(["fit", data, "--encoder", "pixels", "--strategies", "prototypes", "--out", out])
        sys.stdout.close()
        os._exit(code)

    for out in ("warm", "undisturbed"):  # the first reads files that the disk has not seen for long
        shutil.rmtree("cache", ignore_errors=True)
        began = time.monotonic()
        status = os.waitpid(fit(out, "cache", "said.txt"), 0)[1]
        whole = time.monotonic() - began
    print(json.dumps([0, os.waitstatus_to_exitcode(status), Path("said.txt").read_text()]), flush=True)
    began = time.monotonic()
    os.waitpid(fit("with a cache", "cache", "said.txt"), 0)
    rest = time.monotonic() - began
    for number in range(kills):
        if number % 4 == 0:
            shutil.rmtree("cache", ignore_errors=True)
        out = f"killed/{number}"
        pid = fit(out, "cache", "said.txt")
        time.sleep(draw.uniform(0, rest if number % 4 else whole))  # less is left to do where vectors are kept
        sent = signal.SIGINT if number % 2 else signal.SIGKILL
        os.kill(pid, sent)
        status = os.waitpid(pid, 0)[1]
        print(json.dumps([sent, os.waitstatus_to_exitcode(status), Path("said.txt").read_text()]), flush=True)
    status = os.waitpid(fit("killed/again", "cache", "said.txt"), 0)[1]
    print(json.dumps([0, os.waitstatus_to_exitcode(status), Path("said.txt").read_text()]), flush=True)
    """


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "p", 30)


def run(code: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1500)


def told(out: Path) -> dict[str, Any]:
    """What `result.json` says beside seconds, memory and its own place."""
    tree = json.loads((out / "result.json").read_text())
    for strategy in tree["strategies"]:
        del strategy["seconds"], strategy["memory_mb"]
    for encoder in (tree["encoder"], *tree["encoders"]):
        del encoder["encoded"], encoder["cached"]
    return {name: value for name, value in tree.items() if name not in ("seconds", "out", "why")}


def same(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == WRITTEN
    assert (one / "split.json").read_bytes() == (other / "split.json").read_bytes()
    head = "model/head.safetensors"
    assert (one / head).read_bytes() == (other / head).read_bytes()
    assert told(one) == told(other)


@pytest.mark.soak
def test_killed_at_any_moment(tmp_path: Path, data: Path) -> None:
    (tmp_path / "killed").mkdir()
    done = run(NURSERY, str(data), str(KILLS), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *stopped, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first[1] == last[1] == 0, (first, last)
    for number, (sent, code, said) in enumerate(stopped):
        out = tmp_path / "killed" / str(number)
        assert "Traceback" not in said and "defect" not in said
        if sent == signal.SIGINT:
            assert code == 0 or (code == 130 and "give the same command again" in said)
        else:
            assert code in (0, -signal.SIGKILL)
        assert out.exists() or code != 0
        if out.exists():  # the signal came after the last rename
            same(out, tmp_path / "undisturbed")
    assert len([code for _, code, _ in stopped if code]) > KILLS / 3
    same(tmp_path / "killed" / "again", tmp_path / "undisturbed")
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]
    shutil.rmtree(tmp_path / "killed")


MAIN = (
    "import sys; from pathlib import Path; from graft.__main__ import command; Path(sys.argv.pop(1)).touch(); command()"
)


def graft_fit(data: Path, out: Path, cache: Path, ready: str = os.devnull) -> subprocess.Popen[str]:
    """A fit in a process of its own, which touches `ready` when it has come to our code: what happens before is Python's."""
    command = [sys.executable, "-c", MAIN, ready, "fit", str(data), "--encoder", "pixels", "--strategies", "prototypes"]
    return subprocess.Popen(
        [*command, "--out", str(out), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GRAFT_CACHE": str(cache)},
    )


def test_two_fits_into_one_folder_and_one_cache(tmp_path: Path, data: Path) -> None:
    """One is kept whole; the other is told so, and both have used the cache."""
    both = [graft_fit(data, tmp_path / "out", tmp_path / "cache") for _ in range(2)]
    answers = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert sorted(code for _, _, code in answers) == [0, 2], answers
    loser = next(json.loads(out)["error"] for out, _, code in answers if code)
    assert "exist" in loser["message"] and "out" in loser["message"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    assert len(graft.load(tmp_path / "out").predict([str(next(data.rglob("*.png")))])) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"p", "out", "cache"}


@pytest.mark.parametrize("after", [0.3, 0.6, 1.4])
def test_ctrl_c_of_a_real_process(tmp_path: Path, data: Path, after: float) -> None:
    """Importing or fitting, whatever it is at: one object, no traceback, nothing left, and how to go on."""
    ready = tmp_path / "ready"
    process = graft_fit(data, tmp_path / "out", tmp_path / "cache", str(ready))
    while not ready.exists():
        time.sleep(0.01)
    time.sleep(after - 0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if (tmp_path / "out").exists():  # it was over before it could be stopped
        assert (process.returncode, err) == (0, "") and "error" not in json.loads(out)
        assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
        return
    assert (process.returncode, err.strip()) == (130, "")  # click ends the line on which a terminal has shown ^C
    assert "give the same command again" in json.loads(out)["error"]["message"]
    assert {path.name for path in tmp_path.iterdir()} <= {"p", "cache", "ready"}


def test_ctrl_c_waits_for_an_import(tmp_path: Path) -> None:
    """Interrupted while it is imported, torch aborts: so the module is whole before the interrupt comes, and then it comes at once."""
    (tmp_path / "struck.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.3)\nwhole = 'whole'\n"
    )
    code = """
        import sys, time
        from graft import interrupts
        interrupts.wait_for_imports()
        try:
            import struck
            time.sleep(60)
        except KeyboardInterrupt:
            print(sys.modules["struck"].whole)
        """
    began = time.monotonic()
    done = run(code, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")
    assert time.monotonic() - began < 50


def test_an_interrupt_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As a shell has it for what runs in the background."""
    code = """
        import signal
        from graft import interrupts
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupts.wait_for_imports()
        signal.raise_signal(signal.SIGINT)
        """
    done = run(code, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
