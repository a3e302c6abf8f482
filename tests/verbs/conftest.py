"""Two small real models, of texts and of pictures, saved as `fit` saves them and shared by all tests of the verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft import artifact
from graft.artifact import Manifest, Origin
from graft.data.dataset import Content, ImageSource
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.heads.prototypes import PrototypeHead
from graft.results import Abstention, Calibration
from graft.store.cache import VectorCache
from graft.strategies.frozen import head_from_state

HARBOUR = (
    "The ferry left the pier at dawn.",
    "Fishing boats unload their catch on the quay.",
    "A crane lifts containers from the cargo ship.",
    "The lighthouse keeper logs every passing vessel.",
)
KITCHEN = (
    "Whisk the eggs and fold in the flour.",
    "The soup simmers on the stove for an hour.",
    "She chops onions with a sharp knife.",
    "Bake the bread until the crust is golden.",
)

Save = Callable[..., Path]


def fitted(contents: list[Content], classes: tuple[str, str], reference: str, folder: Path, threshold: float) -> Path:
    """A model of prototypes on `contents`, the first half of one class and the second of the other."""
    labels = np.repeat([0, 1], len(contents) // 2)
    modality = "text" if isinstance(contents[0], str) else "image"
    with VectorCache.open() as cache:
        encoded = encode(contents, open_encoder(reference, modality=modality), cache=cache)
    head = PrototypeHead(normalisation="L2N").fit(encoded.vectors, labels, 2)
    arrays, config = head.state()
    manifest = Manifest(
        name=folder.name,
        classes=classes,
        encoder=encoded.summary,
        strategy="prototypes",
        head=config,
        calibration=Calibration(0.5, 0.3, 0.2, 0.1, 0.05),
        abstention=Abstention(threshold, 0.9, "folds"),
        data=Origin(name=folder.name, items=len(contents), train=len(contents), test=0, columns={"content": "body"}),
    )
    artifact.save(
        folder,
        manifest,
        arrays,
        sample_x=encoded.vectors,
        sample_answers=artifact.probabilities(head, encoded.vectors, 0.5),
        rebuild=head_from_state,
    )
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells harbours from kitchens in texts."""
    return fitted(
        [*HARBOUR, *KITCHEN], ("harbour", "kitchen"), "minilm", tmp_path_factory.mktemp("texts") / "places", 0.52
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four dark and four bright pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(8):
        level = 20 * i + (100 if i >= 4 else 0)
        Image.new("RGB", (16, 16), (level, level, 255 - level)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def picture_model(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells dark pictures from bright ones by their pixels."""
    contents: list[Content] = [ImageSource(path) for path in sorted(pictures.iterdir())]
    return fitted(contents, ("dark", "bright"), "pixels:8", tmp_path_factory.mktemp("images") / "light", 0.0)
