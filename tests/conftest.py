"""Fixtures shared by all tests: a private cache, no network, and the shared data sets where they exist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SOAK = bool(os.environ.get("GRAFT_SOAK"))
settings.register_profile("graft", max_examples=500 if SOAK else 40, deadline=None)  # a busy machine misses deadlines
settings.load_profile("graft")


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole run and all its processes, so that an encoder is converted once; never the user's own."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "cache"
    folder.mkdir(exist_ok=True)
    before = {name: os.environ.get(name) for name in ("GRAFT_CACHE", "HF_HUB_OFFLINE")}
    os.environ["GRAFT_CACHE"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield folder
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data sets; the test is skipped where `GRAFT_DATA` does not name one."""
    named = os.environ.get("GRAFT_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip("GRAFT_DATA does not name a folder of public data sets")
    return Path(named)
