"""The service as a program: it starts, says where, stops when told to, and says what is in its way."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import until_it_listens
from tests.server.test_releases import DIM, table

from graft.errors import MissingError, StorageError, UsageError
from graft.server.run import check_installed, free_address, hosts_answered
from graft.verbs.index import index as make_index

PROGRAM = """
import logging, sys
from graft.server.run import serve
logging.basicConfig(format="%(message)s", stream=sys.stdout)
served = serve([sys.argv[1]], port=int(sys.argv[2]))
print("stopped", served.indexes, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    make_index(table(tmp_path / "v.parquet", 50), out=tmp_path / "real")
    address, port = free_address("127.0.0.1", 0)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "real"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            until_it_listens(address, port)
            url = f"http://{address}:{port}"
            assert httpx.post(f"{url}/v1/indexes/real/vectors", json={"vector": [1.0] * DIM}).status_code == 200
            with pytest.raises(StorageError, match=f"Port {port}"):
                free_address("127.0.0.1", port)
            with httpx.Client(base_url=url) as idle:
                idle.get("/health")  # a connection left open does not keep the server
                process.send_signal(number)
                said, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert f"real at {url}" in said
    assert "stopped ('real',)" in said
    assert "Traceback" not in said


def test_an_address_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="65535"):
        free_address("127.0.0.1", 70000)
    with pytest.raises(UsageError, match="no address"):
        free_address("256.256.256.256", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StorageError, match="--port 0"):
            free_address("127.0.0.1", taken.getsockname()[1])


def test_names_it_answers_to() -> None:
    """Its own while it listens to itself, and those given; any once it is open to others."""
    own = frozenset({"127.0.0.1", "localhost", "::1"})
    assert hosts_answered("127.0.0.1", "127.0.0.1") == own
    assert hosts_answered("MyBox", "127.0.1.1", ["Search.Example.org"]) == own | {"mybox", "search.example.org"}
    assert hosts_answered("0.0.0.0", "0.0.0.0") is hosts_answered("::", "::") is None
    for name in ("search.example.org:80", "http://a", ""):
        with pytest.raises(UsageError, match="a name alone"):
            hosts_answered("127.0.0.1", "127.0.0.1", [name])


def test_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "granian" else found(name))
    with pytest.raises(MissingError, match=r"granian.*pip install 'graft\[serve\]'"):
        check_installed()
