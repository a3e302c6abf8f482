"""Joint encoders of texts and pictures, CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023; SigLIP 2 of fixed resolution alike): two towers, one space."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graft.encoders import folders
from graft.encoders.base import Array, Batch, Classifier, Encoder, EncoderInfo, FloatArray, Prepared
from graft.encoders.fingerprint import fingerprint
from graft.encoders.image import PictureEncoder
from graft.encoders.pictures import Preprocessing, read_preprocessing
from graft.encoders.text import normalise
from graft.encoders.tokens import Tokeniser, pad
from graft.errors import UsageError, unknown

if TYPE_CHECKING:
    import torch

FAMILIES = ("clip", "siglip")
_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)


class JointEncoder:
    """Both towers of a folder. It encodes nothing itself: `tower("text")` and `tower("image")` do, into the same space."""

    def __init__(self, reference: str, folder: Path) -> None:
        self.reference, self.folder = reference, folder
        self.config = folders.model_config(folder)
        self.kind = str(self.config["model_type"])
        self.text_config: dict[str, Any] = self.config.get("text_config") or {}

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts of the pair."""
        return self.facts("joint", "")

    def facts(self, modality: str, tower: str, **more: Any) -> EncoderInfo:
        """Facts of one tower: a fingerprint of its own, the space of both. `tower` is everything of its preparation that no file says."""
        files = folders.named_files(self.folder)
        whole = fingerprint([self.kind], files)
        return EncoderInfo(
            reference=self.reference,
            fingerprint=fingerprint([self.kind, modality, tower], files),
            space=f"{self.kind}, normalised: {whole[:16]}",
            dim=self.dim,
            modality=modality,
            normalised=True,
            licence=folders.licence(self.folder),
            parameters=folders.parameters(path for _, path in files),
            **more,
        )

    @property
    def dim(self) -> int:
        """Dimensions of the shared space; the numbers are the families' defaults, which a file may leave out."""
        if self.kind == "clip":
            return int(self.config.get("projection_dim") or 512)
        return int(self.text_config.get("projection_size") or self.text_config.get("hidden_size") or 768)

    def load(self, without: str) -> Any:
        """The model less the tower that is not asked for."""
        model = folders.load(self.folder)
        delattr(model, without)
        return model

    def tower(self, modality: str) -> Encoder:
        """The encoder of "text" or "image"."""
        if modality == "text":
            return TextTower(self)
        if modality == "image":
            return ImageTower(self)
        raise UsageError(unknown("Modality", modality, ("text", "image")))

    def _choose(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises UsageError: choose a tower."""
        del args, kwargs
        call = f"open_encoder({self.reference!r}, modality='text')"
        raise UsageError(f"{self.reference} encodes texts and pictures; open one tower: {call} or 'image'.")

    prepare = collate = module = finish = _choose

    def classifier(self) -> Classifier | None:
        """None: classes are named by texts."""
        return None


class TextTower:
    """The text half of a joint encoder; vectors are normalised."""

    def __init__(self, joint: JointEncoder) -> None:
        self.joint = joint
        self.max_tokens = int(joint.text_config.get("max_position_embeddings") or (77 if joint.kind == "clip" else 64))
        path = joint.folder / "tokenizer_config.json"
        self.tokenizer_config = folders.read_json(path) if path.is_file() else {}

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts of this tower."""
        return self.joint.facts("text", str(self.max_tokens), max_tokens=self.max_tokens)

    @cached_property
    def _tokeniser(self) -> Tokeniser:
        default = int(self.joint.text_config.get("pad_token_id") or 1)
        # SigLIP and SigLIP 2 were trained on lower-cased texts, which their tokenizer files do not all say.
        return Tokeniser(self.joint.folder, self.max_tokens, pad_id=default, lower=self.joint.kind == "siglip")

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """Token ids (T,) of each text; for the first SigLIP without punctuation, as it was trained."""
        texts = list(items)
        if self.tokenizer_config.get("tokenizer_class") == "SiglipTokenizer":
            limit = self.max_tokens * 100
            texts = [" ".join(text[:limit].translate(_DELETE_PUNCTUATION).split()) for text in texts]
        return list(self._tokeniser(texts))

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """`input_ids` and `attention_mask`: CLIP to the longest text, SigLIP to its full length, where it reads the last token."""
        if self.joint.kind == "clip":
            return dict(pad(prepared, self._tokeniser.pad_id))
        left = self.tokenizer_config.get("padding_side") == "left"
        return dict(pad(prepared, self._tokeniser.pad_id, self.max_tokens, left=left))

    def module(self) -> torch.nn.Module:
        """Projected features (B, D); SigLIP was trained without an attention mask and runs without one."""
        from graft.encoders.graphs import TextFeatures

        return TextFeatures(self.joint.load(without="vision_model"), masked=self.joint.kind == "clip").eval()

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Unit length."""
        del batch
        return normalise(np.asarray(raw, np.float32))

    def classifier(self) -> Classifier | None:
        """None: classes are named by texts."""
        return None


def image_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Projected image features (B, D)."""
    features: torch.Tensor = model.get_image_features(pixel_values=pixels).pooler_output
    return features


class ImageTower(PictureEncoder):
    """The picture half of a joint encoder; vectors are normalised."""

    def __init__(self, joint: JointEncoder) -> None:
        self.joint = joint
        self.preprocessing: Preprocessing = read_preprocessing(joint.folder)

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts of this tower."""
        return self.joint.facts("image", repr(self.preprocessing), image_side=self.preprocessing.side)

    def module(self) -> torch.nn.Module:
        """Projected features (B, D) of bytes."""
        from graft.encoders.graphs import PictureFeatures

        return PictureFeatures(
            self.joint.load(without="text_model"), image_features, self.preprocessing.scale, self.preprocessing.shift
        ).eval()

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Unit length."""
        del batch
        return normalise(np.asarray(raw, np.float32))
