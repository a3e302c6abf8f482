"""Bridges: how texts find pictures when the picture encoder has no text tower.

A bridge maps picture vectors (`items`) and text vectors (`queries`) into one space in which the inner product is the score, so that any
index of vectors can serve it. `NamesBridge` needs no pairs: a classifier's probabilities meet the texts' likeness to the names of its
classes. `LearnedBridge` was fitted on pictures with texts (`graft.retrieval.learned`).
Legend: N items, Q queries, D dims of pictures, T dims of texts, K classes of the picture encoder's classifier, F features of a picture, R dims of
the common space, B texts of the bank, M dims of what a bridge gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from graft.encoders.base import Encoder
from graft.encoders.efficientnet import imagenet_kinds
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.errors import MissingError, ModelError, UsageError
from graft.heads.base import Arrays, Config, Float32Array, FloatArray, State, softmax, unit_rows
from graft.heads.zero_shot import class_probabilities
from graft.store.cache import VectorCache
from graft.store.files import new_folder, write_bytes, write_json

SCHEMA = 1
MANIFEST, TENSORS = "graft.json", "bridge.safetensors"
NAMES_BETA = 30.0  # best of 15..40 on Flickr8k and Tiny-ImageNet, where 15..40 differ by at most .005
HUB_BETA = 10.0  # how sharply a picture's nearest texts count as its hubness: 10..20 differ by .002


@dataclass(frozen=True)
class Ends:
    """The encoders a bridge joins: references for people, fingerprints so that vectors of others are refused."""

    text_reference: str
    text_fingerprint: str
    image_reference: str
    image_fingerprint: str

    @classmethod
    def of(cls, text: Encoder, image: Encoder) -> Ends:
        """Of two encoders; reads (or remembers) the hashes of their weights."""
        return cls(text.info.reference, text.info.fingerprint, image.info.reference, image.info.fingerprint)


class Bridge(Protocol):
    """Picture vectors and text vectors into one space of M dims.

    `metric` "dot": rows are compared by inner product as they are; their lengths mean something.
    """

    kind: str  # names | ridge | cca | contrastive
    metric: str
    ends: Ends

    @property
    def dim(self) -> int:
        """M."""

    @property
    def text_reference(self) -> str:
        """The encoder of the queries' texts."""

    @property
    def text_fingerprint(self) -> str:
        """Its fingerprint."""

    @property
    def image_fingerprint(self) -> str:
        """Of the encoder whose vectors `items` takes."""

    def items(self, x_ND: FloatArray) -> Float32Array:
        """(N, M) from a picture encoder's vectors as it gives them."""

    def queries(self, q_QT: FloatArray) -> Float32Array:
        """(Q, M) from text vectors."""

    def state(self) -> State:
        """Arrays (float32) and plain configuration from which `from_state` rebuilds the bridge."""

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The bridge that `state` described; it gives the same bits."""


class _Ended:
    """What bridges tell of their ends."""

    ends: Ends

    @property
    def text_reference(self) -> str:
        return self.ends.text_reference

    @property
    def text_fingerprint(self) -> str:
        return self.ends.text_fingerprint

    @property
    def image_fingerprint(self) -> str:
        return self.ends.image_fingerprint


class NamesBridge(_Ended):
    """Class names between pictures and words: items are p(class | picture), queries softmax(beta * cos(text, class name)).

    The inner product is `heads.zero_shot.class_scores`, how much of a picture's probability falls on classes named like the query.
    A *kind* is a word for several classes, "dog" for a hundred and eighteen breeds: a picture's probability of it is the sum of theirs. With
    `kinds_SK` (S kinds, 1 where a class is of the kind) kinds are answers like classes: their names stand below those of the classes.
    ConSE (Norouzi et al. 2014), which averages name vectors by probability, was behind on Tiny-ImageNet (accuracy@5 .92 against .96).
    """

    kind, metric = "names", "dot"

    def __init__(
        self,
        weight_KD: FloatArray,
        bias_K: FloatArray,
        names_KT: FloatArray,
        *,
        ends: Ends,
        beta: float = NAMES_BETA,
        kinds_SK: FloatArray | None = None,
    ) -> None:
        self.weight_KD, self.bias_K = np.asarray(weight_KD, np.float32), np.asarray(bias_K, np.float32)
        self.names_KT = unit_rows(names_KT)
        self.ends, self.beta = ends, beta
        self.kinds_SK = None if kinds_SK is None else np.asarray(kinds_SK, np.float32)

    @property
    def dim(self) -> int:
        """K, and S where there are kinds."""
        return len(self.names_KT)

    def plain(self) -> NamesBridge:
        """The same without kinds: probabilities that sum to 1."""
        if self.kinds_SK is None:
            return self
        names_KT = self.names_KT[: self.kinds_SK.shape[1]]
        return NamesBridge(self.weight_KD, self.bias_K, names_KT, ends=self.ends, beta=self.beta)

    def items(self, x_ND: FloatArray) -> Float32Array:
        """Class probabilities (N, K), rows sum to 1; and beside them those of the kinds, sums of them."""
        wide_NK = class_probabilities(_dims(x_ND, self.weight_KD, "pictures"), self.weight_KD, self.bias_K)
        p_NK: Float32Array = wide_NK.astype(np.float32)
        return p_NK if self.kinds_SK is None else np.hstack([p_NK, p_NK @ self.kinds_SK.T])

    def queries(self, q_QT: FloatArray) -> Float32Array:
        """Which classes or kinds are named like the texts (Q, M): rows sum to 1."""
        return softmax(self.beta * (unit_rows(_dims(q_QT, self.names_KT, "texts")) @ self.names_KT.T)).astype(
            np.float32
        )

    def state(self) -> State:
        """The classifier's layer, the names, beta and the ends."""
        arrays = {"weight": self.weight_KD, "bias": self.bias_K, "names": self.names_KT}
        if self.kinds_SK is not None:
            arrays["kinds"] = self.kinds_SK
        return dict(arrays), {"kind": self.kind, "beta": self.beta, "ends": asdict(self.ends)}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The bridge that `state` described."""
        bridge = cls(
            arrays["weight"],
            arrays["bias"],
            arrays["names"],
            ends=Ends(**config["ends"]),
            beta=config["beta"],
            kinds_SK=arrays.get("kinds"),
        )
        bridge.names_KT = arrays["names"]  # of length 1 already: scaled once more, last bits would change
        return bridge


@dataclass(frozen=True)
class Maps:
    """Two affine maps into a common space: (picture features - item_centre) @ item_map, (text vector - query_centre) @ query_map."""

    item_centre_F: Float32Array
    item_map_FR: Float32Array
    query_centre_T: Float32Array
    query_map_TR: Float32Array


class LearnedBridge(_Ended):
    """Maps learned from pairs; the score is a cosine, and where they are given, two more terms:

    `blend` times the Bhattacharyya coefficient of the two sides of `names` (the inner product of the roots of its probabilities), and
    less `hub` times the picture's hubness: log-mean-exp of HUB_BETA times its scores with a bank of texts, over HUB_BETA. A picture that is near
    to everything is near to nothing in particular (inverted softmax, Smith et al. 2017; CSLS, Conneau et al. 2018); as the term belongs to
    the picture alone, it is one more dimension, which the queries meet with 1.
    """

    metric = "dot"

    def __init__(
        self,
        kind: str,
        maps: Maps,
        *,
        ends: Ends,
        root: bool,
        names: NamesBridge | None = None,
        blend: float = 0.0,
        hub: float = 0.0,
        bank_BT: FloatArray | None = None,
    ) -> None:
        self.kind, self.maps, self.ends, self.root = kind, maps, ends, root
        self.names = None if names is None else names.plain()
        self.blend, self.hub = blend if names is not None else 0.0, hub if bank_BT is not None else 0.0
        self.bank_BM = self._sides(bank_BT) if self.hub and bank_BT is not None else None

    @property
    def dim(self) -> int:
        """R, and K for the names, and 1 for hubness."""
        named = self.names.dim if self.names is not None and self.blend else 0
        return int(self.maps.item_map_FR.shape[1]) + named + (self.bank_BM is not None)

    def items(self, x_ND: FloatArray) -> Float32Array:
        """(N, M); the first R columns have length 1."""
        x_ND = np.asarray(x_ND, np.float32)
        maps = self.maps
        features_NF = picture_features(x_ND, self.names, root=self.root)
        features_NF = _dims(features_NF, maps.item_map_FR.T, "pictures")
        parts = [unit_rows((features_NF - maps.item_centre_F) @ maps.item_map_FR)]
        if self.names is not None and self.blend:
            parts.append(np.float32(self.blend) * np.sqrt(self.names.items(x_ND)))
        item_NM = np.concatenate(parts, axis=1)
        if self.bank_BM is None:
            return item_NM
        near_NB = np.exp(HUB_BETA * (item_NM @ self.bank_BM.T))  # scores are at most 1 + blend: no overflow
        hubness_N1 = np.log(near_NB.mean(axis=1, keepdims=True)) / HUB_BETA
        return np.concatenate([item_NM, (-self.hub * hubness_N1).astype(np.float32)], axis=1)

    def queries(self, q_QT: FloatArray) -> Float32Array:
        """(Q, M)."""
        sides_QM = self._sides(q_QT)
        if self.bank_BM is None:
            return sides_QM
        return np.concatenate([sides_QM, np.ones((len(sides_QM), 1), np.float32)], axis=1)

    def _sides(self, q_QT: FloatArray) -> Float32Array:
        maps = self.maps
        unit_QT = unit_rows(_dims(q_QT, maps.query_map_TR.T, "texts"))
        mapped_QR = unit_rows((unit_QT - maps.query_centre_T) @ maps.query_map_TR)
        if self.names is None or not self.blend:
            return mapped_QR
        return np.concatenate([mapped_QR, np.sqrt(self.names.queries(unit_QT))], axis=1)

    def state(self) -> State:
        """Maps, bank, the names' arrays, and the settings."""
        arrays: dict[str, Any] = dict(vars(self.maps))
        if self.bank_BM is not None:
            arrays["bank_BM"] = self.bank_BM
        config = {"kind": self.kind, "root": self.root, "blend": self.blend, "hub": self.hub, "ends": asdict(self.ends)}
        if self.names is not None:
            named, told = self.names.state()
            arrays |= named
            config["beta"] = told["beta"]
        return arrays, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The bridge that `state` described."""
        ends, maps = Ends(**config["ends"]), Maps(**{name: arrays[name] for name in Maps.__annotations__})
        names = NamesBridge.from_state(arrays, config) if "beta" in config else None
        bridge = cls(config["kind"], maps, ends=ends, root=config["root"], names=names, blend=config["blend"])
        bridge.hub, bridge.bank_BM = config["hub"], arrays.get("bank_BM")
        return bridge


def picture_features(x_ND: FloatArray, names: NamesBridge | None, *, root: bool) -> Float32Array:
    """What a learned bridge sees of a picture (N, F): its vector at length 1, of the features' square roots where `root` (they are not
    negative, as after a ReLU and pooling), and beside it, where there is a classifier, the fourth root of its probabilities at length 1.

    The fourth root lets unlikely classes speak: on Flickr8k it adds .007 of recall, the ConSE vector .005, logits nothing.
    """
    x_ND = np.asarray(x_ND, np.float32)
    own_ND = unit_rows(np.sqrt(np.maximum(x_ND, 0)) if root else x_ND)
    if names is None:
        return own_ND
    return np.concatenate([own_ND, unit_rows(names.plain().items(x_ND) ** 0.25)], axis=1)


def _dims(x_ND: FloatArray, like_KD: FloatArray, what: str) -> FloatArray:
    if x_ND.ndim != 2 or x_ND.shape[1] != like_KD.shape[1]:
        raise UsageError(
            f"The bridge takes vectors of {what} with {like_KD.shape[1]} dims; these have shape {x_ND.shape}."
        )
    return x_ND


def names_bridge(encoder: Encoder, *, cache: VectorCache | None, text: Encoder | None = None) -> NamesBridge | None:
    """The bridge over the class names of a picture encoder's own classifier; None where it has none.

    A class may have several names, "tench, Tinca tinca": its vector is the mean of the vectors of all of them in one text and of the
    first alone (unit rows both). Against the whole text only: Tiny-ImageNet accuracy@5 .957 for .925, Flickr8k recall .122 for .119. Kinds
    are those of `encoders/imagenet_kinds.tsv` where the classes are ImageNet's: of the first ten Flickr8k photos for one of eighteen
    plain words ("dogs", "snow", "mountain") .49 have the word in two captions, .39 without kinds; the two figures before do not fall.
    """
    classifier = encoder.classifier()
    if classifier is None:
        return None
    text = text or open_encoder(BUNDLED["text"], modality="text")
    kinds, members_SK = imagenet_kinds(classifier.names)
    whole = [*classifier.names, *kinds]
    texts = [*whole, *(name.split(",")[0].strip() for name in whole)]
    vectors = unit_rows(encode(texts, text, cache=cache, remember=False).vectors)
    names_MT = unit_rows(vectors[: len(whole)] + vectors[len(whole) :])
    return NamesBridge(
        classifier.weight,
        classifier.bias,
        names_MT,
        ends=Ends.of(text, encoder),
        kinds_SK=members_SK if kinds else None,
    )


def save_bridge(bridge: Bridge, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> None:
    """Write `graft.json` and `bridge.safetensors` into a new folder, whole or not at all. `about` (plain JSON) is kept for people.

    Raises UsageError where the folder exists with something in it, StorageError when the disk fails.
    """
    from safetensors.numpy import save as to_bytes

    arrays, config = bridge.state()
    content = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    tree = {
        "schema": SCHEMA,
        "kind": "bridge",
        "graft": metadata.version("graft"),
        "config": config,
        "about": dict(about or {}),
        "files": {TENSORS: hashlib.sha256(content).hexdigest()},
    }
    with new_folder(Path(folder)) as draft:
        write_bytes(draft / TENSORS, content)
        write_json(draft / MANIFEST, tree | {"digest": _digest(tree)})


def load_bridge(folder: str | Path) -> Bridge:
    """The bridge saved in `folder`, its hashes checked.

    Raises MissingError when a file is not there, ModelError when one was changed, is no bridge, or was written by a newer Graft.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    path = Path(folder)
    tree = _manifest(path)
    content = _bytes(path / TENSORS)
    if hashlib.sha256(content).hexdigest() != tree["files"].get(TENSORS):
        raise ModelError(
            f"{path / TENSORS} was changed since the bridge was saved. Fit it again, or take it from its source."
        )
    config = tree["config"]
    kind: type[NamesBridge] | type[LearnedBridge] = NamesBridge if config["kind"] == "names" else LearnedBridge
    try:
        return kind.from_state(from_bytes(content), config)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"{path} holds no bridge that this Graft can rebuild: {error!r}.") from error


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    content = _bytes(path)
    try:
        tree: dict[str, Any] = json.loads(content)
        kind, schema = tree["kind"], tree["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is not the manifest of a bridge ({error!r}).") from error
    if kind != "bridge" or schema != SCHEMA:
        raise ModelError(f"{path} is of kind {kind!r} and schema {schema}; a bridge of schema {SCHEMA} is expected.")
    digest = tree.pop("digest", None)
    if digest != _digest(tree):
        raise ModelError(f"{path} was changed since the bridge was saved. Fit it again, or take it from its source.")
    return tree


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"{path} is not there or cannot be read; `graft bridge fit PAIRS --out FOLDER` makes a bridge."
        ) from error


def _digest(tree: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest in one canonical spelling."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
