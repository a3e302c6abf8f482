"""A result run again from its record: the same to the bit, and told apart where something else was done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.small_inputs import pictures

import graft
from graft import cli
from graft.errors import DataError, MissingError, ModelError
from graft.fitting.reproduction import Difference, compared, recorded, verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of a few pictures, by the command line, with its data beside it."""
    folder = tmp_path_factory.mktemp("made")
    data = pictures(folder / "p", 24)
    words = ["fit", str(data), "--encoder", "pixels", "--strategies", "prototypes,linear-probe"]
    assert cli.main([*words, "--out", str(folder / "out"), "--json"]) == 0
    return folder / "out"


def edited(made: Path, place: Path, change: dict[str, object]) -> Path:
    """A copy of the result with other values at its top."""
    shutil.copytree(made, place)
    file = place / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return place


def test_the_same_again_to_the_bit(made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", str(made / "result.json"), "--out", str(tmp_path / "again")]) == 0
    assert "same to the bit" in capfd.readouterr().out
    count, differences, causes = compared(made, tmp_path / "again")
    assert count > 100 and not differences and not causes
    assert verdict(made, tmp_path / "again", differences, causes)[0] == "same"
    assert (tmp_path / "again" / "report.html").is_file()


def test_another_seed_is_named_as_the_cause(made: Path, tmp_path: Path) -> None:
    command = json.loads((made / "result.json").read_text())["command"]
    other = edited(made, tmp_path / "other", {"command": f"{command} --seed 5"})
    found = graft.reproduce(other, out=tmp_path / "again")
    assert found.verdict in ("alike", "different") and "may be the cause: seed." in found.why
    assert "file split.json" in {d.what for d in found.differences} and [d.what for d in found.causes] == ["seed"]


def test_data_that_changed_are_named_as_the_cause(made: Path, tmp_path: Path) -> None:
    tree = json.loads((made / "result.json").read_text())
    more = edited(
        made,
        tmp_path / "more",
        {"data": tree["data"] | {"items": 25}, "test": {"accuracy": {"value": 2, "low": 2, "high": 2, "n": 5}}},
    )
    count, differences, causes = compared(more, made)
    assert count > 100 and Difference("data.items", "25", "48") in causes
    word, why = verdict(more, made, differences, causes)
    assert word == "different" and "accuracy of the test part" in why and "state of the data" in why


def test_versions_and_machine_are_named_even_where_all_is_the_same(made: Path, tmp_path: Path) -> None:
    environment = json.loads((made / "result.json").read_text())["environment"]
    older = edited(made, tmp_path / "older", {"environment": environment | {"torch": "1.0", "threads": "64"}})
    _, differences, causes = compared(older, made)
    assert not differences and {d.what for d in causes} == {"environment.torch", "environment.threads"}
    word, why = verdict(older, made, differences, causes)
    assert word == "same" and "version of torch" in why and "number of threads" in why


def test_a_weight_that_moved_is_alike(made: Path, tmp_path: Path) -> None:
    moved = edited(made, tmp_path / "moved", {})
    head = moved / "model" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"\x01")
    _, differences, causes = compared(moved, made)
    assert [d.what for d in differences] == ["file model/head.safetensors"]
    assert verdict(moved, made, differences, causes)[0] == "alike"


def result(place: Path, tree: dict[str, object]) -> Path:
    place.mkdir()
    (place / "result.json").write_text(json.dumps(tree))
    return place


def measured(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 100}


def tuned(score: float, c: float) -> dict[str, object]:
    best = {"number": 1, "settings": {"c": c}, "score": score, "low": score - 0.05, "high": score + 0.05}
    trials = [{"number": 0, "settings": {}, "score": 0.1}, best]
    return {"data": "reviews.csv", "encoder": "minilm", "metric": "accuracy", "best": 1, "trials": trials}


def of_models(value: float) -> dict[str, object]:
    row = {"name": "ease", "metrics": {"ndcg@10": measured(value)}}
    return {"chosen": "ease", "models": [{"name": "popularity", "metrics": {"ndcg@10": measured(0.5)}}, row]}


def of_folds(value: float) -> dict[str, object]:
    row = {"name": "linear-probe", "encoder": "minilm", "metrics": {"accuracy": measured(value)}}
    other = row | {"encoder": "pixels", "metrics": {"accuracy": measured(0.5)}}
    encoder = {"reference": "minilm"}
    return {"chosen": "linear-probe", "encoder": encoder, "strategies": [other, row], "test": None}


@pytest.mark.parametrize(
    ("was", "now", "word", "said"),
    [
        (of_models(0.3), of_models(0.31), "alike", "every headline"),
        (of_models(0.3), of_models(0.1), "different", "ndcg@10 of ease"),
        (of_folds(0.9), of_folds(0.88), "alike", "every headline"),
        (of_folds(0.9), of_folds(0.7), "different", "accuracy of linear-probe"),
        (tuned(0.9, 1.0), tuned(0.91, 1.0), "alike", "every headline"),
        (tuned(0.9, 1.0), tuned(0.6, 1.0), "different", "accuracy of the best trial"),
        (tuned(0.9, 1.0), tuned(0.9, 9.0), "different", "the choice"),
        ({"test": {"accuracy": measured(0.9)}}, {"test": None, "train": 3}, "different", "accuracy of the test part"),
        ({"network": "tiny", "test": None}, {"network": "small", "test": None}, "different", "no headline"),
    ],
)
def test_headlines_of_every_verb_are_compared(
    was: dict[str, object], now: dict[str, object], word: str, said: str, tmp_path: Path
) -> None:
    before, after = result(tmp_path / "was", was), result(tmp_path / "now", now)
    _, differences, causes = compared(before, after)
    found, why = verdict(before, after, differences, causes)
    assert found == word and said in why and "another version or machine" in why, why


def test_what_cannot_be_run_again(made: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"holds no result.json"):
        recorded(tmp_path)
    for command in ("rm -rf /", "graft serve found", "graft fit 'unclosed", 7):
        place = edited(made, tmp_path / f"bad{command!s:.9}".replace("/", ""), {"command": command})
        with pytest.raises(ModelError, match=r"can be run again|not the result of a command"):
            recorded(place)
    gone = edited(made, tmp_path / "gone", {"command": "graft fit no/such/folder"})
    with pytest.raises((DataError, MissingError), match=r"could not be run again from here[\s\S]*no/such/folder"):
        graft.reproduce(gone, out=tmp_path / "again")
    assert not (tmp_path / "again").exists()
