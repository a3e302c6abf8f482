"""`graft recommend` on tables as people have them: an answer with a note, or a refusal that says why, never a traceback or a half-written folder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from graft.cli import main

DAY, START = 86_400, 1_577_836_800  # 1 January 2020
PLAIN = "popularity,item-knn"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def pairs(people: int = 60, items: int = 30, each: int = 6) -> list[tuple[int, int]]:
    draw = random.Random(0)
    return [(user, item) for user in range(people) for item in draw.sample(range(items), each)]


class Table:
    """A table of likes, fitted and asked through the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys, self.out = folder, capsys, folder / "out"

    def fit(self, rows: list[str], *flags: str, models: str = PLAIN) -> tuple[int, dict[str, Any]]:
        path = self.folder / "likes.csv"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        words = ("--models", models, "--budget", "1s", "--out", str(self.out))
        code, tree = run(self.capsys, "recommend", "fit", str(path), *words, *flags)
        assert self.out.exists() == (code == 0)
        assert not [p for p in self.folder.iterdir() if p.name.startswith(".")]
        return code, tree

    def ask(self, verb: str, *words: str) -> tuple[int, dict[str, Any]]:
        return run(self.capsys, "recommend", verb, str(self.out), *words)


@pytest.fixture
def table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Table:
    return Table(tmp_path, capsys)


def test_one_person_with_times(table: Table) -> None:
    code, tree = table.fit(["user,item,time", *(f"1,{i},{START + i * DAY}" for i in range(30))])
    assert code == 3 and "More likes a person" in tree["error"]["message"]


def test_one_item_with_times(table: Table) -> None:
    code, tree = table.fit(["user,item,time", *(f"{u},a,{START + u * DAY}" for u in range(30))])
    assert code == 3 and "more likes a person" in tree["error"]["message"]


def test_someone_who_has_every_item(table: Table) -> None:
    rows = ["user,item", *(f"{u},{i}" for u, i in pairs()), *(f"all,{i}" for i in range(30))]
    code, tree = table.fit(rows)
    assert code == 0 and "no times" in " ".join(tree["data"]["notes"])
    code, tree = table.ask("for", "--user", "all")
    assert (code, tree["recommendations"]) == (0, []) and "only 0 of the 10" in tree["notes"][0]
    code, tree = table.ask("for", "--user", "all", "--include-seen", "--top", "99")
    assert (code, len(tree["recommendations"])) == (0, 30) and "only 30 of the 99" in tree["notes"][0]
    code, tree = table.ask("like", "3", "--top", "1000")
    assert (code, len(tree["recommendations"])) == (0, 29)
    assert table.ask("like", "3", "--top", "0")[0] == 2


def test_unknown_people_titles_and_histories(table: Table) -> None:
    titles = table.folder / "films.csv"
    titles.write_text("item,title\n" + "\n".join(f"{i},The {w} Film" for i, w in enumerate(("Red", "Blue") * 15)))
    assert table.fit(["user,item", *(f"{u},{i}" for u, i in pairs())], "--items", str(titles))[0] == 0
    code, tree = table.ask("for", "--user", "nobody")
    assert (code, len(tree["recommendations"])) == (0, 10) and 'nobody called "nobody"' in tree["notes"][0]
    code, tree = table.ask("for", "--history", "xxyy,zzqq")
    assert code == 3 and '"xxyy"' in tree["error"]["message"] and '"zzqq"' in tree["error"]["message"]
    code, tree = table.ask("for", "--history", "3,zzqq")
    assert code == 0 and tree["notes"] == ['"zzqq" is not known and was left out']
    code, tree = table.ask("like", "A movie of the very blue sort")
    assert code == 3 and 'Nearest: "The Blue Film"' in tree["error"]["message"]


def test_three_forms_of_time_ratings_as_texts_and_odd_ids(table: Table) -> None:
    """Ids keep their zeros and their letters; every time is read by its own form, and the forms are told."""
    forms = (lambda d: f"2020-01-{d:02d}", lambda d: str(START + DAY * (d - 1)), lambda d: f"Jan {d} 2020")
    rows = [
        f'{user:03d},é{item:02d},"{3 + place % 3}","{forms[place % 3](1 + place % 28)}"'
        for place, (user, item) in enumerate(pairs())
    ]
    code, tree = table.fit(["user,item,rating,time", *rows])
    assert code == 0 and "times come in 3 forms" in " ".join(tree["data"]["notes"])
    assert tree["data"]["likes"] == sum(place % 3 > 0 for place in range(len(rows)))  # four and five of five
    code, tree = table.ask("for", "--user", "003")
    assert not tree["notes"] and all(r["item"].startswith("é") for r in tree["recommendations"])
    assert "nobody" in table.ask("for", "--user", "3")[1]["notes"][0]


def test_features_that_are_no_numbers(table: Table) -> None:
    items, people = table.folder / "items.csv", table.folder / "people.csv"
    items.write_text(
        "item,title,categories,date\n"
        + "\n".join(f"{i},Film {i},{'A|B' if i % 2 else ''},{'nan' if i % 3 else ''}" for i in range(30))
    )
    people.write_text(
        "user,age,town\n"
        + "\n".join(f"{u},{('nan', 'inf', '', '31')[u % 4]},{'x' if u % 4 else ''}" for u in range(60))
    )
    rows = [f"{u},{i},{START + DAY * place}" for place, (u, i) in enumerate(pairs())]
    code, tree = table.fit(
        ["user,item,time", *rows], "--items", str(items), "--users", str(people), models="popularity,two-tower"
    )
    assert code == 0 and [m["status"] for m in tree["models"]] == ["measured", "measured"]
    assert all(r["score"] == r["score"] for r in table.ask("for", "--user", "1")[1]["recommendations"])


def test_ratings_that_are_no_numbers_are_listed(table: Table) -> None:
    rows = [f"{u},{i},{'nan' if place % 9 == 0 else 5}" for place, (u, i) in enumerate(pairs())]
    code, tree = table.fit(["user,item,rating", *rows])
    assert code == 3 and "row 0: its rating is no number (nan)" in tree["error"]["message"]


def test_a_pair_repeated_without_end_is_one_like(table: Table) -> None:
    code, tree = table.fit(["user,item,rating", *["1,a,5"] * 50_000])
    assert code == 3 and "too few to hold some out" in tree["error"]["message"]
    rows = [f"{u},{i},5" for u, i in pairs()]
    code, tree = table.fit(["user,item,rating", *["0,0,5"] * 50_000, *rows])
    first = (0, 0) in pairs()
    assert (
        code == 0
        and tree["data"]["merged"] == 50_000 - (not first)
        and tree["data"]["likes"] == len(rows) + (not first)
    )
