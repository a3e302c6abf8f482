"""The bundled image encoder: its classifier, its preprocessing, its names, and what happens when its files are damaged."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.encoders.efficientnet import EfficientNetLite0, imagenet_names, package_folder
from graft.encoders.runtime import OpenVinoRunner, TorchRunner
from graft.errors import MissingError, ModelError


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0:
    return EfficientNetLite0()


def test_names() -> None:
    names = imagenet_names()
    assert len(names) == 1000
    assert all(name == name.strip() != "" for name in names)
    assert (names[0], names[1], names[999]) == (
        "tench, Tinca tinca",
        "goldfish, Carassius auratus",
        "toilet tissue, toilet paper, bathroom tissue",
    )


def test_pixels_are_centred_on_127(encoder: EfficientNetLite0) -> None:
    (pixels,) = encoder.prepare([Image.new("RGB", (30, 50), (127, 255, 0))])
    scaled = pixels * np.array(encoder.preprocessing.scale).reshape(3, 1, 1)
    scaled = scaled + np.array(encoder.preprocessing.shift).reshape(3, 1, 1)
    assert pixels.shape == (3, 224, 224)
    assert scaled[:, 0, 0].tolist() == [0.0, 1.0, -127 / 128]


def test_the_classifier_reads_the_features(encoder: EfficientNetLite0) -> None:
    """Features times its weights are the network's own logits."""
    import torch

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 7, 3), np.uint8)).resize((300, 200))
    batch = encoder.collate(encoder.prepare([picture]))
    features = encoder.finish(next(iter(TorchRunner(encoder, "f32", "cpu").run([batch]))), batch)
    classifier = encoder.classifier()
    graph = encoder.module()
    with torch.inference_mode():
        pixels = torch.from_numpy(batch["pixels"]).float()
        network: torch.nn.Module = graph.get_submodule("model")
        logits = network((pixels - 127) / 128).numpy()
    assert np.abs(features @ classifier.weight.T + classifier.bias - logits).max() < 1e-4
    assert graph.get_buffer("scale").shape == (1, 3, 1, 1)


AFLOAT = "ship boat liner vessel carrier dock schooner yawl wreck submarine catamaran gondola canoe trimaran"


def test_it_knows_what_it_sees(encoder: EfficientNetLite0, shared_data: Path) -> None:
    """Of thirty photographs of ships, 32 pixels wide, at least twelve are taken for one of the few classes that float."""
    archive = shared_data / "cifar10/cifar10.zip"
    if not archive.is_file():
        pytest.skip("GRAFT_DATA holds no cifar10")
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if "/test/ship/" in name and name.endswith(".png"))[:30]
        pictures = [Image.open(BytesIO(files.read(name))).convert("RGB") for name in names]
    batch = encoder.collate(encoder.prepare(pictures))
    features = encoder.finish(next(iter(OpenVinoRunner(encoder, "f32").run([batch]))), batch)
    classifier = encoder.classifier()
    first = [classifier.names[k] for k in np.argmax(features @ classifier.weight.T + classifier.bias, axis=1)]
    assert sum(any(word in name for word in AFLOAT.split()) for name in first) >= 12


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_damaged_weights_are_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    folder = tmp_path / "package"
    (folder / "models").mkdir(parents=True)
    path = folder / "models/efficientnet-lite0-57934424.pth"
    if damage == "cut":
        path.write_bytes(EfficientNetLite0()._weights.read_bytes()[:10_000])
    if damage == "foreign":
        torch.save({"_conv_stem.weight": torch.zeros(1)}, path)
    monkeypatch.setattr("graft.encoders.efficientnet.package_folder", lambda *_: folder)
    with pytest.raises(ModelError, match="57934424"):
        EfficientNetLite0().module()


def test_a_missing_package_gives_its_install_line() -> None:
    with pytest.raises(MissingError, match="pip install some-package"):
        package_folder("no_such_package_here", "some-package")
