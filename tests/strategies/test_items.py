"""Items to train on: parts of a whole, prepared once for all folds, and the frozen part's output kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.strategies.conftest import Lesson
from tests.toy_encoder import DIM, ToyImage, ToyText

from graft.data.dataset import ImageSource
from graft.errors import DataError
from graft.strategies.items import Items
from graft.trainers.body import Split, open_body

TEXTS = ["a", "bcd", "efg hij", "", "klm"]


def toys() -> Items:
    return Items.of(ToyText(), TEXTS, np.arange(5 * DIM, dtype=np.float32).reshape(5, DIM), ("x", "y"), ("an x", "a y"))


def test_parts_of_parts_by_position_or_mask() -> None:
    items = toys()
    part = items[np.array([4, 0, 2])][np.array([False, True, True])]
    assert len(items) == 5 and len(part) == 2 and part.index.tolist() == [0, 2]
    np.testing.assert_array_equal(part.x_ND, items.x_ND[[0, 2]])
    np.testing.assert_array_equal(part.vector_rows().batch([1])["vectors"].numpy(), items.x_ND[[2]])
    assert part.rows().batch([0])["ids"].tolist() == [[ord("a") + 1]]


def test_everything_is_prepared_once_whoever_asks_first() -> None:
    items = toys()
    encoder = items.encoder
    assert isinstance(encoder, ToyText)
    items[np.array([1])].rows()
    items[np.array([2, 3])].rows()
    items.rows()
    assert sorted(encoder.prepared) == sorted(TEXTS)
    other = ToyText("another")
    items[np.array([0])].prepared_by(other)
    assert items.prepared_by(other).batch([1])["ids"].shape == (1, 3) and sorted(other.prepared) == sorted(TEXTS)
    assert sorted(encoder.prepared) == sorted(TEXTS)


def test_alone_no_more_is_prepared_than_asked_for() -> None:
    items = toys()
    alone = items[np.array([1, 4])].alone()
    alone.rows()
    assert isinstance(items.encoder, ToyText) and items.encoder.prepared == ["bcd", "klm"]
    np.testing.assert_array_equal(alone.x_ND, items.x_ND[[1, 4]])
    assert alone.index.tolist() == [0, 1] and alone.store.classes == ("x", "y")


def test_names_of_classes_are_items_of_an_encoder_that_reads() -> None:
    named = toys().of_classes()
    assert named is not None and named.rows().batch([0, 1])["ids"].shape == (2, 4)
    assert Items.of(ToyText(), TEXTS, np.zeros((5, DIM), np.float32)).of_classes() is None
    assert Items.of(ToyImage(), [], np.zeros((0, DIM), np.float32), ("x",), ("an x",)).of_classes() is None


def test_pictures_are_kept_as_bytes_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    sources = []
    for number in range(3):
        Image.new("RGB", (20, 20), (number, 0, 255)).save(tmp_path / f"{number}.png")
        sources.append(ImageSource(tmp_path / f"{number}.png"))
    items = Items.of(ToyImage(), sources, np.zeros((3, DIM), np.float32))
    batch = items[np.array([2, 1])].rows().batch([0, 1])["ids"]
    assert batch.dtype == torch.uint8 and batch.shape == (2, 3, 16, 16)
    assert batch[:, 0, 0, 0].tolist() == [2, 1] and batch[:, 2].min() == 255
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="can no longer be"):
        Items.of(ToyImage(), sources, np.zeros((3, DIM), np.float32)).rows()


@pytest.mark.parametrize(("kind", "first"), [("sentence-transformer", 2), ("convnext", 4)])
def test_the_frozen_part_is_run_once_and_the_upper_part_goes_on_from_there(
    kind: str, first: int, lesson: Callable[[str], Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = lesson(kind).items
    body = open_body(items.encoder)
    split = Split(body, first)
    run: list[int] = []
    lower = split.lower

    def counted(batch: Any) -> Any:
        run.append(len(next(iter(batch.values()))))
        return lower(batch)

    monkeypatch.setattr(split, "lower", counted)
    part = items[np.array([5, 3, 20, 8])]
    batch = part.activation_rows(split, first).batch([3, 0, 2])
    items.activation_rows(split, first)
    assert sum(run) == 24
    with torch.no_grad():
        again = split.upper(batch["activations"], batch).numpy()
    np.testing.assert_allclose(again, items.x_ND[[8, 5, 20]], atol=1e-4 * max(1.0, float(np.abs(items.x_ND).max())))


def test_rewritten_texts_are_prepared_anew_in_their_old_places() -> None:
    items = toys()
    items.rows()
    part = items[np.array([4, 1])]
    other = part.rewritten(["n", "op"])
    assert other.index.tolist() == [4, 1] and other.rows().batch([0, 1])["ids"][:, 0].tolist() == [
        ord("n") + 1,
        ord("o") + 1,
    ]
    np.testing.assert_array_equal(other.x_ND, part.x_ND)
    assert (
        part.rows().batch([0])["ids"].tolist() == items.rows().batch([4])["ids"].tolist()
    )  # the old ones are as they were
    network = ToyText("another")
    assert other.prepared_by(network).batch([1])["ids"].shape == (1, 2)
    with pytest.raises(ValueError, match="argument"):
        part.rewritten(["n"])
