"""`graft diagnose labels` and `graft diagnose curve` on small pictures: what was planted is found, corrected, and what cannot be answered is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.cli import main
from graft.errors import DataError, UsageError
from graft.label_curve import CurveResult
from graft.reports.review import CorrectedTable, LabelsResult
from graft.results import from_json
from graft.verbs.diagnose import curve, labels

PLANTED = {"3": [4, 17], "8": [9]}  # pictures of the next class that are filed here


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten 1, 3 and 8, forty each, three of them in the wrong folder."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("data") / "digits"
    pixels, numbers = load_digits(return_X_y=True)
    for digit in (1, 3, 8):
        for i, row in enumerate(np.flatnonzero(numbers == digit)[:40]):
            wrong = next((place for place, which in PLANTED.items() if i in which and str(digit) != place), str(digit))
            if digit == 1:
                wrong = "1"
            path = folder / wrong / f"{digit}_{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels[row].reshape(8, 8) * 15.9).astype(np.uint8)).resize((16, 16)).save(path)
    return folder


def test_planted_errors_are_found_judged_and_corrected(digits: Path, tmp_path: Path) -> None:
    found = labels(digits, encoder="pixels:8", out=tmp_path / "found")
    assert isinstance(found, LabelsResult)
    planted = {"8/3_09.png", "3/8_04.png", "3/8_17.png"} & {s.item for s in found.suspects[:6]}
    assert len(planted) >= 2
    assert {p.name for p in (tmp_path / "found").iterdir()} == {"review.html", "result.json"}
    assert from_json(LabelsResult, json.loads((tmp_path / "found" / "result.json").read_text())) == found
    page = (tmp_path / "found" / "review.html").read_text()
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.S)[0])
    assert [card["item"] for card in data["cards"]] == [s.item for s in found.suspects]
    near = {item for card in data["cards"] for item in (*card["nearGiven"], *card["nearSuggested"])}
    assert near and not near & {s.item for s in found.suspects}
    assert all(card["picture"].startswith("data:image/") for card in data["cards"])
    tree = {
        "kind": "graft label corrections",
        "corrections": [
            {"item": s.item, "given": s.given, "label": s.suggested} for s in found.suspects if s.item in planted
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(tree))
    fixed = labels(digits, corrections=tmp_path / "c.json", out=tmp_path / "fixed")
    assert isinstance(fixed, CorrectedTable)
    assert (fixed.rows, fixed.changed) == (120, len(planted))
    rows = Path(fixed.path).read_text().splitlines()
    assert [row.rpartition(",")[2] for row in rows if row.split(",")[0].endswith("8/3_09.png")] == ["3"]


def test_the_curve_of_the_digits(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    result = curve(digits, target=["0.5", "0.999"], encoder="pixels:8", strategy="prototypes", repeats=1, out=out)
    assert result.curve.targets[0].status == "reached"
    assert result.curve.strategy == "prototypes"
    assert from_json(CurveResult, json.loads((out / "result.json").read_text())) == result
    assert "More labels" in (out / "report.html").read_text()
    assert "--target 0.5 --target 0.999" in result.command


@pytest.mark.parametrize(
    ("labels_given", "says"),
    [
        ([""] * 12, "no label"),
        (["same"] * 12, "one class only"),
        (["a", "b"] * 6, "near duplicates of each other"),
        ([f"kind {i}" for i in range(12)], "one item a class"),
    ],
)
@pytest.mark.parametrize("verb", [labels, curve])
def test_data_that_cannot_be_asked_say_why(
    verb: object, labels_given: list[str], says: str, digits: Path, tmp_path: Path
) -> None:
    pictures = sorted(digits.rglob("*.png"))[:12]
    if says.startswith("near"):
        pictures = pictures[:1] * 12
    rows = [f"{path},{label}\n" for path, label in zip(pictures, labels_given, strict=True)]
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(rows))
    with pytest.raises(DataError, match=says):
        verb(tmp_path / "t.csv", encoder="pixels:8", out=tmp_path / "out")  # type: ignore[operator]
    assert not (tmp_path / "out").exists()


def test_labels_that_are_all_wrong_accuse_nobody(digits: Path, tmp_path: Path) -> None:
    rows = [str(path) for path in sorted(digits.rglob("*.png"))]
    wrong = np.random.default_rng(0).permutation([i % 3 for i in range(len(rows))])
    path = tmp_path / "t.csv"
    path.write_text("image,label\n" + "".join(f"{row},{'abc'[code]}\n" for row, code in zip(rows, wrong, strict=True)))
    found = labels(path, encoder="pixels:8", out=tmp_path / "out")
    assert isinstance(found, LabelsResult)
    assert found.suspects == () and "cannot tell these labels apart" in found.reason


def test_what_cannot_be_asked_for(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"--target 90.*--strategy.*--repeats 0"):
        curve(digits, target=["90"], strategy="linear-prob", repeats=0)
    with pytest.raises(UsageError, match="--most 0"):
        labels(digits, most=0, out=tmp_path / "out")
    assert main(["diagnose", "curve", str(digits), "--target", "many"]) == 2
    assert "--target many" in capsys.readouterr().err
