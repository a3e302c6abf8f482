"""`graft recommend` from first to last, through the command line, on a generated catalogue and on people's odd tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import graft
from graft.cli import main
from graft.recommending.opened import OpenedRecommender

SMALL = "data:streamrec:people=300,items=120,seed=1"
FEW = "popularity,recent-popularity,item-knn,als,with-trend"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("recommend") / "films"
    result = graft.fit_recommender(SMALL, out=out, models=FEW, budget="5s")
    return out, result


def test_the_folder_and_its_evidence(films: tuple[Path, Any]) -> None:
    out, result = films
    assert {p.name for p in out.iterdir()} == {"result.json", "report.html", "model"}
    tree = json.loads((out / "result.json").read_text())
    assert tree["chosen"] == result.chosen and tree["measure"] == "ndcg@10"
    assert [m["name"] for m in tree["models"]] == FEW.split(",")
    for one in result.models:
        assert one.status == "measured" and one.metrics["hr@10"].n == result.parts.people
        assert one.metrics["hr@10"].low <= one.metrics["hr@10"].value <= one.metrics["hr@10"].high
        assert one.metrics["hr@10"].value <= one.metrics["hr@100"].value
    assert result.parts.how == "time" and result.data.likes > 1000
    html = (out / "report.html").read_text()
    assert "<html" in html and result.chosen in html and len(html) < 5_000_000
    assert not list(out.rglob("*.pkl"))


def test_taste_is_found_where_there_is_some(films: tuple[Path, Any]) -> None:
    """The catalogue is drawn from tastes, so a personal model beats popularity."""
    _, result = films
    assert result.chosen not in ("popularity", "recent-popularity")
    best = result.chosen_result
    assert best.gain.low > 0
    popularity = result.models[0]
    assert best.metrics["ndcg@10"].value > popularity.metrics["ndcg@10"].value


def test_for_and_like(films: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = films
    model = graft.load(out)
    assert isinstance(model, OpenedRecommender)
    title = model.title(3)
    code, like = run(capsys, "recommend", "like", str(out), title.lower(), "--top", "5")
    assert code == 0 and len(like["recommendations"]) == 5 and like["asked"] == [title]
    assert all(set(r) == {"item", "title", "score", "reason"} for r in like["recommendations"])
    user = model.interactions.users[0]
    code, known = run(capsys, "recommend", "for", str(out), "--user", user, "--top", "7")
    assert code == 0 and len(known["recommendations"]) == 7
    seen = set(model.interactions.item_N[model.interactions.user_N == 0].tolist())
    assert not seen & {model.interactions.items.index(r["item"]) for r in known["recommendations"]}
    code, new = run(capsys, "recommend", "for", str(out), "--history", f"{title},{model.title(5)}")
    assert code == 0 and set(new["asked"]) == {title, model.title(5)}
    code, unknown = run(capsys, "recommend", "for", str(out), "--user", "nobody at all")
    assert code == 0 and "nobody called" in unknown["notes"][0]


def test_what_cannot_be_asked(films: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = films
    code, tree = run(capsys, "recommend", "like", str(out), "zzzzqqqq xxyy")
    assert code == 3 and "is not among the 120 items" in tree["error"]["message"]
    code, tree = run(capsys, "recommend", "for", str(out))
    assert code == 2 and "--history" in tree["error"]["message"]
    code, tree = run(capsys, "recommend", "fit", SMALL, "--out", str(out))
    assert code == 2 and "never overwritten" in tree["error"]["message"]
    code, tree = run(capsys, "recommend", "fit", SMALL, "--models", "eas", "--events", "view")
    assert code == 2 and "ease" in tree["error"]["message"] and "kind=strength" in tree["error"]["message"]
    code, tree = run(capsys, "recommend", "like", str(out.parent / "nothing"), "x")
    assert code == 4 and "graft recommend fit" in tree["error"]["message"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["u,i", "1,a"], "none could be held out"),
        (["u,i", *(f"1,{i}" for i in range(30))], "random"),
        (["u,i", *(f"{u},a" for u in range(30))], "random"),
    ],
)
def test_tables_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[str], words: str) -> None:
    """One row, one person, one item: an answer or a clear refusal, never a traceback, and no folder left behind where it is refused."""
    table = tmp_path / "likes.csv"
    table.write_text("\n".join(rows))
    out = tmp_path / "out"
    code, tree = run(
        capsys, "recommend", "fit", str(table), "--user", "u", "--item", "i", "--out", str(out), "--budget", "2s"
    )
    if code == 0:
        assert tree["parts"]["how"] == words and tree["chosen"] == "popularity"
    else:
        assert code == 3 and not out.exists(), tree


def tables(folder: Path) -> tuple[str, ...]:
    """Thirty people, each of whom has viewed eight of 23 items and left some of them, a day apart."""
    views = [
        (u, (u * 7 + i * i) % 23, ("view", "left")[(u + i) % 4 == 0], f"2024-01-{i + 1:02d}")
        for u in range(30)
        for i in range(8)
    ]
    (folder / "views.csv").write_text("\n".join(["user,item,event,time", *(",".join(map(str, row)) for row in views)]))
    (folder / "items.csv").write_text(
        "\n".join(["item,title,category", *(f"{i},Film {i},{'abc'[i % 3]}" for i in range(23))])
    )
    return str(folder / "views.csv"), "--items", str(folder / "items.csv")


def test_two_towers_as_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = "dims=8,epochs=1,temperature=0.3,random=0.5,same_category=0.25,left=0.25,logq=off,calendar=on"
    out = tmp_path / "out"
    words = ("recommend", "fit", *tables(tmp_path), "--out", str(out), "--models", "two-tower", "--budget", "1s")
    code, tree = run(capsys, *words, "--tower", told)
    (towers,) = [model for model in tree["models"] if model["name"] == "two-tower"]
    assert code == 0 and towers["status"] == "measured" and towers["settings_known"] == 1
    assert towers["settings"] == {
        "dims": 8,
        "temperature": 0.3,
        "epochs": 1,
        "training": {
            "negatives": {"random": 0.5, "in_batch": 0.0, "same_category": 0.25, "left": 0.25},
            "logq": False,
            "calendar": True,
        },
    }
    assert "--tower" in tree["command"]
    assert "same_category 0.25" in (out / "report.html").read_text()


def test_two_towers_told_wrongly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ("recommend", "fit", tables(tmp_path)[0], "--out", str(out), "--tower")
    code, tree = run(capsys, *words, "temprature=1,dims=many", "--budget", "soon")
    assert code == 2 and not out.exists()
    for word in ("--tower", "Did you mean 'temperature'", "dims=many", "soon"):
        assert word in tree["error"]["message"]
    code, tree = run(capsys, *words, "epochs=1", "--models", "als")
    assert code == 2 and "Add two-tower" in tree["error"]["message"]
    code, tree = run(capsys, *words, "same_category=1,epochs=1", "--models", "two-tower")
    (towers,) = [model for model in tree["models"] if model["name"] == "two-tower"]
    assert code == 0 and towers["status"] == "skipped" and "no item has a category" in towers["reason"]
