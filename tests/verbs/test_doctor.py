"""`graft doctor` says what is here and what is missing, and is quick about it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from graft.verbs import doctor as module
from graft.verbs.doctor import Check, doctor


def checks() -> dict[str, Check]:
    return {check.name: check for check in doctor().checks}


def test_everything_needed_is_found_here() -> None:
    found = checks()
    assert doctor().healthy
    assert found["numpy"].detail == metadata.version("numpy")
    assert "384 numbers" in found["minilm"].detail and "1280 numbers" in found["efficientnet-lite0"].detail
    assert "f32" in found["number formats"].detail
    assert found["network"].detail.startswith("off")


def test_what_is_missing_comes_with_its_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    assert checks()["no-such-package"] == Check("no-such-package", "missing", "python -m pip install no-such-package")
    assert not doctor().healthy


def test_named_data_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    assert checks()["named data"].detail == f"{tmp_path}: sst2"
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path / "gone"))
    assert checks()["named data"].status == "note"


def test_no_weights_are_loaded() -> None:
    code = "from graft.verbs.doctor import doctor; import sys; doctor(); print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
