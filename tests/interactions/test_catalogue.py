"""Tables of items and people beside the interactions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.errors import DataError, MissingError, UsageError
from graft.interactions.columns import Columns
from graft.interactions.read import read_interactions

LIKES = "user,item\nu1,007\nu1,b\nu2,b\nu10,c\n"


@pytest.fixture
def likes(tmp_path: Path) -> Path:
    path = tmp_path / "likes.csv"
    path.write_text(LIKES)
    return path


def test_everything_an_items_table_can_tell(likes: Path, tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pics" / "a.png")
    items = tmp_path / "items.csv"
    items.write_text(
        "sku,name,genres,description,image,released\n"
        '007,"Bond, James",Spy|Drama|Spy,A man with a licence.,pics/a.png,1995-11-17\n'
        'd,"Nobody\'s film",,,,\n'
        "b,Zürich,(no genres listed),Clocks.,../likes.csv,17/11/1995\n"
        "b,again,Spy,,,\n"
        ",nameless,Spy,,,\n"
        "c,Sea,Spy,,pics/gone.png,soon\n",
        encoding="utf-8",
    )
    reading = read_interactions(likes, items=items)
    catalogue = reading.catalogue
    assert reading.interactions.items == ("007", "b", "c", "d")
    assert catalogue.titles == ("Bond, James", "Zürich", "Sea", "Nobody's film")
    assert catalogue.categories == (("Spy", "Drama"), (), ("Spy",), ())
    assert catalogue.texts == ("A man with a licence.", "Clocks.", "", "")
    assert catalogue.pictures == (tmp_path / "pics" / "a.png", None, None, None)
    assert catalogue.dates is not None
    at = datetime(1995, 11, 17, tzinfo=UTC).timestamp()
    assert catalogue.dates.tolist() == pytest.approx([at, at, np.nan, np.nan], nan_ok=True)
    assert {(fault.where, fault.problem) for fault in reading.faults} == {
        ("items, row 3 (line 5)", "an id that came before; the first is kept"),
        ("items, row 4 (line 6)", "it has no id"),
        ("item b", "picture: wrong type: not the name of a picture file"),
        ("item c", "picture: no such file"),
        ("item c", "date: it cannot be read"),
    }
    assert reading.columns["items title"] == "name (guessed)"
    assert "items: 3 of 3 ids of the interactions are in items.csv, which has 4" in reading.notes


def test_a_picture_may_not_leave_the_folder(likes: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    Image.new("RGB", (4, 4)).save(inner / "a.png")
    (inner / "items.csv").write_text("item,picture\nb,../secret.png\nc,a.png\n")
    reading = read_interactions(likes, items=inner / "items.csv")
    assert reading.catalogue.pictures == (None, None, inner / "a.png")
    assert [fault.problem for fault in reading.faults] == ["picture: refused: the path leaves the table's folder"]


def test_lists_of_categories_in_json(likes: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    rows = [
        {"id": "b", "title": "B", "tags": ["x", "y"], "year": 1995},
        {"id": "c", "title": "C", "tags": [], "year": 2001},
    ]
    items.write_text("\n".join(map(json.dumps, rows)))
    catalogue = read_interactions(likes, items=items).catalogue
    assert catalogue.categories == ((), ("x", "y"), ())
    assert catalogue.titles == ("", "B", "C")
    assert catalogue.dates is not None
    assert catalogue.dates[1:].tolist() == [datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1995, 2001)]


@pytest.mark.parametrize(
    ("cell", "wanted"), [("a; b", ("a", "b")), ("a, b", ("a", "b")), ("['a', 'b']", ("a", "b")), ("a b", ("a b",))]
)
def test_signs_between_categories(likes: Path, tmp_path: Path, cell: str, wanted: tuple[str, ...]) -> None:
    items = tmp_path / "items.csv"
    items.write_text(f'item,genre\nb,"{cell}"\n')
    assert read_interactions(likes, items=items).catalogue.categories[1] == wanted


def test_the_column_of_ids_is_the_one_that_joins(likes: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("id,code,title\n1,007,Bond\n2,b,Zed\n3,c,Sea\n")
    reading = read_interactions(likes, items=items)
    assert reading.columns["items id"] == "code (guessed)"
    assert reading.catalogue.titles == ("Bond", "Zed", "Sea")


def test_a_table_that_joins_nothing_is_an_error(likes: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item,title\n7,Bond\nB,Zed\n")
    with pytest.raises(
        DataError, match=r"no id of the interactions \('007', 'b', 'c', \.\.\).*\('7', 'B', \.\.\).*leading zeros count"
    ):
        read_interactions(likes, items=items)
    with pytest.raises(MissingError, match=r"nothing\.csv is not here"):
        read_interactions(likes, items=tmp_path / "nothing.csv")


def test_features_of_people(likes: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text("uid,age,plan,empty\nu2,31,basic,\nu1,nan,premium,\nzz,inf,basic,\n")
    reading = read_interactions(likes, users=users)
    assert reading.people is not None
    assert reading.interactions.users == ("u1", "u2", "u10")
    assert reading.people.numbers["age"].tolist() == pytest.approx([np.nan, 31, np.nan], nan_ok=True)
    assert dict(reading.people.words) == {"plan": ("premium", "basic", "")}
    assert "users: column 'empty' is left out: it holds nothing" in reading.notes


def test_features_that_are_not_finite_are_unknown(likes: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.jsonl"
    users.write_text('{"user": "u1", "score": Infinity}\n{"user": "u2", "score": 1e400}\n{"user": "u10", "score": 2}\n')
    people = read_interactions(likes, users=users).people
    assert people is not None
    assert people.numbers["score"].tolist() == pytest.approx([np.nan, np.nan, 2], nan_ok=True)


def test_names_and_addresses_are_no_features(likes: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text("user,name\n" + "".join(f"u{i},name {i}\n" for i in range(300)))
    reading = read_interactions(likes, users=users)
    assert reading.people is not None
    assert not reading.people.words
    assert "users: column 'name' is left out: it holds too many different words" in reading.notes


def test_columns_that_are_named(likes: Path, tmp_path: Path) -> None:
    """Names as given or by number; a column named "none" is not used; what is not named is guessed; people's features are those named."""
    items, people = tmp_path / "items.csv", tmp_path / "people.csv"
    items.write_text("nr,Titel,Sorte,Inhalt,genre\n007,Bond,Spy,A man.,x\nb,Zed,Sea|Spy,Clocks.,y\nc,Sea,Sea,,z\n")
    people.write_text("wer,Alter,Stadt\nu1,30,Bern\nu2,40,Bonn\nu10,50,Bern\n")
    columns = Columns(
        items={"id": "nr", "title": "titel", "text": "3", "categories": "none"}, users={"id": "wer", "age": "Alter"}
    )
    reading = read_interactions(likes, columns=columns, items=items, users=people)
    assert reading.catalogue.titles == ("Bond", "Zed", "Sea")
    assert reading.catalogue.texts == ("A man.", "Clocks.", "")
    assert reading.catalogue.categories == ((), (), ())
    told = {role: name for role, name in reading.columns.items() if role.split()[0] in ("items", "users")}
    assert told == {
        "items id": "nr", "items title": "Titel", "items text": "Inhalt", "users id": "wer", "users age": "Alter",
    }  # fmt: skip
    assert reading.people is not None and list(reading.people.numbers) == ["age"] and not reading.people.words
    named = Columns(items={"categories": "Sorte"})
    assert read_interactions(likes, columns=named, items=items).catalogue.categories == (
        ("Spy",),
        ("Sea", "Spy"),
        ("Sea",),
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"titel": "name"}, "--items-columns 'titel' is not known. Did you mean 'title'?"),
        ({"title": "nmae", "text": "plto"}, "--items-columns title= 'nmae' .*'name'.*text= 'plto' .*'plot'"),
        ({"title": "name", "text": "name"}, "--items-columns title= and --items-columns text= both name 'name'"),
        ({"id": "none"}, "--items-columns id= 'none'"),
        ({"title": "id", "text": "name", "picture": "plot"}, "none is left for the ids"),
    ],
)
def test_columns_that_cannot_be(likes: Path, tmp_path: Path, given: dict[str, str], words: str) -> None:
    items = tmp_path / "items.csv"
    items.write_text("id,name,plot\n007,Bond,x\nb,Zed,y\n")
    with pytest.raises(UsageError, match=words):
        read_interactions(likes, columns=Columns(items=given), items=items)
    with pytest.raises(UsageError, match=r"--users-columns names columns .* none is given"):
        read_interactions(likes, columns=Columns(users={"id": "x"}))
