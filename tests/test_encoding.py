"""The engine: every content once, in order, cached, whatever is unreadable, interrupted, killed or full."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from tests.small_disk import small_disk
from tests.toy_encoder import ToyImage, ToyRunner, ToyText, text_vector

from graft import encoding, settings
from graft.data.dataset import ImageSource, content_hash
from graft.encoders.base import FloatArray
from graft.encoding import encode
from graft.errors import UsageError
from graft.store.cache import VectorCache
from graft.store.scratch import ScratchRows

ROOT = Path(__file__).parents[1]
KILLS = 300 if os.environ.get("GRAFT_SOAK") else 6
TEXTS = [f"text number {i}, {'x' * (i % 57)}" for i in range(3000)]


class Toys:
    """What the engine opened instead of real runners."""

    def __init__(self) -> None:
        self.opened: list[ToyRunner] = []
        self.before: Callable[[], None] | None = None
        self.spoil: Callable[[FloatArray, str], FloatArray] | None = None

    def open_runner(self, encoder: ToyText, *, format: str, device: str) -> ToyRunner:
        assert device == "cpu"
        self.opened.append(ToyRunner(encoder, format, self.spoil, self.before))
        return self.opened[-1]


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Toys:
    made = Toys()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("graft.encoders.runtime.formats", lambda _: ("f32",))
    monkeypatch.setattr("graft.encoders.runtime.open_runner", made.open_runner)
    return made


def expected(texts: list[str]) -> FloatArray:
    return np.array([text_vector(text) for text in texts], np.float32).reshape(-1, 8)


@pytest.mark.usefixtures("toys")
@given(texts=st.lists(st.text(max_size=40), max_size=60))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_texts_come_back_in_order(texts: list[str]) -> None:
    with VectorCache.open() as cache:
        for use in (None, cache, cache):
            done = encode(texts, ToyText(), cache=use)
            fine = [i for i, text in enumerate(texts) if not any("\ud800" <= c <= "\udfff" for c in text)]
            assert done.index.tolist() == fine
            assert np.array_equal(done.vectors, expected([texts[i] for i in fine]))
            assert done.hashes == tuple(content_hash(texts[i].encode()) for i in fine)


def test_vectors_summary_and_batches(toys: Toys) -> None:
    done = encode(TEXTS, ToyText(), device="cpu")
    assert np.array_equal(done.vectors, expected(TEXTS))
    assert done.vectors.dtype == np.float32
    assert done.vectors.flags.c_contiguous
    summary = done.summary
    assert (summary.reference, summary.format, summary.device, summary.encoded, summary.cached) == (
        "toy",
        "f32",
        "cpu",
        3000,
        0,
    )
    assert summary.fidelity is not None
    assert summary.fidelity.n == 32
    assert all(rows <= 32 and rows * length <= 4096 for runner in toys.opened for rows, length in runner.batches)
    assert done.faults == ()
    assert done.notes == ()


def test_nothing_to_encode(toys: Toys) -> None:
    done = encode([], ToyText())
    assert done.vectors.shape == (0, 8)
    assert (len(done.index), done.hashes, done.summary.encoded) == (0, (), 0)
    assert toys.opened == []


@pytest.mark.usefixtures("toys")
def test_repeated_contents_are_computed_once() -> None:
    texts = [f"text {i % 10}" for i in range(1000)]
    encoder = ToyText()
    done = encode(texts, encoder)
    assert np.array_equal(done.vectors, expected(texts))
    assert (done.summary.encoded, done.summary.cached) == (10, 0)
    assert len(set(done.hashes)) == 10


def test_only_what_is_new_is_computed(toys: Toys) -> None:
    with VectorCache.open() as cache:
        encode(TEXTS[:1000], ToyText(), cache=cache)
        encoder = ToyText()
        done = encode(TEXTS[500:1500], encoder, cache=cache)
        assert (done.summary.encoded, done.summary.cached) == (500, 500)
        assert set(TEXTS[1000:1500]) <= set(encoder.prepared)
        opened = len(toys.opened)
        again = encode(TEXTS[:1500], ToyText(), cache=cache)
        assert (again.summary.encoded, again.summary.cached) == (0, 1500)
        assert len(toys.opened) == opened  # no weights are read when all is cached
        assert np.array_equal(again.vectors, expected(TEXTS[:1500]))
        assert again.summary.fidelity == done.summary.fidelity


@pytest.mark.usefixtures("toys")
def test_another_fingerprint_is_another_vector() -> None:
    with VectorCache.open() as cache:
        encode(TEXTS[:50], ToyText("one"), cache=cache)
        assert encode(TEXTS[:50], ToyText("two"), cache=cache).summary.encoded == 50
        assert {space.fingerprint for space in cache.stats().spaces} == {"one", "two"}
        assert {space.reference for space in cache.stats().spaces} == {"toy"}


@pytest.mark.usefixtures("toys")
def test_vectors_of_another_size_in_the_cache_are_not_taken() -> None:
    with VectorCache.open() as cache:
        cache.put({f"toy:f32:{content_hash(b'a')}": np.ones(3, np.float32)})
        done = encode(["a"], ToyText(), cache=cache)
    assert np.array_equal(done.vectors, expected(["a"]))


def save_pictures(folder: Path, count: int) -> list[ImageSource]:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return [ImageSource(folder / f"{i}.png") for i in range(count)]


@pytest.mark.usefixtures("toys")
def test_unreadable_pictures_are_faults_and_the_rest_goes_on(tmp_path: Path) -> None:
    sources = save_pictures(tmp_path / "p", 30)
    sources[3].path.write_bytes(b"no picture")
    sources[7].path.write_bytes(sources[8].path.read_bytes()[:200])
    sources[9].path.write_bytes(b"no picture")  # the same bytes as number 3
    sources[11].path.unlink()
    sources[12].path.write_bytes(b"")
    ids = [f"p/{i}.png" for i in range(30)]
    with VectorCache.open() as cache:
        done = encode(sources, ToyImage(), ids=ids, cache=cache)
        assert [fault.where for fault in done.faults] == [ids[i] for i in (3, 7, 9, 11, 12)]
        assert "No such file" in done.faults[3].problem
        assert done.faults[0].problem == done.faults[2].problem
        assert done.index.tolist() == [i for i in range(30) if i not in (3, 7, 9, 11, 12)]
        encoder = ToyImage()
        for row, position in zip(done.vectors, done.index, strict=True):
            with Image.open(sources[position].path) as picture:
                assert np.array_equal(row, encoder.forward(encoder.collate(encoder.prepare([picture])))[0])
        again = encode(sources, ToyImage(), ids=ids, cache=cache)
        assert again.faults == done.faults
        assert (again.summary.encoded, again.summary.cached) == (0, 25)


@pytest.mark.usefixtures("toys")
def test_nothing_readable_at_all(tmp_path: Path) -> None:
    done = encode([ImageSource(tmp_path / "none.png")] * 2, ToyImage(), ids=["a", "b"])
    assert done.vectors.shape == (0, 8)
    assert [fault.where for fault in done.faults] == ["a", "b"]
    assert done.summary.fidelity is None


def test_vectors_that_are_not_finite_are_faults_and_not_kept(toys: Toys) -> None:
    def spoil(x_BD: FloatArray, _: str) -> FloatArray:
        x_BD = x_BD.copy()
        x_BD[x_BD[:, 2] == text_vector("bad")[2]] = np.inf  # every text with as many characters of that code
        return x_BD

    toys.spoil = spoil
    texts = ["bad", "a", "c"]
    with VectorCache.open() as cache:
        done = encode(texts, ToyText(), cache=cache)
        assert [fault.where for fault in done.faults] == ["0"]
        assert "finite" in done.faults[0].problem
        assert cache.stats().entries == 2


@pytest.mark.usefixtures("toys")
def test_contents_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes text items, but was given image items"):
        encode([ImageSource(tmp_path / "a.png")], ToyText())
    with pytest.raises(UsageError, match="takes image items, but was given text items"):
        encode(["a"], ToyImage())


@pytest.mark.usefixtures("toys")
def test_progress_reaches_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    with VectorCache.open() as cache:
        encode(TEXTS[:700], ToyText(), cache=cache)
        with settings.listening(lambda *what: told.append(what)):
            encode([*TEXTS[:1500], TEXTS[0], "half \ud800"], ToyText(), cache=cache)
    assert {(stage, total) for stage, _, total in told} == {("encode", 1502)}
    done = [count for _, count, _ in told]
    assert done == sorted(done)
    assert done[-1] == 1502


class Stop:
    """Interrupts the model before batch number `after`."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_an_interruption_keeps_what_is_done_and_stops_the_threads(toys: Toys) -> None:
    with VectorCache.open() as cache:
        encode(TEXTS[:40], ToyText("warm"), cache=cache)
        toys.before = Stop(after=60)
        with pytest.raises(KeyboardInterrupt):
            encode(TEXTS, ToyText(), cache=cache)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("graft-encode")]
        toys.before = None
        done = encode(TEXTS, ToyText(), cache=cache)
    assert 0 < done.summary.cached < 3000
    assert done.summary.cached + done.summary.encoded == 3000
    assert np.array_equal(done.vectors, expected(TEXTS))


@pytest.mark.usefixtures("toys")
def test_a_failing_preparation_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("too much")

    encode(TEXTS[:40], ToyText())
    monkeypatch.setattr(ToyText, "prepare", broken)
    with pytest.raises(MemoryError, match="too much"):
        encode(TEXTS, ToyText())


@pytest.mark.usefixtures("toys")
def test_without_a_usable_cache_encoding_goes_on_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with VectorCache.open(tmp_path / "file" / "c") as cache:
        done = encode(TEXTS[:100], ToyText(), cache=cache)
    assert np.array_equal(done.vectors, expected(TEXTS[:100]))
    assert len(done.notes) == 1
    assert "cannot be used" in done.notes[0]


@pytest.mark.usefixtures("toys")
def test_a_disk_that_fills_up_under_way(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk, VectorCache.open(disk / "c") as cache:
        done = encode(TEXTS, ToyText(), cache=cache)
        assert np.array_equal(done.vectors, expected(TEXTS))
        assert "full" in done.notes[0]


@pytest.mark.usefixtures("toys")
def test_large_results_lie_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "ScratchRows", functools.partial(ScratchRows, in_memory=1000))
    texts = [*TEXTS, "half \ud800", *TEXTS[:10]]
    done = encode(texts, ToyText())
    assert np.array_equal(done.vectors, expected([*TEXTS, *TEXTS[:10]]))


CHILD = """
    import sys, time
    from pathlib import Path
    from graft.encoders import runtime
    from graft.encoding import encode
    from graft.store.cache import VectorCache
    from tests.small_disk import small_disk
    from tests.toy_encoder import ToyRunner, ToyText, pause
    runtime.formats = lambda _: ("f32",)
    runtime.open_runner = lambda encoder, *, format, device: ToyRunner(encoder, format, before=pause(0.002))
    texts = [f"text number {i}, {'x' * (i % 57)}" for i in range(3000)]
    print("ready", flush=True)
    with VectorCache.open() as cache:
        done = encode(texts, ToyText(), cache=cache)
    print(done.summary.cached, done.summary.encoded, flush=True)
    """


def child(code: str, cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "GRAFT_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


@pytest.mark.usefixtures("toys")
@pytest.mark.soak
def test_killed_at_any_moment_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is killed, or interrupted as by Ctrl-C; what is left is right, and a last run finds part of the work done."""
    rng = random.Random(0)
    place = tmp_path / "killed"
    monkeypatch.setenv("GRAFT_CACHE", str(place))
    running = [child(CHILD, place) for _ in range(2)]
    for number in range(KILLS):
        process = running.pop(0)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGINT if number % 4 == 3 else signal.SIGKILL)
        process.communicate(timeout=20)
        if number < KILLS - 2:
            running.append(child(CHILD, place))
    for process in running:
        process.kill()
        process.communicate()
    with VectorCache.open() as cache:
        assert cache.note == ""
        done = encode(TEXTS, ToyText(), cache=cache)
    assert np.array_equal(done.vectors, expected(TEXTS))
    assert done.summary.cached > 0


def test_two_at_once_on_one_cache(tmp_path: Path) -> None:
    both = [child(CHILD, tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        cached, encoded = map(int, out.split()[1:])
        assert cached + encoded == 3000
