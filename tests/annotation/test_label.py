"""The verb from the command line: ranked items, answers gone on with, rules, and input that cannot be used."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.annotation.journal import Journal
from graft.annotation.pool import open_pool
from graft.annotation.work import open_answers
from graft.cli import main
from graft.data.read import read

WORDS = {"bread": ("flour", "oven", "crust"), "tool": ("steel", "hammer", "drill")}


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Twelve pictures of three colours, none labelled, in a folder whose name is no class."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "shots"
    folder.mkdir()
    for i in range(12):
        level = np.array([(200, 40, 40), (40, 180, 60), (60, 60, 220)][i % 3])
        pixels = np.clip(level + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code = main(["label", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def pixels(folder: Path, out: Path, *more: object) -> list[object]:
    return [folder, "--encoder", "pixels:4", "--out", out, *more]


def test_items_are_ranked_with_reasons(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, result = run(capsys, *pixels(shots, out, "--top", 3))
    assert code == 0 and result["how"] == "typical"
    assert len({int(item["id"][:2]) % 3 for item in result["items"]}) == 3, "one of each colour"
    rows = list(csv.DictReader((out / "next.csv").read_text().splitlines()))
    assert [row["item"] for row in rows] == [item["id"] for item in result["items"]]
    assert all(row["reason"] for row in rows)
    assert result["counts"]["unlabelled"] == 12 and (out / "labels.csv").read_text() == "image,label,item,by\n"
    assert main(["label", *map(str, pixels(shots, out))]) == 0
    assert "items to label next" in capsys.readouterr().out


def test_answers_become_a_table_that_fit_reads(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    of = open_pool(shots, encoder="pixels:4")
    with open_answers(out) as journal:
        for i in range(11):
            journal.answer(of.keys[i], of.ids[i], ("red", "green", "blue")[i % 3])
        journal.answer("0" * 32, "gone.png", "red")
    code, result = run(capsys, *pixels(shots, out, "--how", "margin"))
    assert code == 0 and result["how"] == "margin" and [i["id"] for i in result["items"]] == ["11.png"]
    assert result["counts"] == {
        "items": 12,
        "given": 0,
        "answered": 11,
        "skipped": 0,
        "unlabelled": 1,
        "gone": 1,
        "held_out": 0,
        "differ": 0,
    }
    table = read(out / "labels.csv")
    assert table.modality == "image" and len(table) == 11 and table.classes == ("blue", "green", "red")


def test_a_zip_has_its_pictures_copied(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", shots))
    out = tmp_path / "out"
    of = open_pool(archive, encoder="pixels:4")
    with open_answers(out) as journal:
        journal.answer(of.keys[0], of.ids[0], "red")
        journal.answer(of.keys[1], of.ids[1], "green")
    assert run(capsys, *pixels(archive, out))[0] == 0
    table = read(out / "labels.csv")
    assert len(table) == 2 and table.contents[0].read_bytes() == (shots / "00.png").read_bytes()  # type: ignore[union-attr]


def test_input_that_cannot_be_used(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, told = run(capsys, *pixels(shots, out, "--top", 0, "--seed", -1, "--port", 70000))
    assert code == 2 and all(word in told["error"]["message"] for word in ("--top 0", "--seed -1", "--port 70000"))
    assert run(capsys, *pixels(shots, out, "--how", "margin"))[0] == 2
    assert run(capsys, *pixels(shots, out, "--classes", "a,,a"))[0] == 2
    code, told = run(capsys, *pixels(shots, out, "--serve", "--rules", tmp_path / "rules"))
    assert code == 2 and "do not go together" in told["error"]["message"]
    assert run(capsys, *pixels(shots, out, "--rules", tmp_path / "rules"))[0] == 4
    assert run(capsys, tmp_path / "nowhere")[0] == 4
    code, told = run(capsys, *pixels(shots, shots))
    assert code == 2 and "holds other things" in told["error"]["message"]
    with open_answers(out):
        code, told = run(capsys, *pixels(shots, out))
    assert code == 4 and "Another process is at work" in told["error"]["message"]


def test_a_table_of_ones_own_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    data = reviews(tmp_path / "own" / "labels.csv", 2)
    before = data.read_bytes()
    code, told = run(capsys, data, "--out", data.parent)
    assert code == 2 and "holds other things (labels.csv)" in told["error"]["message"]
    assert data.read_bytes() == before and [path.name for path in data.parent.iterdir()] == ["labels.csv"]


def reviews(path: Path, labelled: int) -> Path:
    """120 sentences about bread and tools; the first `labelled` have labels; every third has no word of a rule."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        for i in range(120):
            label = ("bread", "tool")[i % 2]
            word = "thing" if i % 3 == 0 else WORDS[label][rng.integers(3)]
            about = "baking in a warm kitchen" if label == "bread" else "building in a cold workshop"
            table.writerow([f"Number {i}: a {word} for {about}.", label if i < labelled else ""])
    return path


def test_rules_become_weak_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, rules, out = reviews(tmp_path / "reviews.csv", 60), tmp_path / "rules.txt", tmp_path / "out"
    rules.write_text("bread\tflour, oven, crust\ntool\tsteel, hammer\ntool\t/drill/\nbread\tcinnamon\n")
    code, result = run(capsys, data, "--rules", rules, "--out", out)
    assert code == 0 and result["classes"] == ["bread", "tool"]
    assert [fault["problem"] for fault in result["faults"]] == ["it says nothing of any item"]
    spoken = result["rules"]
    assert spoken[0]["coverage"] == pytest.approx(1 / 3, abs=0.01) and spoken[0]["measured"]["value"] == 1
    assert spoken[0]["estimated"] > 0.85 and spoken[3]["estimated"] is None and spoken[3]["measured"] is None
    assert result["accuracy"]["value"] == 1
    assert [step["name"] for step in result["steps"]] == ["probe", "propagation", "self-training"]
    assert result["steps"][0]["used"], "the vectors tell kitchens from workshops"
    assert result["labelled"]["given"] == 60 and result["labelled"]["rules"] == 40
    table = read(out / "weak.csv", label="label")
    assert table.modality == "text" and len(table) == sum(result["labelled"].values())
    assert main(["label", str(data), "--rules", str(rules), "--out", str(out)]) == 0
    assert "estimated right" in capsys.readouterr().out


def test_without_judges_nothing_is_carried_further(tmp_path: Path) -> None:
    import graft

    data = reviews(tmp_path / "reviews.csv", 0)

    def fails(text: str) -> str | None:
        return "tool" if int(text.split()[-1]) else None

    rules = {
        "flour": lambda text: "bread" if "flour" in text else None,
        "steel": lambda t: "tool" if "steel" in t else None,
    }
    result = graft.label(data, rules=rules | {"fails": fails}, out=tmp_path / "out")
    assert not hasattr(result, "how") and all(not step.used and step.accuracy is None for step in result.steps)
    assert set(result.labelled) == {"rules"}
    assert any("failed on 120 of 120" in fault.problem for fault in result.faults)
    journal = Journal(tmp_path / "out")
    assert journal.answers == {}
    journal.close()


def test_faulty_rules_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, rules = reviews(tmp_path / "reviews.csv", 60), tmp_path / "rules.txt"
    rules.write_text("bred\tflour\ntool steel\ntool\t/(/\n")
    code, told = run(capsys, data, "--rules", rules, "--out", tmp_path / "out")
    assert code == 3 and [f["where"] for f in told["error"]["faults"]] == ["line 2", "line 3"], (
        "before anything is encoded"
    )
    rules.write_text("bred\tflour\ntol\tsteel\n")
    code, told = run(capsys, data, "--rules", rules, "--out", tmp_path / "out")
    assert code == 3 and "Did you mean 'bread'?" in told["error"]["faults"][0]["problem"]
    assert len(told["error"]["faults"]) == 2
    assert not (tmp_path / "out" / "weak.csv").exists()


def test_answers_of_other_data_are_not_mixed_in(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    of = open_pool(shots, encoder="pixels:4")
    with open_answers(out) as journal:
        journal.answer(of.keys[0], of.ids[0], "red")
    texts = reviews(tmp_path / "reviews.csv", 60)
    code, told = run(capsys, texts, "--out", out)
    assert code == 2 and "1 answer, and none is for an item of" in told["error"]["message"]
    assert not (out / "labels.csv").exists()
    assert run(capsys, *pixels(shots, out))[0] == 0


def test_a_table_edited_between_two_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows move, one goes, one gets a label of another kind in the table: answers stay with their texts, and what differs is told."""
    data, out = reviews(tmp_path / "reviews.csv", 0), tmp_path / "out"
    of = open_pool(data)
    with open_answers(out) as journal:
        for row in (3, 5, 7):
            journal.answer(of.keys[row], of.ids[row], "tool")
    head, *lines = data.read_text().splitlines()
    lines[5] += "bread"
    data.write_text("\n".join([head, *reversed(lines[:3] + lines[4:])]) + "\n")
    code, result = run(capsys, data, "--out", out)
    assert code == 0 and (result["counts"]["gone"], result["counts"]["differ"], result["counts"]["answered"]) == (
        1,
        1,
        2,
    )
    table = {row["text"]: row["label"] for row in csv.DictReader((out / "labels.csv").read_text().splitlines())}
    assert table == {of.contents[5]: "tool", of.contents[7]: "tool"}
    (out / "labels.csv").write_text("text,label\nmine,bread\n")
    assert main(["label", str(data), "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "1 answer unlike the label that stands in the data now" in told
        and "1 answer kept for items that are gone" in told
    )
    assert "labels-edited.csv" in told and (out / "labels-edited.csv").read_text().endswith("mine,bread\n")
