"""`graft recommend` with tables of items and people under names of their own, asked about items that nobody has met, through the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graft.cli import main

FILMS = 120
PLOTS = ("ships and sailors on the stormy sea, part", "rockets and astronauts in outer space, part")
COLOURS = ((10, 40, 200), (200, 30, 10))
COLUMNS = "id=Key,title=Name,text=Plot,picture=File"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty people of whom half like films of the sea and half films of space, in tables whose columns no guess would find."""
    folder, draw = tmp_path_factory.mktemp("films"), random.Random(0)
    films = ["Key,Name,Plot,File,Odd"]
    for film in range(FILMS):
        red, green, blue = COLOURS[film % 2]
        Image.new("RGB", (8, 8), (red + film % 7, green, blue)).save(folder / f"{film:03d}.png")
        films.append(f'f{film:03d},Film {film},"{PLOTS[film % 2]} {film}",{film:03d}.png,{film}')
    likes, people = ["who;what;when"], ["Card,Years,Town"]
    for person in range(80):
        people.append(f"p{person},{20 + person % 50},{'Hull' if person % 2 else 'Ulm'}")
        for day, film in enumerate(draw.sample(range(person % 2, FILMS, 2), 12)):
            likes.append(f"p{person};f{film:03d};{1_577_836_800 + 86_400 * (20 * day + draw.randrange(20))}")
    for name, rows in (("films.csv", films), ("likes.csv", likes), ("people.csv", people)):
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    Image.new("RGB", (8, 8), (12, 35, 190)).save(folder / "new.png")
    return folder


@pytest.fixture(scope="module")
def words(tables: Path) -> list[str]:
    flags = ["--user", "who", "--item", "what", "--time", "when", "--models", "popularity,als", "--budget", "2s"]
    beside = ["--items", str(tables / "films.csv"), "--users", str(tables / "people.csv")]
    return ["recommend", "fit", str(tables / "likes.csv"), *flags, *beside]


def test_named_columns_and_items_nobody_has_met(
    tables: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tables / "out")
    code, result = run(capsys, *words, "--items-columns", COLUMNS, "--users-columns", "id=Card,age=Years", "--out", out)
    assert code == 0, result
    assert {cold["way"] for cold in result["cold"] if cold["way"]} >= {"text", "image"}
    for asked in (["--text", "a captain and a ship in a storm"], ["--image", str(tables / "new.png")]):
        code, found = run(capsys, "recommend", "like", out, *asked, "--top", "8")
        assert code == 0 and len(found["recommendations"]) == 8
        assert all(int(row["item"][1:]) % 2 == 0 for row in found["recommendations"]), asked  # films of the sea
        assert all(row["title"] == f"Film {int(row['item'][1:])}" for row in found["recommendations"])
    code, refused = run(capsys, "recommend", "like", out, "Film 3", "--text", "a ship")
    assert code == 2 and "one of the three" in refused["error"]["message"]
    code, refused = run(capsys, "recommend", "like", out, "--image", str(tables / "films.csv"))
    assert code != 0 and "films.csv" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--items-columns", "id=Nope,title=Name"], ["Nope", "File, Key, Name, Odd, Plot"]),
        (["--items-columns", "id=Key,colour=Odd"], ["colour", "title"]),
        (["--items-columns", "id"], ["role=column"]),
        (["--items-columns", "id=Key,id=Name"], ["two columns for id"]),
        (["--users-columns", "age=Years,id=Nobody"], ["Nobody", "Card"]),
    ],
)
def test_columns_that_are_not_there(
    tables: Path, words: list[str], capsys: pytest.CaptureFixture[str], flags: list[str], named: list[str]
) -> None:
    code, refused = run(capsys, *words, *flags, "--out", str(tables / "refused"))
    assert code == 2, refused
    assert all(part in refused["error"]["message"] for part in named), refused
    assert not (tables / "refused").exists()
