"""Preprocessing to the bit as transformers' own, on every rule its processors have."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.encoders.pictures import read_preprocessing
from graft.errors import MissingError, ModelError

PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {"image_processor_type": "ViTImageProcessor"},
    "vit old": {"feature_extractor_type": "ViTFeatureExtractor", "size": 96, "resample": 3},
    "vit oblong": {"image_processor_type": "ViTImageProcessor", "size": {"height": 60, "width": 90}},
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "odd crop": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 75}, "crop_size": 70},
    "crop larger than the picture": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 75},
        "crop_size": {"height": 90, "width": 81},
    },
    "clip": {"image_processor_type": "CLIPImageProcessor"},
    "clip old": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 96, "do_center_crop": True},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 64}},
    "convnext small": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 96}, "resample": 2},
    "convnext percent": {"image_processor_type": "ConvNextImageProcessor", "size": 96, "crop_pct": 0.95},
    "convnext large": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
    "no scaling": {"image_processor_type": "ViTImageProcessor", "do_normalize": False, "do_rescale": False},
    "rescaled only": {"image_processor_type": "ViTImageProcessor", "do_normalize": False, "rescale_factor": 0.01},
    "a fast one": {"image_processor_type": "ViTImageProcessorFast", "resample": 1},
}


def write(folder: Path, settings: dict[str, Any], name: str = "preprocessor_config.json") -> Path:
    (folder / name).write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Noise at several scales, of sizes that make every rounding matter."""
    random = np.random.default_rng(1)
    made = []
    for size in [(320, 240), (97, 131), (61, 33), (400, 101), (224, 224)]:
        coarse = Image.fromarray(random.integers(0, 256, (9, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        fine = random.integers(-20, 21, (size[1], size[0], 3))
        made.append(Image.fromarray(np.clip(np.asarray(coarse, np.int64) + fine, 0, 255).astype(np.uint8)))
    return made


def off_by(settings: dict[str, Any], folder: Path, items: list[Image.Image]) -> float:
    """How far ours, scaled as the graph scales, lies from transformers' own processor for the same file: the largest, in parts of the largest value."""
    import transformers as hf

    kind = settings.get("image_processor_type", settings.get("feature_extractor_type", ""))
    kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast") + "Pil"
    own = getattr(hf, kind).from_pretrained(write(folder, settings))
    ours = read_preprocessing(folder)
    scale, shift = (np.array(values).reshape(3, 1, 1) for values in (ours.scale, ours.shift))
    worst = 0.0
    for item in items:
        expected = own(images=item, return_tensors="np")["pixel_values"][0]
        pixels = ours(item)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        off = np.abs(pixels * scale + shift - expected).max() / max(1, np.abs(expected).max())
        worst = max(worst, float(off))
    return worst


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(PROCESSORS))
def test_equals_transformers(name: str, tmp_path: Path, photographs: list[Image.Image]) -> None:
    assert off_by(PROCESSORS[name], tmp_path, photographs) < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_equals_transformers_on_real_photographs(tmp_path: Path, shared_data: Path) -> None:
    archive = shared_data / "flickr8k_1000/flickr8k_1000.zip"
    if not archive.is_file():
        pytest.skip("GRAFT_DATA holds no flickr8k_1000")
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".jpg"))[:8]
        items = [Image.open(BytesIO(files.read(name))).convert("RGB") for name in names]
    assert off_by(PROCESSORS["dinov2"], tmp_path, items) < 1e-4
    assert off_by(PROCESSORS["siglip"], tmp_path, items) < 1e-4


@pytest.mark.parametrize("size", [(4000, 2), (1, 3000), (900, 100)])
def test_long_strips_do_not_grow(size: tuple[int, int], tmp_path: Path) -> None:
    """Resized by its shorter edge alone a strip would take gigabytes; the part that is kept must be right all the same."""
    ramp = np.linspace(0, 255, max(size)).astype(np.uint8)
    strip = np.broadcast_to(ramp if size[0] > size[1] else ramp[:, None], (size[1], size[0]))
    picture = Image.fromarray(np.stack([strip] * 3, axis=2))
    preprocessing = read_preprocessing(write(tmp_path, PROCESSORS["dinov2"]))
    tracemalloc.start()
    pixels = preprocessing(picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (3, 224, 224)
    assert peak < 5e6
    if min(size) > 50:
        short, grown = 256, int(256 * max(size) / min(size))
        whole = picture.resize((grown, short), Image.Resampling.BICUBIC)
        left, top = (grown - 224) // 2, (short - 224) // 2
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1)
        assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_settings_may_lie_inside_a_joint_processor(tmp_path: Path) -> None:
    alone, joint = tmp_path / "alone", tmp_path / "joint"
    alone.mkdir()
    joint.mkdir()
    write(alone, PROCESSORS["clip"])
    write(joint, {"image_processor": PROCESSORS["clip"]}, "processor_config.json")
    assert read_preprocessing(alone) == read_preprocessing(joint)
    assert read_preprocessing(alone).side == 224


REFUSED: dict[str, dict[str, Any]] = {
    "DetrImageProcessor": {"image_processor_type": "DetrImageProcessor"},
    "different sizes": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 64},
        "do_center_crop": False,
    },
    "do_pad": {"image_processor_type": "ViTImageProcessor", "do_pad": True},
    "longest_edge": {"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 64}},
}


@pytest.mark.parametrize("said", [*REFUSED])
def test_what_cannot_be_followed_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said if said != "longest_edge" else "height"):
        read_preprocessing(write(tmp_path, REFUSED[said]))


def test_no_settings_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"preprocessor_config\.json"):
        read_preprocessing(tmp_path)
