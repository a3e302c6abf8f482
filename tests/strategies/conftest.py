"""Tiny pretrained encoders with a few items each, for tests of what trains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.contracts.conftest import tiny_model  # noqa: F401

from graft.data.dataset import Content, ImageSource
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.strategies.frozen import Task
from graft.strategies.items import Items

CLASSES = 3
FELINE, CANINE, AVIAN = ("cat", "mat", "red"), ("dog", "house", "blue"), ("bird", "tree", "green")
FILLERS = ("the", "a", "was", "not", "very", "it", "and", "or", "small", "big")


@dataclass(frozen=True, eq=False)
class Lesson:
    """Items with labels (N,) and the task."""

    items: Items
    y_N: NDArray[np.int64]
    task: Task


def picture(source: ImageSource) -> Image.Image:
    """A picture of a file, which is closed."""
    with Image.open(source.path) as opened:
        return opened.convert("RGB")


def vectors(encoder: Encoder, contents: list[Content]) -> NDArray[np.float32]:
    """What the encoder makes of the items, all at once and in full precision."""
    opened = [content if isinstance(content, str) else picture(content) for content in contents]
    batch = encoder.collate(encoder.prepare(opened))
    with torch.no_grad():
        raw = encoder.module().eval()(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return np.asarray(encoder.finish(raw.numpy(), batch), np.float32)


def some_texts(n: int, seed: int = 0) -> tuple[list[Content], NDArray[np.int64]]:
    """Texts about three animals, of several lengths."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(n) % CLASSES
    made: list[Content] = []
    for label in y_N:
        words = [*rng.choice((FELINE, CANINE, AVIAN)[label], 2), *rng.choice(FILLERS, rng.integers(1, 7))]
        made.append(" ".join(rng.permutation(words)))
    return made, y_N


def some_pictures(folder: Path, n: int, seed: int = 0) -> tuple[list[Content], NDArray[np.int64]]:
    """Pictures of three colours, with noise."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(n) % CLASSES
    made: list[Content] = []
    for place, label in enumerate(y_N):
        pixels = rng.integers(0, 120, (32, 32, 3))
        pixels[..., label] += 100
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{place}.png")
        made.append(ImageSource(folder / f"{place}.png"))
    return made, y_N


@pytest.fixture(scope="session")
def lesson(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lesson]:  # noqa: F811
    """A lesson by the tiny model's name; the same items each time, prepared anew."""
    folder = tmp_path_factory.mktemp("lesson")
    pictures = some_pictures(folder, 24)
    texts = some_texts(24)
    seen: dict[str, NDArray[np.float32]] = {}

    def made(name: str) -> Lesson:
        words = name in ("bert", "sentence-transformer")
        contents, y_N = texts if words else pictures
        encoder = open_encoder(f"dir:{tiny_model(name)}")
        if name not in seen:
            seen[name] = vectors(encoder, contents)
        items = Items.of(encoder, contents, seen[name], FELINE[:1] + CANINE[:1] + AVIAN[:1], ("cat", "dog", "bird"))
        return Lesson(items, y_N, Task(CLASSES))

    return made
