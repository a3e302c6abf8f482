"""`graft fit` and `graft predict` of numbers, counts, levels and sets of labels, on pictures whose vectors are their pixels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import graft
from graft.cli import main
from graft.errors import DataError, ModelError, UsageError
from graft.opened import load as load_classifier
from graft.results import from_json, to_json
from graft.tables.render import render
from graft.targets.opened import Estimator, open_target
from graft.targets.result import TargetResult

KINDS = {"light": "number", "dots": "count", "grade": "ordinal", "marks": "multilabel"}
HEADS = {"light": "ridge", "dots": "poisson", "grade": "proportional-odds", "marks": "one-vs-rest"}
LABELS = {"light": "light", "dots": "dots:count", "grade": "grade:ordinal=dark,dim,bright", "marks": "marks:multilabel"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred pictures of eight bands: how light three are beside three others, a count that grows with it, a grade; marks in two corners."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for i in range(100):
        bands, corners = rng.uniform(-1, 1, 8), rng.random(2) < 0.5
        light = 1.5 + (bands[:3].sum() - bands[3:6].sum()) / 2
        pixels = rng.normal(110, 8, (32, 32, 3)) + 40 * np.repeat(bands, 4)[:, None, None]
        pixels[:12, :12] += 60 * corners[0]
        pixels[20:, 20:] += 60 * corners[1]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        grade = ("dark", "dim", "bright")[int(np.digitize(light, [1, 2]))]
        marks = "|".join(name for name, there in zip(("first", "last"), corners, strict=True) if there) or "neither"
        rows.append((f"{i}.png", round(light, 4), rng.poisson(np.exp(light)), grade, marks))
    with (folder / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", *KINDS), *rows])
    return folder / "data.csv"


Fitted = Callable[[str], tuple[TargetResult, Path]]


@pytest.fixture(scope="module")
def fitted(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    made: dict[str, tuple[TargetResult, Path]] = {}

    def fit(name: str) -> tuple[TargetResult, Path]:
        if name not in made:
            out = tmp_path_factory.mktemp("fits") / name
            result = graft.fit(table, label=LABELS[name], encoder="pixels:8", test="0.3", out=out)
            assert isinstance(result, TargetResult)
            made[name] = result, out
        return made[name]

    return fit


@pytest.mark.parametrize("name", KINDS)
def test_the_head_is_taken_because_it_errs_less(fitted: Fitted, name: str) -> None:
    result, out = fitted(name)
    assert (result.task, result.chosen) == (KINDS[name], HEADS[name])
    assert [s.name for s in result.strategies] == ["constant", "k-nn", HEADS[name]]
    assert result.chosen_result.gain is not None
    assert (result.chosen_result.gain.low or 0) > 0
    assert result.test is not None
    assert all(of.n == result.data.test for of in result.test.values())
    assert sorted(path.name for path in out.iterdir()) == ["model", "report.html", "result.json", "split.json"]
    assert from_json(TargetResult, json.loads((out / "result.json").read_text())) == from_json(
        TargetResult, to_json(result)
    )


@pytest.mark.parametrize(
    ("name", "measure", "least"),
    [("light", "r2", 0.8), ("dots", "d2", 0.3), ("grade", "kappa", 0.6), ("marks", "micro_f1", 0.8)],
)
def test_it_is_as_good_as_such_pictures_allow(fitted: Fitted, name: str, measure: str, least: float) -> None:
    result, _ = fitted(name)
    assert result.test is not None
    assert result.test[measure].value > least


@pytest.mark.parametrize("name", KINDS)
def test_it_is_opened_and_answers(fitted: Fitted, table: Path, name: str) -> None:
    _, out = fitted(name)
    model = graft.load(out)
    assert isinstance(model, Estimator)
    (answer,) = model.predict([table.parent / "3.png"])
    row = model.predict_array([table.parent / "3.png"])[0]
    if name in ("light", "dots"):
        assert answer.value == row[0] and answer.low is not None and answer.high is not None
        assert answer.low <= row[0] <= answer.high
    if name == "dots":
        assert float(answer.low or 0).is_integer()
    if name == "grade":
        assert answer.probabilities == tuple(zip(("dark", "dim", "bright"), row, strict=True))
        assert row.sum() == pytest.approx(1)
        assert answer.labels[0] in model.manifest.classes[int(answer.low or 0) : int(answer.high or 0) + 1]
    if name == "marks":
        thresholds = dict(zip(model.manifest.classes, model.manifest.answers["thresholds"], strict=True))
        assert set(answer.labels) == {label for label, p in answer.probabilities if p >= thresholds[label]}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_answers_are_written(fitted: Fitted, table: Path, tmp_path: Path, name: str, suffix: str) -> None:
    from pyarrow.parquet import read_table

    _, out = fitted(name)
    target = tmp_path / f"answers{suffix}"
    graft.predict(out, [str(table.parent / f"{i}.png") for i in (1, 2)], out=target)
    read: dict[str, Callable[[], list[Any]]] = {
        ".csv": lambda: list(csv.DictReader(target.read_text().splitlines())),
        ".jsonl": lambda: [json.loads(line) for line in target.read_text().splitlines()],
        ".parquet": lambda: read_table(target).to_pylist(),
    }
    rows = read[suffix]()
    assert [Path(row["item"]).name for row in rows] == ["1.png", "2.png"]
    wanted = {"light": "value", "dots": "high", "grade": "label", "marks": "labels"}[name]
    assert all(str(row[wanted]) for row in rows)


@pytest.mark.parametrize("name", KINDS)
def test_people_and_programs_see_it(fitted: Fitted, table: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result, out = fitted(name)
    words = render(result, terminal=False)
    assert f"task: {KINDS[name]} (" in words
    assert " was chosen." in words and "errs less than" in words
    assert main(["show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == KINDS[name]
    assert main(["show", str(out / "model")]) == 0
    assert KINDS[name] in capsys.readouterr().out
    assert main(["predict", str(out), str(table.parent / "5.png")]) == 0
    assert "5.png" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "Largest errors" in page
    assert ("<circle" in page) == (name in ("light", "dots"))
    assert "Answers" in (out / "model" / "README.md").read_text()


def test_it_is_served(fitted: Fitted, table: Path) -> None:
    """All four by one server: facts, answers of the same numbers as `graft.load` gives, and a refusal of texts for pictures."""
    import httpx
    from tests.server.conftest import running

    from graft.server.releases import open_releases

    folders = [fitted(name)[1] for name in KINDS]
    picture = (table.parent / "3.png").read_bytes()
    with running({}, open_releases(folders).models) as (url, _), httpx.Client(base_url=url, timeout=30) as client:
        facts = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
        assert {name: fact["task"] for name, fact in facts.items()} == KINDS
        assert facts["grade"]["classes"] == ["dark", "dim", "bright"]
        assert [facts[name]["coverage"] for name in KINDS] == [0.9, 0.9, 0.9, None]
        for name, out in zip(KINDS, folders, strict=True):
            path, sent = f"/v1/models/{name}/predict/upload", {"picture": ("3.png", picture)}
            (found,) = client.post(path, files=sent, data={"top": "1"}).json()["predictions"]
            (wanted,) = graft.load(out).predict([table.parent / "3.png"])
            assert found["labels"] == list(wanted.labels)
            for field in ("value", "low", "high"):
                assert found[field] == pytest.approx(getattr(wanted, field))
            assert len(found["probabilities"]) == {"grade": 3, "marks": 1}.get(name, 0)
        refused = client.post("/v1/models/light/predict", json={"texts": ["a text"]})
        assert refused.status_code == 400
        assert "answers images; texts were sent" in refused.json()["error"]["message"]
        assert client.get("/models/light").status_code == 200


def test_its_page_says_what_it_answers(fitted: Fitted, tmp_path: Path) -> None:
    from tests.server.browser import browser
    from tests.server.conftest import running

    from graft.server.releases import open_releases

    wanted = {
        "light": "Answers a picture with a number and its interval.",
        "grade": "Gives a picture one of 3 ordered levels: dark, dim, bright.",
    }
    models = open_releases([fitted(name)[1] for name in wanted]).models
    with running({}, models) as (url, _), browser(tmp_path) as page:
        for name, lead in wanted.items():
            page.go(f"{url}/models/{name}", "document.getElementById('lead').textContent")
            assert page.see("document.getElementById('lead').textContent") == lead
            assert "Answer:" in page.see("document.querySelector('nav').textContent")
        assert not page.complaints


def test_a_target_nothing_tells_of_is_answered_by_the_constant(table: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = tmp_path / "noise.csv"
    noise.write_text("image,label\n" + "\n".join(f"{table.parent / f'{i}.png'},{rng.normal():.4f}" for i in range(60)))
    result = graft.fit(noise, encoder="pixels:8", out=tmp_path / "out")
    assert isinstance(result, TargetResult)
    assert (result.task, result.chosen) == ("number", "constant")
    assert "not shown to say more" in result.why
    assert "<circle" not in (tmp_path / "out" / "report.html").read_text()  # one answer for all is no picture
    assert graft.load(tmp_path / "out").predict([table.parent / "1.png"])[0].value == pytest.approx(
        result.target["mean"]
    )


def test_the_same_seed_gives_the_same(fitted: Fitted, table: Path, tmp_path: Path) -> None:
    result, out = fitted("dots")
    again = graft.fit(table, label=LABELS["dots"], encoder="pixels:8", test="0.3", out=tmp_path / "again")
    assert isinstance(again, TargetResult)
    assert again.test == result.test
    weights = [folder / "model" / "head.safetensors" for folder in (out, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_few_items_hold_nothing_out(table: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))[:12]
    few.write_text("image,label\n" + "\n".join(f"{table.parent / row['image']},{row['grade']}" for row in rows))
    result = graft.fit(
        few, label="label:ordinal=dark,dim,bright", encoder="pixels:8", coverage=0.99, out=tmp_path / "out"
    )
    assert isinstance(result, TargetResult)
    assert result.test is None
    assert result.reach is not None
    assert result.reach.value is None  # 12 items cannot promise 99 %
    assert graft.load(tmp_path / "out").predict([table.parent / "1.png"])[0].low is None


def test_flags_for_classes_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--strategies, --shots: for classes, and the labels are taken as number"):
        graft.fit(table, label="light", strategies="frozen", shots=3, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    for i in range(15):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    (tmp_path / "bad.csv").write_text("image,label\n" + "\n".join(f"{i}.png,{i / 3}" for i in range(15)))
    with pytest.raises(DataError, match="No item"):
        graft.fit(tmp_path / "bad.csv", label="label:number", encoder="pixels:8", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_openers_refuse_it(fitted: Fitted) -> None:
    _, out = fitted("light")
    with pytest.raises(ModelError, match="not a classifier"):
        load_classifier(out)


def test_a_changed_model_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    import shutil

    _, out = fitted("light")
    shutil.copytree(out / "model", tmp_path / "model")
    (tmp_path / "model" / "head.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="was changed"):
        open_target(tmp_path / "model")
