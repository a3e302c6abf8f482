"""The fidelity gate takes the fastest way that is good enough on the items at hand, remembers it, and knows when to look again."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.toy_encoder import ToyImage, ToyRunner, ToyText

from graft import fidelity, settings
from graft.data.dataset import ImageSource
from graft.encoders.base import FloatArray
from graft.fidelity import Measured, Way, choose, compare, plan

TEXTS = [f"text number {i}, {'x' * (i % 17)}" for i in range(100)]
GOOD = {"f16": 0.9999, "bf16": 0.9995, "f32": 1.0}


def measured(mean: float, *, n: int = 32, of: int = 100, shrunk: int = 0) -> Measured:
    return Measured(mean, mean - 0.01, n, of, shrunk)


@pytest.mark.parametrize(
    ("means", "shrunk", "expected"),
    [
        ({"f16": 0.9995}, 0, Way("f16", True)),
        ({"f16": 0.9989, "bf16": 0.999}, 0, Way("bf16", True)),
        ({"f16": 0.99, "bf16": 0.99, "f32": 1.0}, 0, Way("f32", True)),
        ({"f16": 0.99, "f16+full": 0.9995}, 5, Way("f16", False)),
        (
            {"f16": 0.99, "f16+full": 0.99, "bf16": 0.99, "bf16+full": 0.99, "f32": 0.99, "f32+full": 1.0},
            5,
            Way("f32", False),
        ),
        ({"f16": 0.5, "bf16": 0.5, "f32": 0.5}, 0, Way("f32", True)),
    ],
)
def test_the_first_way_that_passes(means: dict[str, float], shrunk: int, expected: Way) -> None:
    def measure(way: Way) -> Measured:
        return measured(means[way.name], shrunk=shrunk if way.scaled else 0)

    way, known = choose(("f16", "bf16", "f32"), {}, 100, shrunk > 0, measure)
    assert way == expected
    assert set(known) == set(means)


def refuse(way: Way) -> Measured:
    raise AssertionError(f"{way.name} need not be measured")


def test_what_is_known_is_not_measured_again() -> None:
    known = {"f16": measured(0.9), "bf16": measured(0.9999)}
    assert choose(("f16", "bf16", "f32"), known, 10_000, False, refuse) == (Way("bf16", True), known)


@pytest.mark.parametrize(
    ("before", "items", "shrinkable", "again"),
    [
        (measured(1.0, n=1, of=1), 1, False, False),
        (measured(1.0, n=1, of=1), 2, False, True),
        (measured(1.0, n=5, of=9), 9, False, False),
        (measured(1.0, n=32, of=40), 10**6, False, False),
        (measured(1.0, n=32, of=40, shrunk=0), 10, True, True),
        (measured(1.0, n=32, of=40, shrunk=3), 10, True, False),
    ],
)
def test_when_to_look_again(before: Measured, items: int, shrinkable: bool, again: bool) -> None:
    calls = []

    def measure(way: Way) -> Measured:
        calls.append(way)
        return measured(1.0)

    choose(("f32",), {"f32": before}, items, shrinkable, measure)
    assert bool(calls) is again


def test_cosines_by_hand() -> None:
    fast = np.array([[1, 0], [1, 1], [0, 0], [np.nan, 1], [0, 0], [-2, 0]], np.float32)
    exact = np.array([[2, 0], [1, 0], [0, 0], [1, 1], [0, 1], [1, 0]], np.float32)
    done = compare(fast, exact, of=6, shrunk=0)
    assert done.mean == pytest.approx((1 + np.sqrt(0.5) + 1 - 1 + 0 - 1) / 6, abs=1e-12)
    assert (done.minimum, done.n) == (-1.0, 6)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """A processor with three formats; the dict says how far each is off (added to the first dimension of long rows)."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    off = {"f16": 0.0, "bf16": 0.0, "f32": 0.0}

    def spoil(x_BD: FloatArray, format_: str) -> FloatArray:
        x_BD = x_BD.copy()
        x_BD[:, 0] += off[format_] * np.abs(x_BD).max()
        return x_BD

    def open_runner(encoder: ToyText, *, format: str, device: str) -> ToyRunner:
        assert device == "cpu"
        return ToyRunner(encoder, format, spoil)

    monkeypatch.setattr("graft.encoders.runtime.formats", lambda _: ("f16", "bf16", "f32"))
    monkeypatch.setattr("graft.encoders.runtime.open_runner", open_runner)
    return off


@pytest.mark.usefixtures("processor")
def test_an_exact_format_is_taken_and_reported() -> None:
    done = plan(TEXTS, ToyText(), "cpu")
    assert done.way == Way("f16", True)
    assert done.fidelity is not None
    assert (done.fidelity.format, done.fidelity.n) == ("f16", fidelity.SAMPLE)
    assert done.fidelity.mean == pytest.approx(1.0, abs=1e-12)


def test_steps_down_by_itself_and_remembers(processor: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    processor.update(f16=0.5, bf16=0.2)
    assert plan(TEXTS, ToyText(), "cpu").way.format == "f32"
    monkeypatch.setattr("graft.encoders.runtime.open_runner", lambda *_, **__: pytest.fail("measured again"))
    monkeypatch.setattr("graft.encoders.runtime.formats", lambda *_: pytest.fail("asked again"))
    again = plan(list(reversed(TEXTS)), ToyText(), "cpu")
    assert again.way.format == "f32"
    assert again.fidelity is not None
    assert again.fidelity.n == fidelity.SAMPLE


def test_another_encoder_or_processor_is_measured_anew(
    processor: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.update(f16=0.5)
    assert plan(TEXTS, ToyText(), "cpu").way.format == "bf16"
    processor.update(f16=0.0)
    assert plan(TEXTS, ToyText("another"), "cpu").way.format == "f16"
    assert plan(TEXTS, ToyText(), "cpu").way.format == "bf16"
    monkeypatch.setattr(fidelity, "_processor", lambda _: "another processor")
    assert plan(TEXTS, ToyText(), "cpu").way.format == "f16"


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"toy cpu x": 3}', '{"a": {"formats": ["f32"], "ways": {"f32": {"mean": 1}}}}']
)
def test_a_damaged_memory_is_measured_anew(text: str) -> None:
    settings.cache_dir().mkdir(parents=True)
    (settings.cache_dir() / "fidelity.json").write_text(text)
    assert plan(TEXTS, ToyText(), "cpu").way.format == "f16"
    assert next(iter(fidelity._remembered().values()))[1]["f16"].n == fidelity.SAMPLE


@pytest.mark.usefixtures("processor")
def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert plan(TEXTS, ToyText(), "cpu").way.format == "f16"


@pytest.mark.usefixtures("processor")
def test_nothing_to_measure(tmp_path: Path) -> None:
    assert plan([], ToyText(), "cpu").fidelity is None
    missing = [ImageSource(tmp_path / "none.jpg")] * 3
    assert plan(missing, ToyImage(), "cpu").fidelity is None
    assert fidelity._remembered() == {}


def photos(folder: Path, count: int, side: int, make: Callable[[int], FloatArray]) -> list[ImageSource]:
    folder.mkdir()
    for i in range(count):
        buffer = io.BytesIO()
        Image.fromarray(make(i).astype(np.uint8)).resize((side, side)).save(buffer, "JPEG", quality=95)
        (folder / f"{i}.jpg").write_bytes(buffer.getvalue())
    return [ImageSource(folder / f"{i}.jpg") for i in range(count)]


def smooth(i: int) -> FloatArray:
    return np.random.default_rng(i).integers(0, 255, (4, 4, 3)).astype(np.float32)


@pytest.mark.usefixtures("processor")
def test_large_photos_are_looked_at_when_they_first_come(tmp_path: Path) -> None:
    small, large = photos(tmp_path / "s", 40, 32, smooth), photos(tmp_path / "l", 40, 256, smooth)
    assert plan(small, ToyImage(), "cpu").way.name == "f16"
    (entry,) = fidelity._remembered().values()
    assert entry[1]["f16"].shrunk == 0
    assert plan(large, ToyImage(), "cpu").way.name == "f16"
    (entry,) = fidelity._remembered().values()
    assert entry[1]["f16"].shrunk == fidelity.SAMPLE


@pytest.mark.usefixtures("processor")
def test_scaled_decoding_is_given_up_where_it_harms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder whose small pictures come out black: full decoding is taken, under a name of its own, in the same format."""
    from graft.data import images

    whole = images.decode

    def broken(raw: bytes, *, side: int | None = None) -> Image.Image:
        return whole(raw) if side is None else Image.new("RGB", (side, side))

    monkeypatch.setattr(images, "decode", broken)
    done = plan(photos(tmp_path / "l", 40, 256, smooth), ToyImage(), "cpu")
    assert done.way == Way("f16", scaled=False)
    assert done.way.name == "f16+full"


def test_the_processor_has_a_name() -> None:
    assert fidelity._processor("cpu")
