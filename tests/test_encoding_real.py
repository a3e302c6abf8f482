"""The engine with the bundled encoders: the vectors are those of a plain torch loop, and a cached run imports no engine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.dataset import ImageSource
from graft.encoders.base import FloatArray
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.store.cache import VectorCache

TEXTS = [
    "A short one.",
    "",
    "Zwei Wörter",
    "The delivery never came and nobody answered the telephone, " * 30,
    *(
        f"Sentence number {i} is about {topic}."
        for i, topic in enumerate(("rain", "bread", "a long walk by the sea") * 5)
    ),
]


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    values: FloatArray = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return values


def test_texts_equal_a_plain_torch_loop() -> None:
    import torch

    encoder = open_encoder("minilm", modality="text")
    done = encode(TEXTS, encoder, device="cpu")
    module, rows = encoder.module(), []
    with torch.no_grad():
        for text in TEXTS:
            batch = encoder.collate(encoder.prepare([text]))
            raw = module(**{name: torch.from_numpy(array) for name, array in batch.items()}).numpy()
            rows.append(encoder.finish(raw, batch)[0])
    expected = np.stack(rows)
    assert cosines(done.vectors, expected).min() > 0.999
    assert np.abs(np.linalg.norm(done.vectors, axis=1) - 1).max() < 1e-5
    assert done.summary.fidelity is not None
    assert done.summary.fidelity.mean >= 0.999
    if done.summary.format == "f32":
        assert np.abs(done.vectors - expected).max() < 1e-5


def photo(number: int, width: int, height: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (height // 40, width // 40, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def test_pictures_equal_a_plain_torch_loop(tmp_path: Path) -> None:
    import torch

    sizes = [(320, 240), (1600, 1200), (500, 375), (900, 1200), (40, 80), (1200, 900)]
    sources = []
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.jpg").write_bytes(photo(number, *size))
        sources.append(ImageSource(tmp_path / f"{number}.jpg"))
    encoder = open_encoder("efficientnet-lite0", modality="image")
    done = encode(sources, encoder, device="cpu")
    pictures = [Image.open(source.path).convert("RGB") for source in sources]
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(encoder.prepare(pictures)))
        expected = encoder.module().eval()(pixels).numpy()
    assert cosines(done.vectors, expected).mean() > 0.999
    small = [0, 2, 4]  # decoded fully in every case
    assert cosines(done.vectors[small], expected[small]).min() > (0.999999 if done.summary.format == "f32" else 0.99)
    assert done.summary.fidelity is not None
    assert done.summary.fidelity.n == 6


CACHED = """
    import sys, time
    from pathlib import Path
    from graft.data.dataset import ImageSource
    from graft.encoders.open import open_encoder
    from graft.encoding import encode
    from graft.store.cache import VectorCache
    start = time.perf_counter()
    with VectorCache.open() as cache:
        texts = encode([f"a sentence about {i}" for i in range(40)] * 50, open_encoder("minilm", modality="text"), cache=cache)
        pictures = encode([ImageSource(Path(sys.argv[1]))], open_encoder("efficientnet-lite0", modality="image"), cache=cache)
    assert texts.vectors.shape == (2000, 384) and pictures.vectors.shape == (1, 1280)
    print(texts.summary.encoded, pictures.summary.encoded, *sorted({"torch", "transformers", "openvino", "tokenizers"} & set(sys.modules)))
    """


@pytest.mark.usefixtures("private_cache")
def test_a_cached_run_imports_no_engine(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo(0, 300, 200))
    with VectorCache.open() as cache:
        encode([f"a sentence about {i}" for i in range(40)], open_encoder("minilm", modality="text"), cache=cache)
        encode([ImageSource(tmp_path / "photo.jpg")], open_encoder("efficientnet-lite0", modality="image"), cache=cache)
    command = [sys.executable, "-c", textwrap.dedent(CACHED), str(tmp_path / "photo.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0"]
