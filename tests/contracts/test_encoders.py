"""The contract of every encoder: whatever its kind, its parts fit together and its facts are true."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.encoders.base import Encoder, FloatArray
from graft.encoders.open import open_encoder
from graft.encoders.runtime import OpenVinoRunner, Runner, TorchRunner

# name: reference with the folder of a tiny model in braces, and the modality to open it with
KINDS = {
    "minilm": ("minilm", None),
    "efficientnet-lite0": ("efficientnet-lite0", None),
    "pixels": ("pixels", None),
    "pixels of side 8": ("pixels:8", None),
    "sentence-transformers": ("dir:{sentence-transformer}", None),
    "bert": ("dir:{bert}", None),
    "vit": ("dir:{vit}", None),
    "dinov2": ("dir:{dinov2}", None),
    "dinov2 classifier": ("dir:{dinov2-classifier}", None),
    "convnext": ("dir:{convnext}", None),
    "resnet": ("dir:{resnet}", None),
    "swin": ("dir:{swin}", None),
    "clip text": ("dir:{clip}", "text"),
    "clip image": ("dir:{clip}", "image"),
    "siglip text": ("dir:{siglip}", "text"),
    "siglip image": ("dir:{siglip}", "image"),
    "text layer": ("layer:dir:{bert}:encoder.layer.0", None),
    "picture layer of tokens": ("layer:dir:{vit}:layers.0", None),
    "picture layer of maps": ("layer:dir:{resnet}:encoder.stages.1", None),
    "layer of a tower": ("layer:dir:{clip}:vision_model.encoder.layers.0", "image"),
}


@dataclass
class Case:
    """One kind, its items, and the vectors its two runners made of them in one batch."""

    reference: str
    modality: str | None
    encoder: Encoder
    items: list[Any]
    openvino: Runner
    torch: Runner
    vectors: FloatArray


def encode(encoder: Encoder, runner: Runner, items: Sequence[Any], size: int) -> FloatArray:
    """Vectors of items in batches of `size`."""
    prepared = encoder.prepare(items)
    batches = [encoder.collate(prepared[at : at + size]) for at in range(0, len(prepared), size)]
    outputs = runner.run(batches)
    return np.concatenate([encoder.finish(raw, batch) for raw, batch in zip(outputs, batches, strict=True)])


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cosine of each row of a with that of b."""
    products: FloatArray = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return products


@pytest.fixture(scope="module")
def filled(tiny_model: Callable[[str], Path]) -> Callable[[str], str]:
    """A reference with the folder of its tiny model."""

    def fill(reference: str) -> str:
        before, brace, rest = reference.partition("{")
        name, _, after = rest.partition("}")
        return f"{before}{tiny_model(name)}{after}" if brace else reference

    return fill


@pytest.fixture(scope="module", params=list(KINDS), ids=lambda name: name.replace(" ", "-"))
def case(
    request: pytest.FixtureRequest, filled: Callable[[str], str], pictures: list[Image.Image], texts: list[str]
) -> Case:
    """An encoder of each kind, opened and run."""
    template, modality = KINDS[request.param]
    reference = filled(template)
    encoder = open_encoder(reference, modality=modality)
    items: list[Any] = list(texts) if encoder.info.modality == "text" else list(pictures)
    fast = OpenVinoRunner(encoder, "f32")
    plain = TorchRunner(encoder, "f32", "cpu")
    return Case(reference, modality, encoder, items, fast, plain, encode(encoder, fast, items, len(items)))


def test_is_an_encoder(case: Case) -> None:
    assert isinstance(case.encoder, Encoder)


def test_vectors_are_as_info_says(case: Case) -> None:
    info = case.encoder.info
    assert case.vectors.shape == (len(case.items), info.dim)
    assert case.vectors.dtype == np.float32
    assert case.vectors.flags.c_contiguous
    assert np.isfinite(case.vectors).all()
    norms = np.linalg.norm(case.vectors, axis=1)
    assert info.normalised == bool(np.allclose(norms, 1, atol=1e-5))
    assert info.modality in ("text", "image")
    assert (info.max_tokens is not None) == (info.modality == "text")
    assert (info.image_side is not None) == (info.modality == "image")


def test_openvino_equals_torch(case: Case) -> None:
    plain = encode(case.encoder, case.torch, case.items, len(case.items))
    assert cosines(case.vectors, plain).min() > 1 - 1e-5
    assert np.abs(case.vectors - plain).max() <= 1e-4 * np.abs(plain).max()


@pytest.mark.parametrize("size", [1, 3])
def test_batches_do_not_matter(case: Case, size: int) -> None:
    parts = encode(case.encoder, case.openvino, case.items, size)
    assert np.abs(parts - case.vectors).max() <= 1e-4 * np.abs(case.vectors).max()


def test_order_is_kept(case: Case) -> None:
    backwards = encode(case.encoder, case.openvino, case.items[::-1], 2)[::-1]
    norms = case.vectors / np.linalg.norm(case.vectors, axis=1, keepdims=True)
    nearest = np.argmin(((backwards[:, None] - case.vectors[None]) ** 2).sum(axis=2), axis=1)
    assert nearest.tolist() == list(range(len(case.items)))
    assert len(np.unique(norms.round(5), axis=0)) == len(case.items)


def test_the_same_items_give_the_same_bits(case: Case) -> None:
    again = encode(case.encoder, case.openvino, case.items, len(case.items))
    assert again.tobytes() == case.vectors.tobytes()


def test_facts_are_found_again(case: Case) -> None:
    again = open_encoder(case.reference, modality=case.modality)
    assert again.info == case.encoder.info
    assert len(again.info.fingerprint) == 64
    assert case.encoder.info.reference == case.reference


def test_classifier_reads_the_features(case: Case) -> None:
    classifier = case.encoder.classifier()
    if classifier is None:
        assert "efficientnet" not in case.reference
        return
    k, d = classifier.weight.shape
    assert d == case.encoder.info.dim
    assert classifier.bias.shape == (k,)
    assert len(classifier.names) == k
    assert all(isinstance(name, str) and name for name in classifier.names)


FOLDERS = ["sentence-transformer", "bert", "vit", "dinov2", "convnext", "resnet", "clip", "siglip"]


@pytest.mark.parametrize("name", FOLDERS)
def test_fingerprint_changes_with_a_weight(name: str, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    modality = "text" if name in ("clip", "siglip") else None
    folder = tmp_path / name
    shutil.copytree(tiny_model(name), folder)
    before = open_encoder(f"dir:{folder}", modality=modality).info
    original = open_encoder(f"dir:{tiny_model(name)}", modality=modality).info
    tensors = load_file(folder / "model.safetensors")
    first = next(name for name in sorted(tensors) if tensors[name].ndim)
    tensors[first] = tensors[first] + np.float32(1e-3)
    save_file(
        {name: np.asarray(tensor) for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    after = open_encoder(f"dir:{folder}", modality=modality).info
    assert before.fingerprint == original.fingerprint
    assert before.space == original.space
    assert after.fingerprint != before.fingerprint
    assert after.space != before.space


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_towers_share_one_space(name: str, tiny_model: Callable[[str], Path]) -> None:
    reference = f"dir:{tiny_model(name)}"
    joint = open_encoder(reference)
    text, image = (open_encoder(reference, modality=modality) for modality in ("text", "image"))
    assert joint.info.modality == "joint"
    assert text.info.space == image.info.space == joint.info.space
    assert text.info.fingerprint != image.info.fingerprint
    assert text.info.dim == image.info.dim == joint.info.dim


def own_features(name: str, folder: Path, items: list[Any]) -> FloatArray:
    """What transformers itself makes of the items: its own processor, its own forward pass."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer

    with torch.inference_mode():
        if name in ("clip text", "siglip text"):
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.enable_truncation(24)
            tokenizer.enable_padding(length=24)
            encoded = tokenizer.encode_batch([text.lower() for text in items])
            ids = torch.tensor([encoding.ids for encoding in encoded])
            mask = torch.tensor([encoding.attention_mask for encoding in encoded])
            masks = {"attention_mask": mask} if name == "clip text" else {}
            features = hf.AutoModel.from_pretrained(folder).eval().get_text_features(input_ids=ids, **masks)
            return np.asarray(torch.nn.functional.normalize(features.pooler_output, dim=1).numpy())
        family = json.loads((folder / "preprocessor_config.json").read_text())["image_processor_type"]
        processor = getattr(hf, family + "Pil").from_pretrained(folder)
        pixels = processor(images=items, return_tensors="pt")["pixel_values"]
        if name in ("clip image", "siglip image"):
            features = hf.AutoModel.from_pretrained(folder).eval().get_image_features(pixel_values=pixels)
            return np.asarray(torch.nn.functional.normalize(features.pooler_output, dim=1).numpy())
        if name == "dinov2":
            return np.asarray(hf.AutoModel.from_pretrained(folder).eval()(pixels).pooler_output.numpy())
        return np.asarray(hf.AutoModelForImageClassification.from_pretrained(folder).eval()(pixels).logits.numpy())


OWN = ["vit", "dinov2", "dinov2 classifier", "convnext", "resnet", "swin", "clip text", "clip image", "siglip text"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*OWN, "siglip image"])
def test_equals_transformers_itself(
    name: str, tiny_model: Callable[[str], Path], pictures: list[Image.Image], texts: list[str]
) -> None:
    """Features, or class logits through `classifier()`, equal transformers' own."""
    template, modality = KINDS[name]
    folder = tiny_model(template.partition("{")[2].partition("}")[0])
    encoder = open_encoder(f"dir:{folder}", modality=modality)
    items: list[Any] = list(texts) if modality == "text" else list(pictures)
    vectors = encode(encoder, TorchRunner(encoder, "f32", "cpu"), items, 4)
    classifier = encoder.classifier()
    if classifier is not None:
        vectors = vectors @ classifier.weight.T + classifier.bias
    own = own_features(name, folder, items)
    assert np.abs(vectors - own).max() <= 1e-5 * max(1.0, np.abs(own).max())


QUICK = """
import sys
from graft.encoders.open import open_encoder
for reference in sys.argv[1:]:
    info = open_encoder(reference).info
    assert len(info.fingerprint) == 64
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "openvino", "tokenizers", "huggingface_hub"}))
"""


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """What a fresh Python process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_facts_take_no_heavy_import(filled: Callable[[str], str]) -> None:
    references = [filled(template) for template, modality in KINDS.values() if not template.startswith("layer:")]
    assert run_python(QUICK, *references) == "[]"


MISSING = """
import sys
from graft.encoders.open import open_encoder
from graft.errors import MissingError
try:
    open_encoder("hub:nobody/not-there")
except MissingError as problem:
    print(problem.message)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "openvino", "huggingface_hub"}))
"""


def test_a_missing_hub_model_fails_before_any_heavy_import(tmp_path: Path) -> None:
    message, modules = run_python(MISSING, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "hub")).splitlines()
    assert str(tmp_path / "hub") in message
    assert modules == "[]"


LATER = """
import sys
import numpy as np
from graft.encoders.open import open_encoder
from graft.encoders.runtime import find_device, open_runner
from PIL import Image
for reference, item in (("minilm", "the cat sat on the mat"), ("efficientnet-lite0", Image.new("RGB", (50, 40), "red"))):
    encoder = open_encoder(reference)
    batch = encoder.collate(encoder.prepare([item]))
    raw, = open_runner(encoder, format="f32", device="cpu").run([batch])
    print(encoder.finish(raw, batch).shape)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "openvino_telemetry"}))
"""


def test_a_later_process_needs_no_torch() -> None:
    """Once converted (by the tests above, or here the first time), the graph alone is enough, and nothing is reported to anybody."""
    for _ in range(2):
        printed = run_python(LATER)
    assert printed.splitlines() == ["(1, 384)", "(1, 1280)", "[]"]
