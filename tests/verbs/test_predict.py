"""`graft predict` and `graft.load` on real models: answers, refusals, files, and what happens when a person stops it."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import graft
from graft import cli
from graft.data.dataset import ImageSource
from graft.errors import DataError, MissingError, UsageError
from graft.opened import Predictions
from graft.verbs.predict import predict

BOAT, BREAD, NEITHER = "A sailing boat enters the port.", "Knead the dough and let it rise.", "Seven."
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `graft predict ... --json` in this process: exit code, the object printed, stderr."""

    def call(*words: str | Path) -> tuple[int, Any, str]:
        code = cli.main(["predict", *map(str, words), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return call


def test_texts_are_answered(model: Path, run: Run) -> None:
    code, tree, err = run(model, BOAT, BREAD)
    assert (code, err, tree["faults"]) == (0, "", [])
    assert [(p["item"], p["label"]) for p in tree["predictions"]] == [(BOAT, "harbour"), (BREAD, "kitchen")]
    for p in tree["predictions"]:
        assert [p["label"], p["probability"]] == p["top"][0]
        assert sum(q for _, q in p["top"]) == pytest.approx(1.0)


def test_people_read_a_table(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(model), BOAT, "", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "harbour" in out and "kitchen" not in out and "1 item could not be used" in out


def test_the_library_answers_alike(model: Path) -> None:
    opened = graft.load(model)
    answers = opened.predict([BOAT, BREAD])
    assert (opened.classes, opened.modality, opened.threshold) == (("harbour", "kitchen"), "text", 0.52)
    both, one = predict(model, [BOAT, BREAD]), predict(model, BOAT)
    assert isinstance(both, Predictions) and isinstance(one, Predictions)
    assert tuple(answers) == both.predictions == (answers[0], *answers[1:])
    alone = one[0]
    assert (alone.item, alone.label) == (BOAT, "harbour")
    assert alone.probability == pytest.approx(answers[0].probability, abs=1e-6)
    p_NC = opened.predict_proba([BOAT, BREAD])
    assert p_NC.dtype == np.float64
    np.testing.assert_allclose(p_NC.sum(axis=1), 1.0)
    assert [float(p) for p in p_NC.max(axis=1)] == [a.probability for a in answers]
    assert len(opened.predict([])) == 0


def test_it_abstains_below_the_threshold(model: Path, tmp_path: Path, run: Run) -> None:
    shutil.copytree(model, tmp_path / "m")
    signed(tmp_path / "m", abstention={"threshold": 0.999, "coverage": 0.9, "measured_on": "folds"})
    first = run(tmp_path / "m", NEITHER)[1]["predictions"][0]
    assert first["label"] is None and first["probability"] < 0.999
    assert first["top"][0][1] == first["probability"]


def signed(folder: Path, **changes: Any) -> None:
    """Change a manifest so that its own digest fits."""
    tree = json.loads((folder / "graft.json").read_text()) | changes
    tree.pop("digest", None)
    tree["digest"] = hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (folder / "graft.json").write_text(json.dumps(tree))


def test_changed_newer_and_foreign_models_are_refused(model: Path, tmp_path: Path, run: Run) -> None:
    def refused(folder: Path) -> str:
        code, tree, _ = run(folder, BOAT)
        assert code == tree["error"]["exit_code"] == 3
        return str(tree["error"]["message"])

    for name in ("changed", "newer", "foreign"):
        shutil.copytree(model, tmp_path / name)
    with (tmp_path / "changed" / "head.safetensors").open("ab") as stream:
        stream.write(b"\0")
    assert "head.safetensors was changed" in refused(tmp_path / "changed")
    signed(tmp_path / "newer", schema=99)
    assert "newer" in refused(tmp_path / "newer")
    encoder = json.loads((model / "graft.json").read_text())["encoder"]
    signed(tmp_path / "foreign", encoder=encoder | {"fingerprint": "0" * 64})
    message = refused(tmp_path / "foreign")
    assert "'minilm' with fingerprint 000000000000" in message and encoder["fingerprint"][:12] in message
    signed(tmp_path / "foreign", encoder=encoder | {"reference": f"dir:{tmp_path}/gone"})
    code, tree, _ = run(tmp_path / "foreign", BOAT)
    assert code == 4 and "gone" in tree["error"]["message"]


def test_pictures_are_answered_and_broken_ones_listed(
    picture_model: Path, pictures: Path, tmp_path: Path, run: Run
) -> None:
    shutil.copytree(pictures, tmp_path / "in")
    (tmp_path / "in" / "broken.png").write_bytes((pictures / "7.png").read_bytes()[:40])
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    code, tree, _ = run(picture_model, tmp_path / "in")
    assert code == 0
    assert [(p["item"], p["label"]) for p in tree["predictions"]] == [
        (f"{i}.png", "bright" if i >= 4 else "dark") for i in range(8)
    ]
    assert [fault["where"] for fault in tree["faults"]] == ["broken.png", "empty.jpg"]
    opened = graft.load(picture_model)
    one = ImageSource(pictures / "7.png")
    assert [a.label for a in opened.predict([one, pictures / "0.png", str(pictures / "6.png")])] == [
        "bright",
        "dark",
        "bright",
    ]
    with pytest.raises(DataError, match="1 of 2") as caught:
        opened.predict_proba([one, tmp_path / "in" / "broken.png"])
    assert caught.value.faults[0].where.endswith("broken.png")


def test_the_wrong_kind_of_item_is_refused(model: Path, picture_model: Path, pictures: Path, run: Run) -> None:
    code, tree, _ = run(model, pictures / "0.png")
    assert code == 3
    assert tree["error"]["faults"][0]["problem"] == "a picture; this model reads texts"
    code, tree, _ = run(picture_model, "a text", "another")
    assert code == 3
    assert [f["where"] for f in tree["error"]["faults"]] == ["a text", "another"]
    with pytest.raises(UsageError, match="pictures"):
        predict(picture_model, ["a text"], text=True)


def test_what_is_no_list_of_items_is_refused(model: Path) -> None:
    with pytest.raises(DataError, match=r"\[item\]"):
        graft.load(model).predict(BOAT)
    with pytest.raises(DataError, match="PosixPath"):
        graft.load(model).predict([Path("x")])
    with pytest.raises(UsageError, match="--top 0"):
        predict(model, [BOAT], top=0)
    with pytest.raises(MissingError, match="no model"):
        graft.load(model / "nothing")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(f"id,body\n1,{BOAT}\n2,\n3,{BREAD}\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_answers_are_written_to_a_new_table(model: Path, table: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    answers = predict(model, [str(table)], out=out)
    assert isinstance(answers, Predictions)
    assert [a.item for a in answers] == ["0", "2"]
    assert answers.out == str(out)
    if suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
        assert rows[0]["top"][0] == {"label": "harbour", "probability": answers[0].probability}
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert rows[0]["top"][0] == ["harbour", answers[0].probability]
    else:
        with out.open(newline="") as stream:
            rows = [*csv.DictReader(stream, delimiter="\t" if suffix == ".tsv" else ",")]
        assert rows[0]["top_2"] == "kitchen" and float(rows[0]["p_1"]) == answers[0].probability
    assert [row["label"] for row in rows] == ["harbour", "kitchen"]
    with pytest.raises(UsageError, match="exists"):
        predict(model, [str(table)], out=out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", out.name]


def test_a_table_of_unknown_kind_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.xlsx.*Allowed: \.csv"):
        predict(tmp_path / "no model", [BOAT], out=tmp_path / "a.xlsx")


def test_lines_in_answers_out_and_no_torch(model: Path) -> None:
    code = f"""import sys, graft.cli
code = graft.cli.main(["predict", {str(model)!r}, "-", "--json"])
sys.exit(99 if "torch" in sys.modules else code)"""
    done = subprocess.run([sys.executable, "-c", code], input=f"{BOAT}\n\n{BREAD}\n", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [p["label"] for p in json.loads(done.stdout)["predictions"]] == ["harbour", "kitchen"]


def test_a_stopped_process_says_how_to_go_on(model: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "graft", "predict", str(model), "-"],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdin is not None
        waiting.stdin.write("half a li")
        waiting.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
        waiting.send_signal(signal.SIGINT)
        assert waiting.stderr is not None and waiting.stdout is not None
        assert waiting.stderr.read() == (
            "error: Stopped. What was encoded, trained or measured by then is kept: give the same command again and it goes on from there.\n"
        )
        assert waiting.stdout.read() == ""
    assert waiting.returncode == 130
