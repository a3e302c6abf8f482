"""Corrections are checked against the data, and nothing but labels changes in the copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graft.data.read import read
from graft.data.tables import csv_line
from graft.diagnostics.corrections import KIND, Correction, checked, read_corrections
from graft.errors import DataError, MissingError, UsageError
from graft.fitting.questions import correct
from graft.reports.review import CorrectedTable

ROWS = [
    ("A cold beer, please", "bar"),
    ('He said "no"', "court"),
    ("Two beers", "court"),
    ("The judge rose", "court"),
    ("Cheers", "bar"),
]


def saved(folder: Path, *entries: tuple[str, str, str]) -> Path:
    tree = {
        "kind": KIND,
        "schema": 1,
        "corrections": [dict(zip(("item", "given", "label"), e, strict=True)) for e in entries],
    }
    path = folder / "corrections.json"
    path.write_text(json.dumps(tree))
    return path


def run(data: Path, folder: Path, *entries: tuple[str, str, str]) -> CorrectedTable:
    return correct(data, saved(folder, *entries), folder / "out", label=None, content=None)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_keeps_every_sign_but_the_label(tmp_path: Path, end: str) -> None:
    lines = [
        "id,text,label,note",
        '7,"A cold beer, please",bar,',
        '8,"He said ""no""",court,"x, y"',
        "9,Two beers,court,",
        "",
        "10,The judge rose,court,é",
        "11,Cheers,bar,",
    ]
    data = tmp_path / "talk.csv"
    data.write_bytes(end.join(lines).encode())
    found = run(data, tmp_path, ("2", "court", "bar"), ("0", "bar", "court"), ("3", "court", "court"))
    assert (found.rows, found.changed, found.confirmed) == (5, 2, 1)
    lines[1], lines[3] = '7,"A cold beer, please",court,', "9,Two beers,bar,"
    assert Path(found.path).read_bytes() == end.join(lines).encode()
    assert sorted(found.pairs) == [("bar", "court", 1), ("court", "bar", 1)]


def test_a_semicolon_table_and_a_text_over_two_lines(tmp_path: Path) -> None:
    data = tmp_path / "talk.csv"
    data.write_text('text;label\n"Two\nbeers";court\nThe judge rose;court\nCheers;bar\nA beer;bar\n')
    found = run(data, tmp_path, ("0", "court", "bar"))
    assert Path(found.path).read_text() == '"Two\nbeers";bar\nThe judge rose;court\nCheers;bar\nA beer;bar\n'.join(
        ["text;label\n", ""]
    )


def test_cells_with_line_ends_stay_whole(tmp_path: Path) -> None:
    """A label over two lines is written as the table spells it, and a text with a bare carriage return out of JSON as one cell of a CSV."""
    data = tmp_path / "talk.csv"
    data.write_bytes(b'text,label\nBeer,"high\nbar"\nAle,"high\nbar"\nThe judge rose,court\nOrder,court\n')
    found = run(data, tmp_path, ("2", "court", "high\nbar"))
    assert (
        read(found.path).classes == ("court", "high\nbar") and Path(found.path).read_bytes().count(b'"high\nbar"') == 3
    )
    assert csv_line(["a\rb", "c"]) == '"a\rb",c'


def test_json_lines_keep_what_is_not_corrected(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "label": int(place == "bar"), "n": i}) for i, (text, place) in enumerate(ROWS)]
    lines.insert(2, "not json")
    data = tmp_path / "talk.jsonl"
    data.write_text("\n".join(lines) + "\n")
    found = run(data, tmp_path, ("3", "0", "1"))
    lines[3] = json.dumps({"text": "Two beers", "label": 1, "n": 2})
    assert Path(found.path).read_text().splitlines() == lines


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = tmp_path / "talk.parquet"
    table = pa.table(
        {
            "text": [t for t, _ in ROWS],
            "label": pa.array([int(p == "bar") for _, p in ROWS], pa.int8()),
            "x": pa.array([1.5] * 5, pa.float32()),
        }
    )
    pq.write_table(table, data)
    found = run(data, tmp_path, ("2", "0", "1"))
    again = pq.read_table(found.path)
    assert again.schema == table.schema
    assert again.column("label").to_pylist() == [1, 0, 1, 0, 1]
    assert again.drop(["label"]).equals(table.drop(["label"]))


def test_a_folder_becomes_a_table_that_fit_reads(tmp_path: Path) -> None:
    from PIL import Image

    for place in ("dark", "light"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (10 * i,) * 3).save(tmp_path / "photos" / place / f"{i}.png")
    found = run(tmp_path / "photos", tmp_path, ("light/0.png", "light", "dark"))
    again = read(found.path)
    assert again.modality == "image"
    assert [again.classes[code] for code in again.labels] == ["dark"] * 4 + ["light"] * 2
    assert (found.rows, found.changed) == (6, 1)


def test_pictures_named_beside_their_table_are_found_from_the_copy(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (10 * i,) * 3).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "t.csv").write_text("image,label\n0.png,a\n1.png,a\n2.png,b\n3.png,b\n")
    found = run(tmp_path / "in" / "t.csv", tmp_path, ("1", "a", "b"))
    again = read(found.path)
    assert len(again) == 4 and not again.faults
    assert again.contents[0].read_bytes()  # type: ignore[union-attr]


def test_every_correction_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    data = tmp_path / "talk.csv"
    data.write_text("text,label\n" + "".join(f"{t.replace(',', '')},{p}\n" for t, p in ROWS if '"' not in t))
    dataset = read(data)
    wrong = [
        Correction("99", "bar", "court"),
        Correction("0", "bar", "curt"),
        Correction("1", "bar", "bar"),
        Correction("2", "court", "bar"),
        Correction("2", "court", "court"),
        Correction("3", "bar", "court"),
    ]
    with pytest.raises(DataError, match="4 of 6 corrections") as caught:
        checked(wrong, dataset)
    told = {fault.where: fault.problem for fault in caught.value.faults}
    assert "no item of this id" in told["99"]
    assert "Did you mean 'court'" in told["0"]
    assert "now has 'court'" in told["1"]
    assert "twice, to 'bar' and to 'court'" in told["2"]
    assert checked([wrong[-1], wrong[-1]], dataset) == {"3": wrong[-1]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not the JSON"),
        ("[" * 20_000, "not the JSON"),
        ("[]", "not what the page"),
        ('{"corrections": []}', "not what the page"),
        ('{"kind": "graft label corrections", "corrections": [{"item": 3, "given": "a", "label": "b"}]}', "1 entries"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_corrections(path)
    with pytest.raises(MissingError):
        read_corrections(tmp_path / "none.json")


def test_no_answers_write_nothing(tmp_path: Path) -> None:
    data = tmp_path / "talk.csv"
    data.write_text("text,label\na beer,bar\nthe judge,court\n")
    with pytest.raises(UsageError, match="no correction"):
        run(data, tmp_path)
    assert not (tmp_path / "out").exists()
