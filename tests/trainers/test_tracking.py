"""Trackers: what is told lies in files here; what is not installed is named with the line that installs it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.trainers.small_training import trained

from graft.errors import MissingError, StorageError, UsageError
from graft.trainers import tracking
from graft.trainers.loop import Hooks
from graft.trainers.tracking import TRACKERS, Tracking, open_tracking


def scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of every number in tensorboard's event files below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for path in sorted(folder.rglob("events.out.tfevents*")):
        events = EventAccumulator(str(path))
        events.Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                yield name, event.step, event.value


def test_a_training_told_to_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    told = open_tracking(
        ["tensorboard"], tmp_path / "t", run="birds", about={"rate": 0.1, "where": tmp_path, "on": True}
    )
    _, run = trained(hooks=Hooks(tracker=told.part("lora").part("fold 1")))
    told.finish()
    found = {(name, step): value for name, step, value in scalars(tmp_path / "t" / "birds")}
    assert found["lora/fold 1/loss", 10] == pytest.approx(run.epochs[0].loss)
    assert found["lora/fold 1/rate", 20] == pytest.approx(run.epochs[1].rate)


def test_unknown_and_missing_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="tensorboard"):
        open_tracking(["tensorbord"], tmp_path)
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="python -m pip install wandb mlflow"):
        open_tracking(["wandb", "mlflow", "wandb"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        open_tracking(["tensorboard"], tmp_path / "file" / "t")


def test_no_tracker_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = Tracking(()).part("lora")
    nothing.log({"loss": 1.0}, 1)
    nothing.finish()
    assert not list(tmp_path.iterdir())


OFFLINE = """
    import socket, sys, time
    from pathlib import Path
    def refused(*words, **_):
        with Path("asked").open("a") as file:  # threads swallow exceptions
            file.write(repr(words))
        raise OSError("the network was asked for")
    connect = socket.socket.connect
    def local(self, address):
        return connect(self, address) if self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost") else refused()
    socket.socket.connect = local
    socket.getaddrinfo = refused
    from graft.trainers.tracking import open_tracking
    told = open_tracking([sys.argv[1]], Path("t"), run="birds", about={"rate": 0.1})
    told.log({"loss": 0.5}, 1)
    told.finish()
    time.sleep(2)
    """


@pytest.mark.parametrize("name", [name for name in TRACKERS if name != "tensorboard"])
def test_the_others_write_here_and_ask_no_network(tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    command = [sys.executable, "-c", textwrap.dedent(OFFLINE), name]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()
    written = [p for p in (tmp_path / "t").rglob("*") if p.is_file()]
    assert any(p.suffix in (".db", ".wandb") for p in written), written
