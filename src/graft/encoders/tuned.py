"""Tuned encoders: another encoder and what training changed of it, an encoder like any other; small networks trained from nothing.

An encoder folder holds `encoder.json` (which encoder it starts from, what kind of changes, the hash of every file) and `changes.safetensors` (only what
changed). It is read with `dir:PATH`, runs nothing it holds, and refuses a base other than the one it was made of.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.encoders import folders
from graft.encoders.base import Array, Batch, Classifier, Encoder, EncoderInfo, FloatArray, Prepared
from graft.encoders.fingerprint import digest, fingerprint
from graft.encoders.image import PixelEncoder
from graft.encoders.tokens import PADDING, Words, frequent_words, pad
from graft.errors import MissingError, ModelError, UsageError, unknown

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
MANIFEST, CHANGES = "encoder.json", "changes.safetensors"
KINDS = ("weights", "lora", "adapters", "lora+adapters", "prompt", "prefix", "network")
WORDS = "words"  # the array that holds a network's list of words, as UTF-8 with a line end between two
MOST_WORDS = 256  # tokens of a text that a bag of words reads

# network: settings with their defaults; numbers with the least and largest value
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"width": 32, "kernel": 3, "side": 32, "norm": "group", "seed": 0},
    "bag": {"vocabulary": 20_000, "dim": 128, "seed": 0},
}
RANGES = {
    "width": (1, 1024),
    "kernel": (1, 15),
    "side": (8, 512),
    "vocabulary": (3, 10_000_000),
    "dim": (1, 4096),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, eq=False)
class Changes:
    """What differs from the base, by the names of its graph's state.

    kind            arrays
    weights         tensors that are not as in the base
    lora            X.lora_A and X.lora_B of each layer X (Hu et al. 2022): its weight grows by alpha / rank * B A; no time is lost to it
    adapters        X.adapter.down and X.adapter.up behind each layer X (Houlsby et al. 2019)
    lora+adapters   both
    prompt, prefix  one array of that name (Lester et al. 2021; Li & Liang 2021)
    network         all weights of a network trained from nothing, and its words

    `config` is what the adapters were made with (rank, alpha, width, length), or the settings of a network.
    """

    kind: str
    config: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(unknown("The kind of changes", self.kind, KINDS))


class TunedEncoder:
    """A base encoder with changed weights or added ones: prepares and pools as the base does. Implements `base.Encoder`.

    `reference` is "dir:FOLDER" of one that was opened; one that was not saved has none that could be opened. `content` is the hash of the changes,
    where it is known.
    """

    def __init__(self, base: Encoder, changes: Changes, reference: str = "", *, content: str = "") -> None:
        self.base, self.changes, self.reference = base, changes, reference
        self._content = content

    @property
    def kept(self) -> bool:
        """Whether it was opened from a folder; the graph of one that may never be used again is not worth keeping."""
        return bool(self.reference)

    @cached_property
    def content(self) -> str:
        """SHA-256 (64 hex digits) over names, types, shapes and values of the changes."""
        return self._content or _content(self.changes.arrays)

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts; the base's where the changes leave them as they are."""
        base, kind = self.base.info, self.changes.kind
        settings = json.dumps(dict(self.changes.config), sort_keys=True)
        mark = fingerprint([base.fingerprint, "tuned", kind, settings, self.content])
        what = f"network {self.changes.config['network']}" if kind == "network" else f"{base.space}, {kind}"
        return replace(
            base,
            reference=self.reference or f"{base.reference}+{kind}",
            fingerprint=mark,
            space=f"{what}: {mark[:16]}",
            dim=_network_dim(self.changes.config) if kind == "network" else base.dim,
            parameters=self._parameters(base.parameters),
        )

    def _parameters(self, base: int | None) -> int | None:
        """Count of weights; LoRA's are merged and count for nothing."""
        arrays, kind = self.changes.arrays, self.changes.kind
        shapes = arrays.shapes if isinstance(arrays, _Stored) else {name: a.shape for name, a in arrays.items()}
        if kind == "network":  # less its words, and how bytes are scaled
            return sum(math.prod(shape) for name, shape in shapes.items() if name.startswith("model."))
        added = sum(math.prod(shape) for name, shape in shapes.items() if ".lora_" not in name)
        return base if base is None or kind in ("weights", "lora") else base + added

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """As the base encoder does."""
        return self.base.prepare(items)

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """As the base encoder does."""
        return self.base.collate(prepared)

    def module(self) -> nn.Module:
        """The base's graph with the changes in it; LoRA is merged. Raises ModelError for changes that do not fit."""
        import torch

        if self.changes.kind == "network":
            from graft.encoders.graphs import small_network

            graph = small_network(self.changes.config)
            _set_weights(graph, {n: a for n, a in self.changes.arrays.items() if n != WORDS}, whole=True)
            return graph
        graph = self.base.module()
        with torch.no_grad():
            return _compose(graph, self.changes).eval()

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """As the base encoder does; a small network's features as they are."""
        if self.changes.kind == "network":
            return np.ascontiguousarray(raw, np.float32)
        return self.base.finish(raw, batch)

    def classifier(self) -> Classifier | None:
        """None: the base's classifier was made for its own features."""
        return None


def _content(arrays: Mapping[str, NDArray[Any]]) -> str:
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return whole.hexdigest()


# -- putting changes into a graph -------------------------------------------------------------------------------------


def _compose(graph: nn.Module, changes: Changes) -> nn.Module:
    arrays = dict(changes.arrays)
    if changes.kind == "weights":
        _set_weights(graph, arrays, whole=False)
    if "lora" in changes.kind:
        for name in [name.removesuffix(".lora_A") for name in arrays if name.endswith(".lora_A")]:
            _merge(graph, name, arrays.pop(f"{name}.lora_A"), arrays.pop(f"{name}.lora_B", None), changes.config)
    if "adapters" in changes.kind:
        _attach(graph, arrays)
    elif changes.kind in ("prompt", "prefix"):
        return _prompted(graph, changes)
    elif changes.kind == "lora" and arrays:
        raise _misfit(f"{min(arrays)} belongs to no layer.")
    return graph


def _misfit(what: str) -> ModelError:
    return ModelError(
        f"The changes of a tuned encoder do not fit its base: {what} Take the folder from its source again."
    )


def _set_weights(graph: nn.Module, arrays: Mapping[str, NDArray[Any]], *, whole: bool) -> None:
    """Copy arrays over the graph's state of those names; `whole`: it must be all of the state."""
    import torch

    state = graph.state_dict()
    if strange := sorted(arrays.keys() - state.keys()) or (sorted(state.keys() - arrays.keys()) if whole else []):
        raise _misfit(f"{strange[0]} is in one of the two only.")
    for name, array in arrays.items():
        if tuple(state[name].shape) != array.shape:
            raise _misfit(f"{name} has shape {array.shape} instead of {tuple(state[name].shape)}.")
        state[name].copy_(torch.from_numpy(np.asarray(array, order="C")))


def _layer(graph: nn.Module, name: str) -> Any:
    try:
        return graph.get_submodule(name)
    except AttributeError:
        raise _misfit(f"it has no layer {name}.") from None


def _merge(graph: nn.Module, name: str, a: NDArray[Any], b: NDArray[Any] | None, config: Mapping[str, Any]) -> None:
    """Add alpha / rank * B A to the weight of a linear layer, or of a 1x1 convolution, whose last two axes are 1."""
    import torch

    weight, rank = getattr(_layer(graph, name), "weight", None), a.shape[0] if a.ndim else 0
    shape = tuple(getattr(weight, "shape", ()))
    ones = (1,) * (len(shape) - 2)
    if (
        b is None
        or weight is None
        or rank == 0
        or shape[2:] != ones
        or a.shape != (rank, *shape[1:])
        or b.shape != (shape[0], rank, *ones)
    ):
        raise _misfit(f"the matrices of LoRA for {name} have other shapes.")
    product = b.reshape(-1, rank).astype(np.float64) @ a.reshape(rank, -1).astype(np.float64)
    try:
        scale = float(config.get("lora", config)["alpha"]) / rank
    except (KeyError, TypeError, ValueError):
        raise _misfit("how much of LoRA to add is not said (alpha).") from None
    weight += torch.from_numpy(scale * product).view(shape).to(weight.dtype)


def _attach(graph: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Bottleneck adapters behind the layers the arrays name."""
    from graft.encoders.graphs import attach_bottleneck

    for name in [name for name in arrays if name.endswith(".adapter.down.weight")]:
        if arrays[name].ndim < 2 or not arrays[name].size:
            raise _misfit(f"{name} has shape {arrays[name].shape}.")
        attach_bottleneck(_layer(graph, name.removesuffix(".adapter.down.weight")), len(arrays[name]))
    _set_weights(graph, arrays, whole=False)


def _prompted(graph: nn.Module, changes: Changes) -> nn.Module:
    import torch

    from graft.encoders.graphs import prompted

    if set(changes.arrays) != {changes.kind}:
        raise _misfit(
            f"they should hold one array, {changes.kind}, and hold {', '.join(sorted(changes.arrays)) or 'none'}."
        )
    return prompted(graph, changes.kind, torch.tensor(changes.arrays[changes.kind]))


# -- small networks ---------------------------------------------------------------------------------------------------


class WordsEncoder:
    """What a bag of words is built on: texts as ids of words, without a graph of its own."""

    def __init__(self, size: int, words: Callable[[], Sequence[str]] | None) -> None:
        self.size, self._list = size, words

    @cached_property
    def words(self) -> Words:
        """Ids of words; the list is read when it is first needed."""
        return Words(self.size, MOST_WORDS, None if self._list is None else self._list())

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts; the list of words is covered by the fingerprint of the network, which holds it."""
        mark = fingerprint(["words", str(self.size), str(MOST_WORDS)])
        return EncoderInfo(
            "words", mark, "words", self.size, "text", normalised=False, max_tokens=MOST_WORDS, parameters=0
        )

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """Word ids (T,) of each text."""
        return list(self.words(items))

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """`input_ids` and `attention_mask` (B, T), padded to the longest."""
        return dict(pad(prepared, PADDING))

    def module(self) -> nn.Module:
        """Raises ModelError: there are no weights."""
        raise ModelError("A list of words has no weights; a network trained on it has.")

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Raises ModelError: there is nothing to finish."""
        del raw, batch
        raise ModelError("A list of words makes no vectors; a network trained on it does.")

    def classifier(self) -> Classifier | None:
        """None."""
        return None


def new_network(
    modality: str, config: Mapping[str, Any] | None = None, texts: Sequence[str] | None = None
) -> TunedEncoder:
    """A small network with random weights drawn by a seed, as an encoder of kind "network".

    For pictures `network` is "cnn": three blocks of convolution, group norm (`norm` group or none) and ReLU with `width`, 2 and 4 `width` channels and an
    odd `kernel`, on squares of `side` pixels, to the mean over space; `dim` is 4 `width`. For texts "bag": the mean of `dim` numbers a word, then
    one hidden layer; the `vocabulary` is the most frequent words of `texts`, or hashed where there are none. Neither keeps statistics of batches.

    Raises UsageError naming every setting that is unknown or out of its range.
    """
    name = {"image": "cnn", "text": "bag"}.get(modality)
    if name is None:
        raise UsageError(unknown("Modality", modality, ("image", "text")))
    settings = _network_settings({"network": name, **(config or {})})
    if settings["network"] != name:
        raise UsageError(f"The network {settings['network']} is not for {modality}: {name} is.")
    words: list[str] | None = None
    if texts is not None and name == "bag":
        words = frequent_words(texts, settings["vocabulary"])
        settings["vocabulary"] = max(RANGES["vocabulary"][0], len(words) + 2)
    return _started(settings, words)


def _started(settings: Mapping[str, Any], words: list[str] | None) -> TunedEncoder:
    from graft.encoders.graphs import small_network

    arrays = {name: tensor.numpy() for name, tensor in small_network(settings).state_dict().items()}
    if words is not None:
        arrays[WORDS] = np.frombuffer("\n".join(words).encode(), np.uint8)
    return TunedEncoder(_network_base(settings, arrays), Changes("network", settings, arrays))


def _network_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a network, checked."""
    kind = str(config.get("network"))
    if kind not in NETWORKS:
        raise UsageError(unknown("The network", kind, NETWORKS))
    settings = {"network": kind, **NETWORKS[kind], **config}
    known = ("network", *NETWORKS[kind])
    problems = [unknown(f"The setting of {kind}", name, known) for name in settings if name not in known]
    for name in sorted(settings.keys() & RANGES.keys()):
        low, high = RANGES[name]
        value = settings[name]
        if not isinstance(value, int) or not low <= value <= high or (name == "kernel" and value % 2 == 0):
            odd = "odd " if name == "kernel" else ""
            problems.append(f"{name}={value}: an {odd}whole number from {low} to {high} is wanted.")
    if settings.get("norm", "group") not in ("group", "none"):
        problems.append(unknown("norm", str(settings["norm"]), ("group", "none")))
    if problems:
        raise UsageError(" ".join(problems))
    return settings


def _network_base(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Encoder:
    """What prepares a network's items."""
    if settings["network"] == "cnn":
        return PixelEncoder(f"pixels:{settings['side']}", settings["side"])
    listed = WORDS in arrays
    return WordsEncoder(
        settings["vocabulary"],
        (lambda: arrays[WORDS].tobytes().decode(errors="replace").split("\n")) if listed else None,
    )


def _network_dim(settings: Mapping[str, Any]) -> int:
    return int(4 * settings["width"] if settings["network"] == "cnn" else settings["dim"])


# -- encoder folders --------------------------------------------------------------------------------------------------


class _Stored(Mapping[str, "NDArray[Any]"]):
    """Arrays of a safetensors file, read when they are asked for: vectors of a graph that was converted before need none of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes, from the head of the file."""
        return folders.tensor_shapes([self._path])

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays: dict[str, NDArray[Any]] = load_file(self._path)
        except (OSError, SafetensorError, TypeError, ValueError, KeyError) as problem:
            raise ModelError(f"{self._path} cannot be read: {problem}") from None
        return arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def save_encoder(folder: Path, encoder: TunedEncoder) -> None:
    """Write `changes.safetensors` and, last, `encoder.json` into a folder, which is made if it is not there.

    Meant for a draft of `store.files.new_folder`, which keeps both or neither and says what ails the disk. Raises OSError.
    """
    from safetensors.numpy import save

    data = save({name: np.asarray(array, order="C") for name, array in encoder.changes.arrays.items()})
    base, info = encoder.base.info, encoder.info
    tree = {
        "schema": SCHEMA,
        "graft": metadata.version("graft"),
        "kind": encoder.changes.kind,
        "config": dict(encoder.changes.config),
        "modality": info.modality,
        "base": {"reference": base.reference, "fingerprint": base.fingerprint},
        "fingerprint": info.fingerprint,
        "content": encoder.content,
        "files": {CHANGES: hashlib.sha256(data).hexdigest()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHANGES).write_bytes(data)
    text = json.dumps(tree | {"digest": _digest(tree)}, ensure_ascii=False, allow_nan=False, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def encoder_folder(folder: Path) -> Path | None:
    """Where a folder holds a tuned encoder: itself, or `encoder/` in an artefact or in the artefact a fit wrote; None where it holds none."""
    for place in (folder, folder / "encoder", folder / "model" / "encoder"):
        if (place / MANIFEST).is_file() and not (place / "config.json").is_file():
            return place
    return None


def open_tuned(folder: Path, modality: str | None = None, *, reference: str = "") -> TunedEncoder:
    """The tuned encoder of a folder (see `encoder_folder`), its base opened too; weights are not read yet.

    Raises MissingError when a file or the base is not there, ModelError when a file was changed or cut short, was written by a newer Graft, or was
    made of another base than the one its reference now names; UsageError when it is of another modality.
    """
    place = encoder_folder(folder)
    if place is None:
        raise MissingError(f"{folder} holds no {MANIFEST}, so there is no tuned encoder in it.")
    tree = _manifest(place / MANIFEST)
    arrays = _Stored(place / CHANGES)
    _check_file(place / CHANGES, tree)
    try:
        changes = Changes(str(tree["kind"]), dict(tree["config"]), arrays)
        if changes.kind == "network":
            base = _network_base(_network_settings(changes.config), arrays)
        else:
            base = _open_base(str(tree["base"]["reference"]), str(tree["modality"]), place)
        made_of, content, mark = str(tree["base"]["fingerprint"]), str(tree["content"]), tree["fingerprint"]
    except (KeyError, TypeError, ValueError, UsageError) as problem:
        raise ModelError(f"{place / MANIFEST} is not the description of an encoder: {problem}") from None
    if base.info.fingerprint != made_of:
        raise ModelError(
            f"{place} was tuned from another encoder than {base.info.reference} is now (fingerprint {made_of[:16]}, "
            f"here {base.info.fingerprint[:16]}). Bring back the encoder it was tuned from, or tune again."
        )
    encoder = TunedEncoder(base, changes, reference or f"dir:{folder}", content=content)
    if encoder.info.fingerprint != mark:
        raise ModelError(f"{place / MANIFEST} states another fingerprint than its parts have; tune again.")
    if modality not in (None, encoder.info.modality):
        raise UsageError(f"{encoder.info.reference} is an encoder of modality {encoder.info.modality}, not {modality}.")
    return encoder


def _open_base(reference: str, modality: str, place: Path) -> Encoder:
    from graft.encoders.open import open_encoder

    try:
        return open_encoder(reference, modality=modality)
    except RecursionError:
        raise ModelError(f"{place / MANIFEST} names itself as the encoder it was tuned from.") from None


def _manifest(path: Path) -> dict[str, Any]:
    tree = folders.read_json(path)
    schema = tree.get("schema")
    if not isinstance(schema, int):
        raise ModelError(f"{path} names no schema number; it was not written by Graft.")
    if schema > SCHEMA:
        raise ModelError(
            f"{path} has schema {schema}, this Graft ({metadata.version('graft')}) reads up to {SCHEMA}: "
            "it was written by a newer one. `pip install --upgrade graft` reads it."
        )
    if tree.pop("digest", None) != _digest(tree):
        raise ModelError(
            f"{path} was changed since the encoder was saved. Take it from its source again, or tune again."
        )
    return tree


def _check_file(path: Path, tree: Mapping[str, Any]) -> None:
    """The one file a folder may name; others, wherever they are, are never opened."""
    stated = tree.get("files")
    if not isinstance(stated, dict) or set(stated) != {CHANGES}:
        raise ModelError(f"{path.parent / MANIFEST} should name the file {CHANGES} and no other.")
    if path.is_symlink():
        raise ModelError(f"{path} is a link to another place; it is not opened.")
    if not path.is_file():
        raise MissingError(f"{path} is missing: the encoder is incomplete. Copy the whole folder from its source.")
    if digest(path) != stated[CHANGES]:
        raise ModelError(
            f"{path} was changed since the encoder was saved. Take it from its source again, or tune again."
        )


def _digest(tree: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest itself, in one canonical spelling."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
