"""Text encoders: sentence-transformers folders (also the bundled MiniLM) and plain transformers text models.

A sentence-transformers folder is read from its `modules.json` (Reimers & Gurevych 2019); the package itself takes eight seconds to import and is not
needed. A folder without one is pooled by the mean over tokens and normalised, the usual choice where nobody said another.
Shape suffixes: B batch, T tokens, D dims.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.encoders import folders
from graft.encoders.base import Array, Batch, Classifier, EncoderInfo, FloatArray, Prepared
from graft.encoders.fingerprint import fingerprint
from graft.encoders.tokens import Tokeniser, pad
from graft.errors import ModelError, unknown

if TYPE_CHECKING:
    import torch

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens", "lasttoken")
LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
MODULES = ("Transformer", "Pooling", "Normalize", "Dense", "Dropout")
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "data2vec-text", "xmod")


@dataclass(frozen=True)
class Dense:
    """A linear layer behind the pooling: `activation(weight @ x + bias)`."""

    folder: Path
    out: int
    activation: str

    @cached_property
    def weights(self) -> dict[str, FloatArray]:
        tensors = folders.read_tensors(folders.weight_files(self.folder), ("linear.weight", "linear.bias"))
        if "linear.weight" not in tensors:
            raise ModelError(f"{self.folder} lacks the weights of its Dense layer (linear.weight).")
        return tensors

    def __call__(self, x_BD: FloatArray) -> FloatArray:
        linear = x_BD @ self.weights["linear.weight"].T + self.weights.get("linear.bias", np.float32(0))
        return np.asarray(ACTIVATIONS[self.activation](linear), np.float32)


@dataclass(frozen=True)
class Plan:
    """What a text model's folder says to do: which model, how many tokens, how to pool, and the steps after (a Dense layer, or "normalise")."""

    model: Path
    max_tokens: int
    pooling: str
    steps: tuple[Dense | str, ...]
    dim: int
    lower: bool = False
    prefix: str = ""
    note: str = ""


class TextEncoder:
    """Texts to vectors by a transformer, pooled over tokens; implements `base.Encoder`."""

    def __init__(self, reference: str, folder: Path) -> None:
        self.reference, self.folder = reference, folder
        self.plan = read_plan(folder)

    @cached_property
    def info(self) -> EncoderInfo:
        """Facts; `space` says how vectors are made of token states."""
        plan = self.plan
        dense = [step for step in plan.steps if isinstance(step, Dense)]
        files = folders.named_files(plan.model, [path for step in dense for path in folders.weight_files(step.folder)])
        constants = [repr((plan.max_tokens, plan.pooling, plan.lower, plan.prefix, plan.dim))]
        constants += [step if isinstance(step, str) else repr((step.out, step.activation)) for step in plan.steps]
        mark = fingerprint(constants, files)
        kind = folders.model_config(plan.model)["model_type"]
        done = " + ".join(
            [f"{plan.pooling} over tokens", *("dense" if isinstance(s, Dense) else s for s in plan.steps)]
        )
        return EncoderInfo(
            reference=self.reference,
            fingerprint=mark,
            space=f"{kind}, {done}{plan.note}: {mark[:16]}",
            dim=plan.dim,
            modality="text",
            normalised=bool(plan.steps) and plan.steps[-1] == "normalise",
            max_tokens=plan.max_tokens,
            licence=folders.licence(self.folder),
            parameters=folders.parameters(path for _, path in files),
        )

    @cached_property
    def _tokeniser(self) -> Tokeniser:
        pad_id = folders.model_config(self.plan.model).get("pad_token_id")
        return Tokeniser(
            self.plan.model, self.plan.max_tokens, pad_id=pad_id, lower=self.plan.lower, prefix=self.plan.prefix
        )

    def prepare(self, items: Sequence[Any]) -> list[Prepared]:
        """Token ids (T,) of each text."""
        return list(self._tokeniser(items))

    def collate(self, prepared: Sequence[Prepared]) -> Batch:
        """`input_ids` and `attention_mask` (B, T), padded to the longest."""
        return dict(pad(prepared, self._tokeniser.pad_id))

    def module(self) -> torch.nn.Module:
        """Hidden states (B, T, D). A pooler's weights may be missing: its output is not used."""
        from graft.encoders.graphs import TokenStates

        return TokenStates(folders.load(self.plan.model, unused=("pooler",)))

    def finish(self, raw: Array, batch: Batch) -> FloatArray:
        """Pool over tokens, then Dense layers and normalisation as the folder says."""
        vectors = pool(np.asarray(raw, np.float32), batch["attention_mask"], self.plan.pooling)
        for step in self.plan.steps:
            vectors = step(vectors) if isinstance(step, Dense) else normalise(vectors)
        return np.ascontiguousarray(vectors, np.float32)

    def classifier(self) -> Classifier | None:
        """None: a text encoder has no classes."""
        return None


def pool(states_BTD: FloatArray, mask_BT: Array, pooling: str) -> FloatArray:
    """One vector (B, D) a text from its token states; padding does not count. `pooling` is one of POOLINGS."""
    mask = mask_BT.astype(np.float32)
    if pooling == "cls":
        return states_BTD[:, 0]
    if pooling == "lasttoken":
        return np.asarray(states_BTD[np.arange(len(mask)), mask_BT.sum(axis=1) - 1], np.float32)
    if pooling == "max":
        return np.asarray(np.where(mask[..., None] > 0, states_BTD, np.float32(-np.inf)).max(axis=1), np.float32)
    sums_BD = np.matmul(mask[:, None, :], states_BTD)[:, 0]
    counts = mask.sum(axis=1, keepdims=True)
    return np.asarray(sums_BD / (counts if pooling == "mean" else np.sqrt(counts)), np.float32)


def normalise(x_BD: FloatArray) -> FloatArray:
    """Rows of unit length; a row of zeros stays one."""
    units: FloatArray = x_BD / np.maximum(np.linalg.norm(x_BD, axis=1, keepdims=True), 1e-12)
    return units


def read_plan(folder: Path) -> Plan:
    """The plan of a folder. Raises ModelError for modules, poolings and activations that are not known, all by name."""
    if not (folder / "modules.json").is_file():
        config = _text_config(folder)
        return Plan(
            folder,
            _max_tokens(folder, config, {}),
            "mean",
            ("normalise",),
            _hidden_size(folder, config),
            note=" (by default)",
        )
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or len(set(kinds[2:]) & {"Transformer", "Pooling"}):
        raise ModelError(
            f"{folder / 'modules.json'} lists {', '.join(kinds)}; it should begin with Transformer, Pooling and have each once."
        )
    model = modules[0][1]
    config = _text_config(model)
    sentence = (
        folders.read_json(model / "sentence_bert_config.json")
        if (model / "sentence_bert_config.json").is_file()
        else {}
    )
    pooling = _pooling(modules[1][1])
    steps = tuple(
        "normalise" if kind == "Normalize" else _dense(place) for kind, place in modules[2:] if kind != "Dropout"
    )
    outs = [step.out for step in steps if isinstance(step, Dense)]
    return Plan(
        model,
        _max_tokens(model, config, sentence),
        pooling,
        steps,
        outs[-1] if outs else _hidden_size(model, config),
        lower=bool(sentence.get("do_lower_case")),
        prefix=_prompt(folder),
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    path = folder / "modules.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        entries = [(str(row["type"]), folder / str(row["path"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelError(f"{path} cannot be read as a list of modules: {problem}") from None
    for kind, place in entries:
        if not kind.startswith("sentence_transformers."):
            raise ModelError(
                f"{path} names a module of its own code, {kind!r}. Graft never runs code from a model's folder."
            )
        if kind.rpartition(".")[2] not in MODULES:
            raise ModelError(f"{path}: " + unknown("Module", kind.rpartition(".")[2], MODULES))
        if ".." in place.parts:
            raise ModelError(f"{path} points outside its folder: {place}")
    return [(kind.rpartition(".")[2], place) for kind, place in entries]


def _text_config(folder: Path) -> dict[str, Any]:
    config = folders.model_config(folder)
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"{folder} holds an encoder-decoder model ({config['model_type']}); Graft takes encoders such as bert, mpnet, xlm-roberta, modernbert."
        )
    return config


def _hidden_size(folder: Path, config: dict[str, Any]) -> int:
    for key in ("hidden_size", "dim", "d_model", "n_embd"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise ModelError(f"{folder / 'config.json'} names no hidden_size, so the length of its vectors cannot be told.")


def _max_tokens(folder: Path, config: dict[str, Any], sentence: dict[str, Any]) -> int:
    """As sentence_bert_config.json says, else what tokenizer and position table both allow (512 where neither says)."""
    if sentence.get("max_seq_length"):
        return int(sentence["max_seq_length"])
    path = folder / "tokenizer_config.json"
    stated = folders.read_json(path).get("model_max_length") if path.is_file() else None
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and config["model_type"] in OFFSET_POSITIONS:  # these count positions from pad_token_id + 1
        positions -= (config.get("pad_token_id") or 0) + 1
    limits = [int(limit) for limit in (stated, positions) if limit and limit < 1e6]
    return min(limits, default=512)


def _pooling(folder: Path) -> str:
    config = folders.read_json(folder / "config.json")
    modes = config.get("pooling_mode") or [mode for key, mode in LEGACY_POOLINGS.items() if config.get(key)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) > 1:
        raise ModelError(
            f"{folder} joins several poolings ({', '.join(modes)}); Graft takes one of {', '.join(POOLINGS)}."
        )
    if modes[0] not in POOLINGS:
        raise ModelError(f"{folder}: " + unknown("Pooling", modes[0], POOLINGS))
    if config.get("include_prompt") is False:
        raise ModelError(
            f"{folder} leaves the prompt's tokens out of its pooling (include_prompt is false), which Graft does not do."
        )
    return str(modes[0])


def _dense(folder: Path) -> Dense:
    config = folders.read_json(folder / "config.json")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rpartition(".")[2]
    if not activation.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise ModelError(f"{folder}: " + unknown("Activation", activation, ACTIVATIONS))
    if config.get("use_residual") or config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise ModelError(
            f"{folder} is a Dense layer with a residual or another input than the pooled vector, which Graft does not run."
        )
    return Dense(folder, int(config["out_features"]), name)


def _prompt(folder: Path) -> str:
    """The prompt that sentence-transformers sets before every text by default."""
    path = folder / "config_sentence_transformers.json"
    config = folders.read_json(path) if path.is_file() else {}
    return str((config.get("prompts") or {}).get(config.get("default_prompt_name") or "", "") or "")
