"""What a person means by ITEM, told from what exists and what the model reads."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graft.data.dataset import ImageSource
from graft.errors import DataError, UsageError
from graft.verbs.items import Gathered, gather


def gathered(items: list[str], modality: str, **flags: Any) -> Gathered:
    return gather(items, modality, **{"text": False, "column": None, "usual": None} | flags)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures and texts in folders, a zip of them, and tables."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    for name in ("in/one.png", "in/a/two.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "in" / "note.txt").write_text(" a note \n")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("in/one.png", "in/note.txt"):
            archive.write(tmp_path / name, name)
    (tmp_path / "t.csv").write_text("text,other\nfirst long text,second long text\n,b\nthird,c\n")
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"image": f"in/{n}.png"}) + "\n" for n in ("one", "none")))
    return tmp_path


def test_what_exists_is_read_and_the_rest_is_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    odd = ["Is it a file?", "x" * 5000, "a\0b", "~nobody here says so"]
    found = gathered(["in/note.txt", *odd, "", " "], "text")
    assert found.contents == ["a note", *odd]
    assert found.ids[0] == "in/note.txt"
    assert [fault.problem for fault in found.faults] == ["empty", "empty"]
    assert gathered(["in/note.txt"], "text", text=True).contents == ["in/note.txt"]
    assert gathered(["in/one.png"], "image").contents == [ImageSource(Path("in/one.png"))]


def test_folders_and_zips_give_all_they_hold_of_the_kind(folder: Path) -> None:
    found = gathered([str(folder / "in")], "image")
    assert found.ids == ["a/two.png", "one.png"]
    assert found.contents[1] == ImageSource(folder / "in" / "one.png")
    assert gathered([str(folder / "in")], "text").contents == ["a note"]
    zipped = gathered([str(folder / "in.zip")], "image")
    assert zipped.ids == ["in/one.png"]
    assert zipped.contents == [ImageSource(folder / "in.zip", "in/one.png")]
    assert gathered([str(folder / "in.zip")], "text").contents == ["a note"]


def test_tables_use_the_column_named_then_the_usual_then_a_guess(folder: Path) -> None:
    table = str(folder / "t.csv")
    assert gathered([table], "text", column="other", usual="text").contents == ["second long text", "b", "c"]
    found = gathered([table], "text", usual="text")
    assert (found.ids, found.contents) == (["0", "2"], ["first long text", "third"])
    assert [fault.problem for fault in found.faults] == ["empty"]
    assert gathered([table], "text").contents[0] == "first long text"
    with pytest.raises(UsageError, match="nope"):
        gathered([table], "text", column="nope")
    pictures = gathered([str(folder / "p.jsonl")], "image")
    assert pictures.ids == ["0"]
    assert "no such file" in pictures.faults[0].problem


def test_a_table_without_the_usual_column_is_not_guessed_at(folder: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv has no column 'body', .*--content\. Columns: text, other\.$"):
        gathered([str(folder / "t.csv")], "text", usual="body")
    (folder / "bare.csv").write_text("a ship came in,3\nbread rises,4\nthe quay,3\nan oven,4\n")
    with pytest.raises(DataError, match=r"no column 'body'.* 0 \('a ship came in'\), 1 \('3'\); they go by number"):
        gathered([str(folder / "bare.csv")], "text", usual="body")
    assert gathered([str(folder / "bare.csv")], "text", usual="0").contents[1] == "bread rises"
    for name, lines in (("one.csv", "review\ngood, really\nbad\n"), ("one.jsonl", '{"review": "good, really"}\n')):
        (folder / name).write_text(lines)
        assert gathered([str(folder / name)], "text", usual="body").contents[0] == "good, really"


def test_only_faults_of_the_content_are_listed(folder: Path) -> None:
    rows = [
        {"text": "one", "label": ["a"]},
        {"text": "two", "label": None},
        {"text": ["x"], "label": "a"},
        {"text": "four", "label": "b"},
    ]
    (folder / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = gathered([str(folder / "l.jsonl")], "text", usual="text")
    assert found.contents == ["one", "two", "four"]
    assert [fault.where for fault in found.faults] == ["row 2 (line 3)"]


def test_several_items_are_told_apart(folder: Path) -> None:
    table = str(folder / "t.csv")
    assert gathered([table, table], "text", usual="text").ids == [f"{table}:0", f"{table}:2"] * 2


def test_what_the_model_does_not_read_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    pictures = gathered(["in/one.png", "fine"], "text")
    assert pictures.contents == ["fine"]
    assert [(f.where, f.problem) for f in pictures.faults] == [("in/one.png", "a picture; this model reads texts")]
    texts = gathered(["in/note.txt", "no.png", "t.csv"], "image")
    assert texts.contents == []
    assert [f.where for f in texts.faults[:2]] == ["in/note.txt", "no.png"]
    assert "no such file" in texts.faults[1].problem
    assert texts.faults[2].problem == "it holds texts; this model reads pictures"
    with pytest.raises(UsageError, match="pictures"):
        gathered(["a"], "image", text=True)
    (folder / "empty").mkdir()
    assert "holds no picture" in gathered(["empty"], "image").faults[0].problem
    (folder / "raw.bin").write_bytes(b"\0\1")
    assert "unreadable" in gathered(["raw.bin", ""], "text").faults[0].problem


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


def test_lines_of_the_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "one\r\n\n  zwölf \u2028 more\nthree".encode())
    assert gathered(["-"], "text").contents == ["one", "zwölf \u2028 more", "three"]
    monkeypatch.chdir(folder)
    stdin(monkeypatch, b"in/one.png\nin/none.png\n")
    found = gathered(["-"], "image")
    assert found.ids == ["in/one.png"]
    assert [f.where for f in found.faults] == ["in/none.png"]
    stdin(monkeypatch, b"a\0b")
    with pytest.raises(DataError, match="standard input"):
        gathered(["-"], "text")
