"""Small data as people have them, sound and spoilt: tables of two topics, folders of pictures, a zip that leads outside itself."""

from __future__ import annotations

import csv
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Row = Sequence[object]
WORDS = {"sport": "team match goal player league coach", "food": "soup salt bread kitchen oven recipe"}


def text(label: str, draw: random.Random) -> str:
    return f"the {' '.join(draw.choices(WORDS.get(label, label).split(), k=5))} {draw.randrange(9999)}"


def rows(count: int, labels: Sequence[str] = ("sport", "food")) -> list[Row]:
    draw = random.Random(count)
    return [(text(label, draw), label) for _ in range(count) for label in labels]


def table(path: Path, cells: Sequence[Row], header: Row = ("text", "label"), encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream).writerows([header, *cells])
    return path


def pictures(folder: Path, count: int = 4) -> Path:
    draw = np.random.default_rng(0)
    for place, label in enumerate(("dark", "light")):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 90, (16, 16, 3)) + 150 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


def spoil(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no picture")


def unlabelled(path: Path) -> None:
    table(path, [(content, "") for content, _ in rows(9)])


def no_classes(path: Path) -> None:
    path.mkdir()
    (path / "a.txt").write_text("a text")


def outside(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.png", b"x")
