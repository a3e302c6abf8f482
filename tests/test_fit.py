"""`fit` end to end on real encoders: what it writes, that it can be trusted, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import graft
from graft.data.catalogue import programmes
from graft.errors import DataError, StorageError, UsageError
from graft.results import FitResult


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 handwritten digits of four kinds as PNG files, one folder a class, and one file that is no picture."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    pixels, labels = load_digits(return_X_y=True)
    for label in (0, 1, 4, 7):
        (folder / f"digit_{label}").mkdir()
        for number in np.flatnonzero(labels == label)[:40]:
            picture = Image.fromarray((pixels[number].reshape(8, 8) * 15.9).astype(np.uint8))
            picture.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"digit_{label}" / f"{number:04}.png")
    (folder / "digit_0" / "broken.png").write_bytes(b"\x89PNG not really")
    return folder


@pytest.fixture(scope="session")
def programme_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 programme descriptions of a generated catalogue with their categories."""
    path = tmp_path_factory.mktemp("table") / "programmes.csv"
    rows = programmes(120, 3)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["description", "category"])
        writer.writerows([row.description, row.category] for row in rows)
    return path


@pytest.fixture(scope="session")
def fitted_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Path]:
    out = tmp_path_factory.mktemp("out") / "digits"
    result = graft.fit(digits, strategies="frozen", out=out)
    assert isinstance(result, FitResult)
    return result, out


@pytest.fixture(scope="session")
def fitted_programmes(programme_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Path]:
    out = tmp_path_factory.mktemp("out") / "programmes"
    result = graft.fit(programme_table, strategies="frozen", out=out)
    assert isinstance(result, FitResult)
    return result, out


def test_a_folder_of_pictures_gives_a_model_a_report_and_the_evidence(fitted_digits: tuple[FitResult, Path]) -> None:
    result, out = fitted_digits
    assert {p.name for p in out.iterdir()} == {"model", "report.html", "result.json", "split.json"}
    assert result.test is not None and result.test["accuracy"].value > 0.9
    assert result.data.test == result.test["accuracy"].n == 32
    assert [fault.where for fault in result.data.faults] == ["digit_0/broken.png"]
    measured = [s for s in result.strategies if s.status == "measured"]
    assert len(measured) >= 5 and all(s.metrics["accuracy"].low is not None for s in measured)
    assert {s.name for s in result.strategies if s.status == "skipped"} <= {
        "zero-shot",
        "named-prototypes",
        "named-linear-probe",
    }
    assert result.chosen in result.why.lower() and result.calibration is not None and result.abstention is not None
    assert (out / "report.html").stat().st_size < 5e6


def test_result_json_is_what_was_returned(fitted_digits: tuple[FitResult, Path]) -> None:
    from graft.results import from_json, to_json

    result, out = fitted_digits
    assert to_json(from_json(FitResult, json.loads((out / "result.json").read_text()))) == to_json(result)


@pytest.mark.parametrize("kind", ["digits", "programmes"])
def test_predict_agrees_with_the_report(
    kind: str, request: pytest.FixtureRequest, digits: Path, programme_table: Path
) -> None:
    """The saved model, opened again, gives the report's accuracy and abstentions on the split's test items."""
    result, out = request.getfixturevalue(f"fitted_{kind}")
    held = json.loads((out / "split.json").read_text())["test"]
    if kind == "digits":
        items: list[str] = [str(digits / item) for item in held]
        truth = [item.split("/")[0] for item in held]
    else:
        rows = list(csv.DictReader(io.StringIO(programme_table.read_text(encoding="utf-8"), newline="")))
        items = [rows[int(item)]["description"] for item in held]
        truth = [rows[int(item)]["category"] for item in held]
    answers = graft.load(out).predict(items)
    right = [answer.top[0][0] == label for answer, label in zip(answers, truth, strict=True)]
    assert np.mean(right) == pytest.approx(result.test["accuracy"].value)
    assert np.mean([answer.label is None for answer in answers]) == pytest.approx(result.abstention.abstained.value)


def test_the_same_seed_gives_the_same_bits_and_the_split_can_be_given_back(
    fitted_programmes: tuple[FitResult, Path], programme_table: Path, tmp_path: Path
) -> None:
    result, out = fitted_programmes
    again = graft.fit(programme_table, strategies="frozen", split=out / "split.json", out=tmp_path / "again")
    head = (out / "model" / "head.safetensors").read_bytes()
    assert (tmp_path / "again" / "model" / "head.safetensors").read_bytes() == head
    assert again.test == result.test and again.chosen == result.chosen
    assert again.encoder.encoded == 0  # every vector came from the cache


def test_a_zip_and_a_folder_of_the_same_pictures_agree(digits: Path, tmp_path: Path) -> None:
    archive = tmp_path / "digits.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in sorted(digits.rglob("*.png")):
            stream.write(path, path.relative_to(digits))
    packed, plain = (
        graft.fit(data, strategies="prototypes,neighbours", out=tmp_path / data.stem) for data in (archive, digits)
    )
    assert packed.test == plain.test and packed.chosen == plain.chosen


def test_one_label_a_class_has_no_folds_and_says_so(digits: Path, tmp_path: Path) -> None:
    train = [str(next((digits / f"digit_{n}").glob("0*.png")).relative_to(digits)) for n in (0, 1, 4, 7)]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": train}))
    result = graft.fit(digits, strategies="frozen", split=split, out=tmp_path / "out")
    assert isinstance(result, FitResult)
    assert result.test is None and result.calibration is None and result.confusion is None
    assert all(s.status != "measured" and not s.metrics for s in result.strategies)
    assert graft.load(tmp_path / "out").predict([str(digits / train[0])])[0].top[0][0] == "digit_0"


def test_shots_and_strategies_and_a_named_group(programme_table: Path, tmp_path: Path) -> None:
    result = graft.fit(programme_table, shots=5, strategies="prototypes,linear-probe", out=tmp_path / "out")
    assert set(result.data.counts) == {5}
    assert {s.name for s in result.strategies} == {"prototypes", "linear-probe"}


def test_copies_stay_on_one_side_and_leaks_are_told(programme_table: Path, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(programme_table.read_text(encoding="utf-8"), newline="")))
    doubled = [rows[0], *(row for text, label in rows[1:] for row in ([text, label], [text.upper() + "!", label]))]
    table = tmp_path / "doubled.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(doubled)
    result = graft.fit(table, out=tmp_path / "grouped", strategies="linear-probe")
    split = json.loads((tmp_path / "grouped" / "split.json").read_text())
    assert {int(i) // 2 for i in split["train"]}.isdisjoint(int(i) // 2 for i in split["test"])
    found = result.data.duplicates
    assert found.near >= 114 and found.leaked == 0
    assert found.random is not None and found.grouped is not None and found.random.value > found.grouped.value
    loose = graft.fit(table, out=tmp_path / "loose", strategies="linear-probe", group="none")
    assert loose.data.duplicates.leaked > 10


def test_refusals_name_the_value_and_the_way_out(digits: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises((UsageError, StorageError), match="taken"):
        graft.fit(digits, out=taken)
    with pytest.raises(UsageError, match="log_loss"):
        graft.fit(digits, metric="acuracy", out=tmp_path / "a")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="linear-probe"):
        graft.fit(digits, strategies="liner-probe", out=tmp_path / "b")
    with pytest.raises(UsageError, match="between 0 and 1"):
        graft.fit(digits, test="1.5", out=tmp_path / "c")
    with pytest.raises(UsageError, match="10m"):
        graft.fit(digits, budget="soon", out=tmp_path / "d")
    with pytest.raises(UsageError, match="efficientnet-lite0"):
        graft.fit(digits, encoder=["minilm"], out=tmp_path / "e")
    with pytest.raises(DataError) as caught:
        graft.fit(digits, strict=True, out=tmp_path / "f")
    assert [fault.where for fault in caught.value.faults] == ["digit_0/broken.png"]
    assert {p.name for p in tmp_path.iterdir()} == {"taken"}


def test_two_encoders_compete_on_the_same_folds(digits: Path, tmp_path: Path) -> None:
    result = graft.fit(digits, encoder=["pixels", "efficientnet-lite0"], strategies="prototypes", out=tmp_path / "o")
    assert {s.encoder for s in result.strategies} == {"pixels", "efficientnet-lite0"}
    assert len(result.encoders) == 2 and result.encoder.reference in {"pixels", "efficientnet-lite0"}
    manifest = graft.load(tmp_path / "o").manifest
    assert manifest.encoder == result.encoder and result.chosen_result is not None
    assert manifest.settings == result.chosen_result.settings
