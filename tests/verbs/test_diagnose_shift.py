"""`graft diagnose shift` on small pictures: whole result and report, two sets or the parts of one; and what `fit` says of its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.small_inputs import rows, table

import graft
from graft.cli import main
from graft.errors import DataError, UsageError
from graft.reports.shift import ShiftResult
from graft.results import FitResult, from_json


def photos(folder: Path, count: int, *, seed: int, brighter: int = 0, alike: bool = False) -> Path:
    """Noise of two kinds, `count` a class; `alike`: every picture is the same."""
    draw = np.random.default_rng(seed)
    for place, label in enumerate(("dark", "light")):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 90, (8, 8, 3)) + 80 * place + brighter
            pixels = np.full((8, 8, 3), 77) if alike else pixels
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return photos(tmp_path / "old", 15, seed=0), photos(tmp_path / "new", 15, seed=1, brighter=60)


def test_result_and_report(two: tuple[Path, Path], tmp_path: Path) -> None:
    (two[0] / "dark" / "broken.png").write_bytes(b"no picture")
    result = graft.diagnose_shift(*two, encoder="pixels:4", out=tmp_path / "found")
    assert (result.verdict, result.name, result.modality) == ("shifted", "old and new", "image")
    assert [s.name for s in result.senses] == ["vectors", "pixels"]
    assert [f.where for f in result.faults] == ["first: dark/broken.png"]
    assert from_json(ShiftResult, json.loads((tmp_path / "found" / "result.json").read_text())) == result
    assert result.command == f"graft diagnose shift {two[0]} {two[1]} --encoder pixels:4"
    page = (tmp_path / "found" / "report.html").read_text()
    assert page.count('<img src="data:image/') == 24
    assert "Shifted" in page and "://" not in page.replace("http://www.w3.org", "")
    again = graft.diagnose_shift(*two, encoder="pixels:4", out=tmp_path / "again")
    assert again.senses == result.senses and again.telling == result.telling and again.kernel == result.kernel


def test_the_table_for_people(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "diagnose",
        "shift",
        *map(str, two),
        "--encoder",
        "pixels:4",
        "--sample",
        "20",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "old and new: shifted" in said
    assert "old: 20 of 30 items were drawn and looked at." in said
    assert "told apart by" in said and "kernel, MMD²" in said


def test_the_parts_of_one_set(tmp_path: Path) -> None:
    photos(tmp_path / "set" / "train", 12, seed=0)
    photos(tmp_path / "set" / "test", 6, seed=1, brighter=60)
    result = graft.diagnose_shift(tmp_path / "set", encoder="pixels:4", out=tmp_path / "found")
    assert (result.first.items, result.second.items, result.verdict) == (24, 12, "shifted")
    assert result.name == "set train and set test"
    assert result.command == f"graft diagnose shift {tmp_path / 'set'} --encoder pixels:4"


def test_every_item_a_copy(tmp_path: Path) -> None:
    one, two = photos(tmp_path / "a", 5, seed=0, alike=True), photos(tmp_path / "b", 5, seed=0, alike=True)
    result = graft.diagnose_shift(one, two, encoder="pixels:4", out=tmp_path / "found")
    assert (result.verdict, result.first.copies, result.shared) == ("cannot tell", 9, 1)


def test_what_cannot_be(two: tuple[Path, Path], tmp_path: Path) -> None:
    texts = table(tmp_path / "t.csv", rows(4))
    with pytest.raises(DataError, match=r"old holds pictures and .*t\.csv texts"):
        graft.diagnose_shift(two[0], texts, out=tmp_path / "found")
    with pytest.raises(UsageError, match="no official test part"):
        graft.diagnose_shift(two[0], out=tmp_path / "found")
    with pytest.raises(UsageError, match=r"--sample 1: .*--seed -1"):
        graft.diagnose_shift(*two, sample=1, seed=-1, out=tmp_path / "found")
    with pytest.raises(UsageError, match="takes texts, not pictures"):
        graft.diagnose_shift(*two, encoder="minilm", out=tmp_path / "found")
    assert not (tmp_path / "found").exists()


def test_a_fit_warns_of_parts_that_differ(two: tuple[Path, Path], tmp_path: Path) -> None:
    found = graft.fit(two[0], test=str(two[1]), out=tmp_path / "moved", encoder="pixels:4", strategies="prototypes")
    assert isinstance(found, FitResult)
    assert found.shift is not None and found.shift.p <= 0.01
    assert "look different from the training items" in (tmp_path / "moved" / "report.html").read_text()
    tree = json.loads((tmp_path / "moved" / "result.json").read_text())
    assert from_json(FitResult, tree).shift == found.shift
    del tree["shift"]
    assert from_json(FitResult, tree).shift is None  # results written before there was one
