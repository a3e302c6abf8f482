"""Tables survive a round trip whatever their texts hold; what is broken in them is named by its row."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.data import tables
from graft.data.columns import is_missing
from graft.data.dataset import Dataset
from graft.data.read import read
from graft.data.tables import decode_text, mend, unique_names
from graft.errors import DataError

LOOSE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIGNS = st.characters(exclude_categories=["Cs"])
# A cell that says "nan" holds nothing.
TEXTS = st.lists(
    st.text(SIGNS, min_size=1, max_size=30).filter(lambda t: bool(t.strip()) and not is_missing(t)),
    min_size=1,
    max_size=8,
)
AWKWARD = st.lists(
    st.text(st.sampled_from("a\"',;\t\n\r|\\ é\u2028\x00\x1f"), min_size=1).filter(lambda t: bool(t.strip())),
    min_size=1,
    max_size=8,
)


def save(path: Path, rows: Sequence[Sequence[Any]], **dialect: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, **dialect).writerows(rows)
    return path


def labels(dataset: Dataset) -> list[str | None]:
    return [dataset.classes[code] if code >= 0 else None for code in dataset.labels]


def where(dataset: Dataset) -> list[tuple[str, str]]:
    return [(fault.where, fault.problem.split(":")[0]) for fault in dataset.faults]


@LOOSE
@given(
    texts=TEXTS | AWKWARD,
    terminator=st.sampled_from(["\r\n", "\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_round_trip(tmp_path: Path, texts: list[str], terminator: str, quoting: int) -> None:
    if terminator == "\n" and any("\r" in text for text in texts):
        quoting = csv.QUOTE_ALL  # Python's writer forgets to quote a lone carriage return
    rows = [("text", "label"), *((text, f"l{i}") for i, text in enumerate(texts))]
    dataset = read(
        save(tmp_path / "t.csv", rows, lineterminator=terminator, quoting=quoting), content="text", label="label"
    )
    assert (
        dataset.contents == tuple(texts)
        and labels(dataset) == [f"l{i}" for i in range(len(texts))]
        and not dataset.faults
    )
    assert dataset.ids == tuple(str(i) for i in range(len(texts)))


@LOOSE
@given(texts=TEXTS | AWKWARD)
def test_tsv_round_trip(tmp_path: Path, texts: list[str]) -> None:
    texts = [
        " ".join(text.split("\t")) or "x" for text in texts
    ]  # a cell with tabs and line breaks at once is ambiguous
    texts = [text for text in texts if text.strip()] or ["x"]
    rows = [("text", "label"), *((text, "l") for text in texts)]
    dataset = read(save(tmp_path / "t.tsv", rows, dialect="excel-tab"), content="text", label="label")
    assert dataset.contents == tuple(texts) and not dataset.faults


@LOOSE
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), min_size=1).filter(
            lambda t: bool(t.strip())
        ),
        min_size=3,
        max_size=8,
    )
)
def test_tsv_without_quoting(tmp_path: Path, texts: list[str]) -> None:
    texts = [*texts, 'ends with a "', '"starts with one', 'a "word" inside']
    path = tmp_path / "t.tsv"
    path.write_bytes("".join(f"{text}\t{i % 2}\n" for i, text in enumerate(texts)).encode())
    dataset = read(path, content="0", label="1")
    assert (
        dataset.contents == tuple(texts)
        and labels(dataset) == [str(i % 2) for i in range(len(texts))]
        and not dataset.faults
    )


@LOOSE
@given(texts=TEXTS | AWKWARD, ascii_only=st.booleans())
def test_jsonl_round_trip(tmp_path: Path, texts: list[str], ascii_only: bool) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        "".join(json.dumps({"text": t, "label": 1}, ensure_ascii=ascii_only) + "\n" for t in texts).encode()
    )
    dataset = read(path)
    assert dataset.contents == tuple(texts) and dataset.classes == ("1",) and not dataset.faults


@LOOSE
@given(texts=TEXTS | AWKWARD)
def test_parquet_round_trip(tmp_path: Path, texts: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"sentence": texts, "label": [0.0] * len(texts)}), tmp_path / "t.parquet")
    dataset = read(tmp_path / "t.parquet")
    assert dataset.contents == tuple(texts) and dataset.classes == ("0",) and not dataset.faults


@LOOSE
@given(raw=st.binary(max_size=200), name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet"]))
def test_any_bytes_give_a_data_set_or_a_data_error(tmp_path: Path, raw: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(raw)
    try:
        dataset = read(tmp_path / name)
    except DataError as problem:
        assert str(problem)
    else:
        assert len(dataset) and "".join(map(str, dataset.contents)).encode()  # no half characters are handed on


def test_ten_megabytes_in_a_cell(tmp_path: Path) -> None:
    long = 'word, and "another"\n' * 500_000
    dataset = read(save(tmp_path / "t.csv", [("text", "label"), (long, "a"), ("short", "b")]))
    assert dataset.contents == (long, "short") and labels(dataset) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_encodings_of_unicode(tmp_path: Path, encoding: str, name: str) -> None:
    gap = "," if name == "t.csv" else "\t"
    (tmp_path / name).write_text(f"text{gap}label\nna\u00efve \u2603{gap}caf\u00e9\nplain{gap}b\n", encoding=encoding)
    dataset = read(tmp_path / name)
    assert dataset.contents == ("na\u00efve \u2603", "plain") and dataset.classes == ("b", "caf\u00e9")
    assert "encoding" not in dataset.columns and dataset.columns["content"] == "text"


def test_cp1252_is_guessed_and_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        "text,label\nna\u00efve \u201cword\u201d \u20ac,caf\u00e9\nplain,b\n".encode("cp1252") + b"odd \x81,b\n"
    )
    dataset = read(tmp_path / "t.csv")
    assert (
        dataset.contents == ("na\u00efve \u201cword\u201d \u20ac", "plain", "odd \x81")
        and "caf\u00e9" in dataset.classes
    )
    assert "cp1252" in dataset.columns["encoding"] and not dataset.faults


def test_mixed_encodings_name_the_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        "text,label\nna\u00efve,a\n".encode() + "\nol\u00e9,b\n".encode("cp1252") + b"plain,b\n"
    )
    dataset = read(tmp_path / "t.csv")
    assert (
        dataset.contents == ("na\u00efve", "ol\u00e9", "plain")
        and dataset.columns["encoding"] == "utf-8 and cp1252 mixed"
    )
    assert [(f.where, f.problem) for f in dataset.faults] == [
        ("row 1 (line 4)", "not UTF-8 like the other rows; read as cp1252")
    ]


def test_faults_can_be_written_whatever_they_quote(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label,when\nwords,a,\xe9t\xe9\nwords,b,1\n")
    dataset = read(tmp_path / "t.csv", time="when")
    assert [(f.where, f.value) for f in dataset.faults] == [("row 0 (line 2)", "été")]


def test_text_decoding() -> None:
    assert decode_text(b"\xef\xbb\xbfa") == ("a", "utf-8")
    assert decode_text("é".encode("utf-16")) == ("é", "utf-16")
    assert decode_text(b"\xe9\x80") == ("é€", "cp1252")
    assert mend("a\udce9\ud83d") == "aé\ufffd"
    with pytest.raises(ValueError):
        decode_text(b"a\x00b")
    with pytest.raises(ValueError):
        decode_text(b"\xff\xfe\x00")


def test_rows_at_fault_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [
        "text,label",
        "one,a",
        "",
        "two",
        "three,a,extra",
        '"four',
        'lines",b',
        ",a",
        "  ,a",
        "five,",
        "six,NaN",
        "seven,b,,",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    dataset = read(tmp_path / "t.csv")
    assert dataset.contents == ("one", "four\nlines", "five", "six", "seven")
    assert dataset.ids == ("0", "3", "6", "7", "8") and labels(dataset) == ["a", "b", None, None, "b"]
    assert where(dataset) == [
        ("row 1 (line 4)", "it has 1 cells where 2 are expected"),
        ("row 2 (line 5)", "it has 3 cells where 2 are expected"),
        ("row 4 (line 8)", "empty"),
        ("row 5 (line 9)", "empty"),
        ("row 6 (line 10)", "unlabelled"),
        ("row 7 (line 11)", "unlabelled"),
    ]
    with pytest.raises(DataError) as caught:
        read(tmp_path / "t.csv", strict=True)
    assert caught.value.faults == dataset.faults


def test_a_quote_left_open_costs_its_row_only(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(50))
    (tmp_path / "t.csv").write_text('text,label\nfine,a\n"open,b\n' + rows + '"open too,b\n')
    dataset = read(tmp_path / "t.csv")
    problem = "a quote is opened here and not closed as it should be"
    assert len(dataset) == 51 and where(dataset) == [("row 1 (line 3)", problem), ("row 52 (line 54)", problem)]
    (tmp_path / "u.csv").write_text('text,label\nfine,a\n"open,b\n' + rows)
    dataset = read(tmp_path / "u.csv")
    assert len(dataset) == 51 and where(dataset) == [("row 1 (line 3)", problem)]
    assert dataset.ids[1] == "2"


def test_odd_quotes_within_a_line_are_taken_as_they_come(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text,label\n"said "so" twice",a\na 5" pipe,b\n""x,a\n')
    dataset = read(tmp_path / "t.csv")
    assert dataset.contents == ('said so" twice"', 'a 5" pipe', "x") and not dataset.faults


def test_many_open_quotes_do_not_take_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MAX_UNCLOSED", 0)
    (tmp_path / "t.csv").write_text('text,label\nfine,a\n"open,b\nlost,a\n')
    dataset = read(tmp_path / "t.csv")
    assert len(dataset) == 1 and [f.where for f in dataset.faults] == ["row 1 (line 3)", "row 2 (line 4)"]
    assert "rest of the file is not read" in dataset.faults[1].problem


@pytest.mark.parametrize(("gap", "shown"), [(";", ";"), ("\t", "tab"), ("|", "|")])
def test_delimiters(tmp_path: Path, gap: str, shown: str) -> None:
    dataset = read(
        save(tmp_path / "t.csv", [("text", "label"), ("a, b, c", "x"), ("d", "y"), ("e, f", "x")], delimiter=gap)
    )
    assert dataset.contents == ("a, b, c", "d", "e, f") and dataset.columns["delimiter"] == shown


def test_one_column_of_texts_with_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\nHello, you, there\nNo commas\nOne, comma\n")
    dataset = read(tmp_path / "t.csv")
    assert dataset.contents == ("Hello, you, there", "No commas", "One, comma") and labels(dataset) == [None] * 3
    assert dataset.columns == {"content": "text", "delimiter": "none"} and not dataset.faults


def test_line_breaks_of_old(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label\rone,a\rtwo,b\r")
    assert read(tmp_path / "t.csv").contents == ("one", "two")


def test_json_lines_at_fault(tmp_path: Path) -> None:
    lines = ['{"text": "one", "label": true}', "", "{broken", "[]", "3", '{"text": 5, "label": "a"}', '{"text": null, "label": "a"}',
             '{"text": "two", "label": ["a"]}', '{"label": "a"}', '{"text": "half \\ud83d", "label": "b", "more": 1}']  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    dataset = read(tmp_path / "t.jsonl", content="text", label="label")
    assert dataset.contents == ("one", "two", "half \ufffd") and dataset.ids == ("0", "6", "8")
    assert labels(dataset) == ["true", None, "b"]
    assert where(dataset) == [
        ("row 1 (line 3)", "not JSON"),
        ("row 2 (line 4)", "not a JSON object"),
        ("row 3 (line 5)", "not a JSON object"),
        ("row 4 (line 6)", "wrong type"),
        ("row 5 (line 7)", "empty"),
        ("row 6 (line 8)", "wrong type"),
        ("row 7 (line 9)", "empty"),
    ]


def test_json_arrays_go_by_number(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(
        '["some text", "a"]\n["more text", "b"]\n["text again", "a"]\n["and again", "b"]\n'
    )
    dataset = read(tmp_path / "t.jsonl")
    assert dataset.columns == {"content": "0", "label": "1"} and labels(dataset) == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("name", "raw"),
    [("t.csv", b""), ("t.csv", b"\n\n"), ("t.csv", b"text,label\n"), ("t.tsv", b""), ("t.jsonl", b"\n"), ("t.parquet", b""),
     ("t.parquet", b"PAR1junkPAR1"), ("t.csv", b"\xff\xfea"), ("t.jsonl", b"\xff\xfe{")],
)  # fmt: skip
def test_empty_and_damaged_tables(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match="t\\."):
        read(tmp_path / name)


def test_repeated_and_missing_names() -> None:
    assert unique_names(["a", "", "a", "a"]) == ("a", "1", "a.1", "a.2")


def test_parquet_types(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "text": pa.array(["a", None, "", "d"]).dictionary_encode(),
            "label": pa.array([1.0, 2.0, 2.0, None]),
            "raw": pa.array([b"a", b"b", b"c", b"d"]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = read(tmp_path / "t.parquet")
    assert dataset.contents == ("a", "d") and labels(dataset) == ["1", None]
    assert where(dataset) == [("row 1", "empty"), ("row 2", "empty"), ("row 3", "unlabelled")]
    with pytest.raises(DataError, match=r"Nothing in .*wrong type: a bytes"):
        read(tmp_path / "t.parquet", content="raw")
