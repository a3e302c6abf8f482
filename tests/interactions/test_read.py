"""Tables of interactions as people have them, whole and faulty."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import DataError, GraftError, MissingError, UsageError
from graft.interactions import files, gather
from graft.interactions.columns import Columns
from graft.interactions.likes import Interactions
from graft.interactions.read import read_interactions
from graft.interactions.reading import Reading

ROWS = [("u1", "i10", 5.0, 100), ("u1", "i9", 2.0, 200), ("u2", "i9", 4.0, 50), ("u10", "i10", 1.0, 70)]
HEAD = ("userId", "movieId", "rating", "timestamp")


def table(tmp_path: Path, text: str, name: str = "likes.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(found: Interactions) -> list[tuple[Any, ...]]:
    times = [None] * len(found) if found.time_N is None else found.time_N.tolist()
    users, items = (
        [names[i] for i in codes] for names, codes in ((found.users, found.user_N), (found.items, found.item_N))
    )
    return list(zip(users, items, found.weight_N.tolist(), times, strict=True))


WANTED = [("u1", "i10", 1.0, 100), ("u1", "i9", 0.0, 200), ("u2", "i9", 1.0, 50), ("u10", "i10", 0.0, 70)]


def written(path: Path) -> Path:
    """The same rows in the format that the name asks for."""
    kind = path.name
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row[i] for row in ROWS] for i, name in enumerate(HEAD)}), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(HEAD, row, strict=True))) for row in ROWS))
    else:
        sign = {
            "a.csv": ",",
            "quoted.csv": ",",
            "semi.csv": ";",
            "a.tsv": "\t",
            "u.data": "\t",
            "bare.dat": "::",
            "a.dat": "::",
        }[kind]
        rows = ROWS if kind in ("bare.dat", "u.data") else [HEAD, *ROWS]
        cell = (lambda value: f'"{value}"') if kind == "quoted.csv" else str
        path.write_text("\r\n".join(sign.join(cell(value) for value in row) for row in rows) + "\n\n", newline="")
    return path


@pytest.mark.parametrize(
    "name", ["a.csv", "quoted.csv", "semi.csv", "a.tsv", "u.data", "a.dat", "bare.dat", "a.jsonl", "a.parquet"]
)
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    reading = read_interactions(written(tmp_path / name))
    assert rows_of(reading.interactions) == WANTED
    assert reading.interactions.users == ("u1", "u2", "u10")
    assert reading.interactions.items == ("i9", "i10")
    assert (reading.rows, reading.merged, reading.faulty, reading.faults) == (4, 0, 0, ())
    assert reading.like == 4
    assert reading.how == "rating from 4 up (guessed: 80 % of the largest, 5)"
    bare = name in ("u.data", "bare.dat")
    assert reading.columns["user"] == ("column 0 (guessed)" if bare else "userId (guessed)")
    assert reading.columns["time"].endswith("(guessed): seconds")
    assert reading.catalogue.titles == ("", "")
    assert reading.people is None


def test_a_cell_with_a_line_break_is_read_slowly_and_rightly(tmp_path: Path) -> None:
    path = table(tmp_path, 'user,item,rating,note\nu1,a,5,"two\nlines, and a comma"\nu2,b,1,"x"\n')
    assert [row[:3] for row in rows_of(read_interactions(path).interactions)] == [("u1", "a", 1), ("u2", "b", 0)]


def test_without_ratings_and_times_every_row_is_a_like(tmp_path: Path) -> None:
    reading = read_interactions(table(tmp_path, "Customer ID,SKU\n007,00\n7,00\n"))
    assert rows_of(reading.interactions) == [("007", "00", 1, None), ("7", "00", 1, None)]
    assert reading.how == "every row"
    assert reading.like is None


@pytest.mark.parametrize("name", ["ids.csv", "ids.tsv", "ids.dat"])
def test_ids_stay_as_they_are(tmp_path: Path, name: str) -> None:
    sign = {"ids.csv": ",", "ids.tsv": "\t", "ids.dat": "::"}[name]
    path = table(
        tmp_path,
        "".join(
            f"{sign.join(cells)}\n" for cells in [("user", "item"), ("007", "Amélie"), ("７", "東京"), (" 7 ", "🎬")]
        ),
        name,
    )
    assert {row[:2] for row in rows_of(read_interactions(path).interactions)} == {
        ("007", "Amélie"),
        ("７", "東京"),
        ("7", "🎬"),
    }


def test_ids_of_typed_tables_are_words(tmp_path: Path) -> None:
    path = tmp_path / "typed.parquet"
    pq.write_table(
        pa.table({"user": [3.0, 12.0], "item": pa.array([1, 2], pa.int64()), "score": pa.array([1, 5], pa.int8())}),
        path,
    )
    assert [row[:3] for row in rows_of(read_interactions(path).interactions)] == [("3", "1", 0), ("12", "2", 1)]


def test_texts_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_bytes("user,item\nJosé,café\n".encode("cp1252"))
    assert rows_of(read_interactions(path).interactions) == [("José", "café", 1, None)]
    path.write_bytes("user,item\nJosé,café\n".encode("utf-8-sig"))
    assert rows_of(read_interactions(path).interactions) == [("José", "café", 1, None)]
    path.write_bytes("user,item\nJosé,café\n".encode("utf-16"))
    assert rows_of(read_interactions(path).interactions) == [("José", "café", 1, None)]


def test_repeated_pairs_keep_the_strongest_weight_and_its_latest_time(tmp_path: Path) -> None:
    path = table(tmp_path, "user,item,rating,time\nu,a,5,10\nu,a,4,30\nu,a,1,90\nu,b,1,7\nu,b,2,9\n")
    reading = read_interactions(path)
    assert rows_of(reading.interactions) == [("u", "b", 0, 9), ("u", "a", 1, 30)]
    assert (reading.rows, reading.merged) == (5, 3)


def test_many_rows_of_one_pair_are_merged_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(gather, "_PENDING", 100)
    waiting: list[int] = []
    merge = gather.Gathered._merge

    def watched(self: gather.Gathered) -> None:
        waiting.append(sum(len(held[0]) for held in self._held))
        merge(self)

    monkeypatch.setattr(gather.Gathered, "_merge", watched)
    path = table(tmp_path, "user,item,time\n" + "".join(f"u,i,{t}\n" for t in range(5000)))
    reading = read_interactions(path)
    assert rows_of(reading.interactions) == [("u", "i", 1, 4999)]
    assert reading.merged == 4999
    assert max(waiting) < 300


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 5), st.integers(0, 50)), min_size=1, max_size=60
    )
)
def test_blocks_of_any_size_give_what_a_dictionary_gives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]]
) -> None:
    path = table(
        tmp_path_factory.mktemp("blocks"),
        "user,item,rating,time\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows),
    )
    wanted: dict[tuple[str, str], tuple[float, float]] = {}
    for u, i, r, t in rows:
        wanted[str(u), str(i)] = max(wanted.get((str(u), str(i)), (0.0, -1.0)), (float(r >= 4), float(t)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", 40)
        patch.setattr(gather, "_PENDING", 3)
        if not any(weight for weight, _ in wanted.values()):
            with pytest.raises(DataError, match="none is a like"):
                read_interactions(path, like=4)
            return
        found = rows_of(read_interactions(path, like=4).interactions)
    assert found == [
        (*pair, *value)
        for pair, value in sorted(wanted.items(), key=lambda entry: (entry[0][0], entry[1][1], entry[0][1]))
    ]


def test_the_scale_is_that_of_the_whole_table(tmp_path: Path) -> None:
    path = table(tmp_path, "user,item,rating\n" + "u,a,4\n" * 1200 + "v,a,9\nv,b,10\n")
    reading = read_interactions(path)
    assert reading.like == 8
    assert rows_of(reading.interactions) == [("u", "a", 0, None), ("v", "a", 1, None), ("v", "b", 1, None)]
    assert read_interactions(path, like=10).interactions.weight_N.tolist() == [0, 0, 1]


def test_events_have_weights(tmp_path: Path) -> None:
    path = table(tmp_path, "user,item,event\nu,a,view\nu,a,purchase\nu,b,left\nv,b,view\n")
    given = read_interactions(path, events={"purchase": 5, "view": 1, "left": 0})
    assert rows_of(given.interactions) == [("u", "a", 5, None), ("u", "b", 0, None), ("v", "b", 1, None)]
    assert given.how == "events view = 1, purchase = 5, left = 0"
    assert read_interactions(path).interactions.weight_N.tolist() == [1, 0, 1]
    with pytest.raises(
        UsageError, match=r"no weight is given for left, purchase\. Kinds found: view \(2\), purchase \(1\), left \(1\)"
    ):
        read_interactions(path, events={"view": 1})
    with pytest.raises(UsageError, match="not so: view = -1"):
        read_interactions(path, events={"view": -1})
    with pytest.raises(UsageError, match="nothing would be a like"):
        read_interactions(path, events={"view": 0})
    with pytest.raises(UsageError, match="no column tells events"):
        read_interactions(table(tmp_path, "user,item\na,b\n"), events={"view": 1})


def test_ratings_in_words_are_kinds_of_events(tmp_path: Path) -> None:
    reading = read_interactions(table(tmp_path, "user,item,rating\nu,a,like\nu,b,dislike\nv,a,like\n"))
    assert reading.interactions.weight_N.tolist() == [1, 0, 1]
    assert reading.columns["event"] == "rating (guessed)"


def test_ratings_written_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"user": "u", "item": 1, "rating": "4.5"}\n{"user": "u", "item": 2, "rating": "2,5"}\n')
    assert read_interactions(path, like=3).interactions.weight_N.tolist() == [1, 0]


def test_columns_are_found_by_name_place_and_content(tmp_path: Path) -> None:
    path = table(tmp_path, ",Score,asin,reviewerID,posted\n0,5,B00,A1,2021-03-04\n1,1,B01,A2,2021-03-05\n")
    reading = read_interactions(path)
    shown = {
        "user": "reviewerID (guessed)",
        "item": "asin (guessed)",
        "rating": "Score (guessed)",
        "time": "posted (guessed): ISO dates",
    }
    assert reading.columns == shown
    turned = read_interactions(path, columns=Columns(user="asin", item="reviewerid", rating="none", time="none"))
    assert turned.columns == {"user": "asin", "item": "reviewerID"}
    assert turned.interactions.time_N is None
    nameless = read_interactions(table(tmp_path, "who,what\n1,x\n5,y\n"))
    assert nameless.columns == {"user": "who (guessed)", "item": "what (guessed)"}
    recbole = read_interactions(table(tmp_path, "user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n", "a.inter"))
    assert set(recbole.columns) == {"user", "item", "time"}


def test_names_that_are_not_there(tmp_path: Path) -> None:
    path = table(tmp_path, "user,item,rating\nu,a,4\n")
    with pytest.raises(
        UsageError, match=r"--user 'usr' is not known\. Did you mean 'user'.*--item 'rating2' is not known"
    ):
        read_interactions(path, columns=Columns(user="usr", item="rating2"))
    with pytest.raises(UsageError, match="--user and --item both name 'user'"):
        read_interactions(path, columns=Columns(user="user", item="user"))
    with pytest.raises(DataError, match="no column can be the item"):
        read_interactions(table(tmp_path, "user\nu\nv\n", "narrow.jsonl.csv"))


def hundreds(faulty: str) -> str:
    return "user,item,rating,time\n" + "".join(f"u{i},i{i % 7},5,{i}\n" for i in range(600)) + faulty


def test_few_faults_are_left_out_and_told(tmp_path: Path) -> None:
    reading = read_interactions(table(tmp_path, hundreds(",i1,5,1\nu1,,NaN,2\nu1,i1,3,yesterday\nu1,i2\n")))
    assert (reading.rows, reading.faulty, len(reading.interactions)) == (604, 4, 600)
    told = {(fault.where, fault.problem, fault.value) for fault in reading.faults}
    assert told == {
        ("row 600", "it has no user", ""),
        ("row 601", "it has no item and its rating is no number", "NaN"),
        ("row 602", "its time cannot be read", "yesterday"),
        ("row 603", "it has 2 cells where 4 are expected", ""),
    }


def test_ids_of_faulty_rows_only_are_not_kept(tmp_path: Path) -> None:
    reading = read_interactions(table(tmp_path, hundreds("ghost,spectre,often,1\n")))
    assert "ghost" not in reading.interactions.users
    assert "spectre" not in reading.interactions.items


def test_many_faults_are_an_error_that_names_the_first(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"2 of 3 rows are at fault.*row 1: its rating is no number \(good\); row 2: it has no user"
    ) as caught:
        read_interactions(
            table(tmp_path, "user,item,rating\nu,a,5\nv,b,good\n,c,4\n"), columns=Columns(rating="rating")
        )
    assert len(caught.value.faults) == 2


def test_times_in_three_forms(tmp_path: Path) -> None:
    reading = read_interactions(
        table(tmp_path, "user,item,time\nu,a,1600000000\nu,b,1600000001000\nu,c,2020-09-13 12:26:42\n")
    )
    assert reading.interactions.time_N is not None
    assert reading.interactions.time_N.tolist() == [1600000000, 1600000001, 1600000002]
    assert any(note.startswith("times come in 3 forms") for note in reading.notes)


CELLS = st.one_of(
    st.sampled_from(["u", "i", "5", "4.5", "", "nan", "inf", "2020-01-01", "user", "item", "rating", "::", "a b"]),
    st.text(max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=8),
    sign=st.sampled_from([",", "\t", "::", ";"]),
    suffix=st.sampled_from(["csv", "tsv", "dat"]),
)
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], sign: str, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"likes.{suffix}"
    path.write_bytes("\n".join(sign.join(row) for row in rows).encode("utf-8", "surrogatepass"))
    try:
        reading = read_interactions(path)
    except GraftError:
        return
    found = reading.interactions
    assert reading.rows == len(found) + reading.merged + reading.faulty
    assert (found.weight_N > 0).any()
    assert len(set(found.users)) == len(found.users) == len(set(found.user_N.tolist()))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    for suffix in ("csv", "dat", "parquet", "jsonl"):
        path = tmp_path_factory.mktemp("bytes") / f"likes.{suffix}"
        path.write_bytes(raw)
        with contextlib.suppress(GraftError):
            assert len(read_interactions(path).interactions) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("user,item,rating\n", "has no row"),
        ("user,item,rating\nu,a,0\n", "the largest rating is 0"),
        ("user,item,event\nu,a,skipped\n", "none is a like"),
    ],
)
def test_tables_with_nothing_in_them(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_interactions(table(tmp_path, text))


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.csv is not here"):
        read_interactions(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match="Did you mean 'ml-latest-small'"):
        read_interactions("data:ml-latest")
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    with pytest.raises(MissingError, match=r"looked for ratings\.dat and movies\.dat in"):
        read_interactions("data:movietweetings-100k")
    with pytest.raises(UsageError, match="no column of ratings is used"):
        read_interactions(table(tmp_path, "user,item\nu,a\n"), like=3)
    with pytest.raises(UsageError, match="--like is nan"):
        read_interactions(table(tmp_path, "user,item\nu,a\n"), like=float("nan"))


def films(reading: Reading) -> dict[str, tuple[str, tuple[str, ...]]]:
    known = zip(reading.interactions.items, reading.catalogue.titles, reading.catalogue.categories, strict=True)
    return {item: (title, categories) for item, title, categories in known}


@pytest.mark.usefixtures("shared_data")
def test_movielens() -> None:
    reading = read_interactions("data:ml-latest-small")
    found = reading.interactions
    assert (len(found), len(found.users), len(found.items)) == (100_836, 610, 9_742)
    assert len(found.likes()) == 48_580
    assert films(reading)["1"] == ("Toy Story (1995)", ("Adventure", "Animation", "Children", "Comedy", "Fantasy"))
    assert films(reading)["11"][0] == "American President, The (1995)"
    assert reading.how == "rating from 4 up"
    assert not reading.faults


@pytest.mark.usefixtures("shared_data")
def test_movietweetings() -> None:
    reading = read_interactions("data:movietweetings-100k")
    found = reading.interactions
    assert (len(found), len(found.users), len(found.items)) == (100_000, 16_554, 10_506)
    assert len(found.likes()) == 50_542
    assert films(reading)["0002844"] == ("Fantômas - À l'ombre de la guillotine (1913)", ("Crime", "Drama"))
    assert found.time_N is not None
    assert (np.diff(found.time_N)[np.diff(found.user_N) == 0] >= 0).all()
