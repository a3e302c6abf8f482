"""The fidelity gate: the fastest way to make vectors that is as good as the exact one, on the user's own items.

A *way* is a number format together with whether large photos may be decoded at a fraction of their size. The exact way computes in f32,
one item at a time, from fully decoded pictures. A way passes when the mean cosine between its vectors and the exact ones is at least
`THRESHOLD`; ways are tried fastest first. What was measured is remembered in the cache folder for each encoder, processor and engine, so
that the gate costs nothing later and a run that finds all vectors in the cache imports no engine. Shape suffixes: N items × D dims.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.batching import Budget, Read, Ready, prepare, read, vectors
from graft.data.dataset import Content
from graft.encoders.base import Encoder, Prepared
from graft.errors import StorageError
from graft.results import Fidelity
from graft.store.files import locked, write_json

if TYPE_CHECKING:
    from graft.encoders.runtime import Runner

THRESHOLD = 0.999  # mean cosine below which a way is not taken
SAMPLE = 32  # items compared; the standard error of their mean is far below what the threshold leaves

# Processors: measured in f32, 8 texts of 1,024 tokens to 32 of 4,096 are within 2 %, 64 of 8,192 cost a tenth more, 4 to 16 pictures are
# within 5 %; half precision gains from 32 texts. GPUs want more at once; these figures are not tuned.
_ON_PROCESSORS = {"text": Budget(items=32, tokens=4096, window=16_384), "image": Budget(items=8, tokens=8, window=8)}
_ON_GPUS = {"text": Budget(items=512, tokens=65_536, window=16_384), "image": Budget(items=128, tokens=128, window=128)}
_ONE_BY_ONE = Budget(items=1, tokens=1, window=SAMPLE)


@dataclass(frozen=True)
class Way:
    """How vectors are made. `scaled` allows decoding large JPEG files at 1/2, 1/4 or 1/8 of their size."""

    format: str
    scaled: bool

    @property
    def name(self) -> str:
        """The number format as cache keys hold it: vectors of photos that had to be decoded fully are kept apart."""
        return self.format if self.scaled else f"{self.format}+full"


@dataclass(frozen=True)
class Measured:
    """How one way did: cosines over `n` items out of `of`; `shrunk` of them were decoded at a smaller size."""

    mean: float
    minimum: float
    n: int
    of: int
    shrunk: int

    def speaks_for(self, items: int, shrinkable: bool) -> bool:
        """Whether it need not be measured again for `items` items, among which there are large photos if `shrinkable`."""
        return (self.n >= SAMPLE or items <= self.of) and (self.shrunk > 0 or not shrinkable)


_Entry = tuple[tuple[str, ...], Mapping[str, Measured]]  # number formats of a processor, and the ways measured on it


@dataclass(frozen=True)
class Plan:
    """How one call of `encode` will go."""

    way: Way
    device: str
    fidelity: Fidelity | None
    budget: Budget
    encoder: Encoder

    def runner(self) -> Runner:
        """The engine, opened when it is first needed, which takes seconds."""
        return _runner(self.encoder, self.way.format, self.device)


def plan(contents: Sequence[Content], encoder: Encoder, device: str | None = None, *, remember: bool = True) -> Plan:
    """Choose device, number format and decoding for `contents`, measuring what is not remembered.

    Without `remember` what is measured is forgotten again: contents that are not the user's must not speak for those that are.
    Raises what opening the encoder's weights raises (ModelError, MissingError), and only where something has to be measured.
    """
    memory = _remembered()
    device = _device(device or settings.device(), encoder, memory)
    key = _key(encoder, device)
    formats, known = memory.get(key) or (_formats(device), {})
    budget = _budget(encoder, device)
    if not contents:
        return Plan(Way(formats[0], scaled=True), device, None, budget, encoder)
    gate = _Gate(contents, encoder, device, budget)
    unmet = encoder.info.modality == "image" and bool(known) and not any(measured.shrunk for measured in known.values())
    way, ways = choose(formats, known, len(contents), unmet and gate.shrinkable(), gate.measure)
    if remember and ways != known and all(measured.n for measured in ways.values()):
        _remember(key, formats, ways)
        _forget_others(encoder, way.format, device)
    done = ways[way.name]
    fidelity = Fidelity(way.name, done.mean, done.minimum, done.n) if done.n else None
    return Plan(way, device, fidelity, budget, encoder)


def choose(
    formats: Sequence[str],
    known: Mapping[str, Measured],
    items: int,
    shrinkable: bool,
    measure: Callable[[Way], Measured],
) -> tuple[Way, dict[str, Measured]]:
    """The first way that passes, and all that is known by then, by `Way.name`.

    `formats` are the processor's, best first, with f32 last. Each is tried with scaled decoding and, where that fails and photos were in
    fact decoded at a smaller size, with full decoding. Where none passes, the last is taken: it differs from the exact way by batching alone.
    """
    known = dict(known)
    for format_ in formats:
        for scaled in (True, False):
            way = Way(format_, scaled)
            before = known.get(way.name)
            if before is None or not before.speaks_for(items, shrinkable and scaled):
                known[way.name] = measure(way)
            if known[way.name].mean >= THRESHOLD:
                return way, known
            if known[way.name].shrunk == 0:
                break  # full decoding would change nothing
    return way, known


def compare(fast_ND: NDArray[np.float32], exact_ND: NDArray[np.float32], *, of: int, shrunk: int) -> Measured:
    """Cosines of rows, in float64; equal rows have 1 even if they are zeros, a row that is not finite has -1.

    Rows whose exact vector is not finite are left out: no way helps them.
    """
    sound = np.isfinite(exact_ND).all(axis=1)
    fast, exact = fast_ND[sound].astype(np.float64), exact_ND[sound].astype(np.float64)
    finite = np.isfinite(fast).all(axis=1)
    fast[~finite] = -exact[~finite]
    norms = np.linalg.norm(fast, axis=1) * np.linalg.norm(exact, axis=1)
    equal = (fast == exact).all(axis=1).astype(np.float64)
    cosines = np.divide((fast * exact).sum(axis=1), norms, out=equal, where=norms > 0).clip(-1.0, 1.0)
    if not len(cosines):
        return Measured(1.0, 1.0, 0, of, shrunk)
    return Measured(float(cosines.mean()), float(cosines.min()), len(cosines), of, shrunk)


class _Gate:
    """A sample of one call's contents, and its vectors made in any way."""

    def __init__(self, contents: Sequence[Content], encoder: Encoder, device: str, budget: Budget) -> None:
        self.contents, self.encoder, self.device, self.budget = contents, encoder, device, budget

    def measure(self, way: Way) -> Measured:
        """Compare `way` with the exact one. With no readable content at all, nothing is known against it: n is 0."""
        if not self._whole:
            return Measured(1.0, 1.0, 0, len(self.contents), 0)
        fast = self._prepared(self._sample, scaled=True) if way.scaled else self._whole
        shrunk = sum(not np.array_equal(pixels, whole) for pixels, whole in zip(fast, self._whole, strict=True))
        return compare(self._vectors(fast, way.format, self.budget), self._exact, of=len(self.contents), shrunk=shrunk)

    def shrinkable(self) -> bool:
        """Whether the sample holds photos large enough to be decoded at a smaller size."""
        side = self.encoder.info.image_side
        values = (read(0, self.contents[position]).value for position in self._order[:SAMPLE])
        return side is not None and any(isinstance(value, bytes) and _shrinks(value, side) for value in values)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.random.default_rng(0).permutation(len(self.contents))

    @cached_property
    def _sample(self) -> list[Read]:
        """`SAMPLE` contents that can be read, drawn at random but always the same ones."""
        sample: list[Read] = []
        for position in self._order:
            item = read(len(sample), self.contents[position])
            if not item.problem and not any(ready.problem for ready in prepare(self.encoder, [item], scaled=False)):
                sample.append(item)
            if len(sample) == SAMPLE:
                break
        return sample

    @cached_property
    def _whole(self) -> list[Prepared]:
        return self._prepared(self._sample, scaled=False)

    @cached_property
    def _exact(self) -> NDArray[np.float32]:
        return self._vectors(self._whole, "f32", _ONE_BY_ONE)

    def _prepared(self, sample: list[Read], *, scaled: bool) -> list[Prepared]:
        ready = prepare(self.encoder, sample, scaled=scaled)
        return [self._whole[item.position] if item.prepared is None else item.prepared for item in ready]

    def _vectors(self, prepared: list[Prepared], format_: str, budget: Budget) -> NDArray[np.float32]:
        x_ND = np.empty((len(prepared), self.encoder.info.dim), np.float32)
        items = [Ready(place, "", one) for place, one in enumerate(prepared)]
        for batch, x_BD in vectors(self.encoder, _runner(self.encoder, format_, self.device), [items], budget):
            x_ND[[item.position for item in batch]] = x_BD
        return x_ND


def _shrinks(raw: bytes, side: int) -> bool:
    """Whether `data.images.decode` would decode a photo at a smaller size, told from its head alone."""
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(io.BytesIO(raw), formats=("JPEG", "MPO")) as picture:
        whole = picture.size
        picture.draft(None, (2 * side, 2 * side))
        return bool(picture.size != whole)
    return False


_opened: WeakKeyDictionary[Encoder, dict[tuple[str, str], Runner]] = WeakKeyDictionary()  # as long as the encoder lives


def _runner(encoder: Encoder, format_: str, device: str) -> Runner:
    from graft.encoders import runtime

    runners = _opened.setdefault(encoder, {})
    if (format_, device) not in runners:
        runners[format_, device] = runtime.open_runner(encoder, format=format_, device=device)
    return runners[format_, device]


def _forget_others(encoder: Encoder, format_: str, device: str) -> None:
    """Close the runners that were opened for comparison alone."""
    runners = _opened.get(encoder, {})
    for other in [key for key in runners if key != (format_, device)]:
        del runners[other]


def _formats(device: str) -> Sequence[str]:
    from graft.encoders import runtime

    return runtime.formats(device)


def _budget(encoder: Encoder, device: str) -> Budget:
    return (_ON_PROCESSORS if device == "cpu" else _ON_GPUS)["image" if encoder.info.modality == "image" else "text"]


# ---- what is remembered


def _memory_file() -> Path:
    return settings.cache_dir() / "fidelity.json"


def _remembered() -> dict[str, _Entry]:
    """Entries by encoder, device and processor; empty where there are none, or none that can be read."""
    try:
        tree = json.loads(_memory_file().read_bytes())
        return {
            key: (tuple(entry["formats"]), {name: Measured(**one) for name, one in entry["ways"].items()})
            for key, entry in tree.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _remember(key: str, formats: Sequence[str], ways: Mapping[str, Measured]) -> None:
    """Write one entry; a cache folder that cannot be written costs a measurement next time, and no more."""
    with contextlib.suppress(OSError, StorageError):
        settings.cache_dir().mkdir(parents=True, exist_ok=True)
        with locked(_memory_file()):
            entries = {**_remembered(), key: (tuple(formats), ways)}
            tree = {
                name: {"formats": list(all_), "ways": {way: asdict(measured) for way, measured in done.items()}}
                for name, (all_, done) in entries.items()
            }
            write_json(_memory_file(), tree)


def _key(encoder: Encoder, device: str) -> str:
    return f"{encoder.info.fingerprint} {device} {_processor(device)}, {_engine(device)}"


def _engine(device: str) -> str:
    """The package that will compute, with its version: another one may have other formats, and other errors."""
    for package in ("openvino", "torch") if device == "cpu" else ("torch",):
        with contextlib.suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    return ""


# ---- where to compute


def _device(named: str, encoder: Encoder, memory: Mapping[str, _Entry]) -> str:
    """The device `named` stands for. One that this encoder has run on is not looked for again, because torch takes a second to import."""
    for kind in ("cuda", "mps") if named == "auto" else (named,):
        if _processor(kind) and _key(encoder, kind) in memory:
            return kind
    from graft.encoders import runtime

    return runtime.find_device(named)


def _processor(device: str) -> str:
    """Name of the processor or GPU, without importing anything heavy; empty where there is none of that kind."""
    if device == "mps":
        return platform.processor() if sys.platform == "darwin" else ""
    if device == "cpu":
        return settings.processor()
    with contextlib.suppress(OSError, IndexError):
        if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
            return ""
        cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        return str(re.findall(r"Model:\s*(.+)", cards[0].read_text())[0]).strip()
    return ""
