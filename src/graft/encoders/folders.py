"""Folders that hold a pretrained model: found on disk or in the Hugging Face cache, read without running anything they hold.

Files are JSON and safetensors; pickled weights are read with `weights_only=True` alone; Python files are neither fetched nor run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.errors import MissingError, ModelError, UsageError

WANTED = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.model",
    "README.md",
)  # never *.py, *.pkl; *.bin only where there is nothing safer
UNWANTED = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*", "*.msgpack", "*.h5")
SMALL_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "preprocessor_config.json",
    "processor_config.json",
)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder. Raises MissingError when the file is absent, ModelError when it is damaged or no object."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path.parent} holds no {path.name}, which a model's folder needs.") from None
    except (OSError, ValueError) as problem:
        raise ModelError(f"{path} cannot be read as JSON: {problem}") from None
    if not isinstance(tree, dict):
        raise ModelError(f"{path} should hold a JSON object, but holds {type(tree).__name__}.")
    return tree


def model_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model that needs no code of its own; one that names such code in `auto_map` is refused with ModelError."""
    config = read_json(folder / "config.json")
    if config.get("auto_map"):
        raise ModelError(
            f"{folder} needs Python code of its own (auto_map in config.json: {', '.join(sorted(config['auto_map']))}). "
            "Graft never runs code from a model's folder. Choose a model whose type transformers knows by itself."
        )
    if not config.get("model_type"):
        raise ModelError(f"{folder / 'config.json'} names no model_type, so what kind of model it is cannot be told.")
    return config


def local_folder(path: str) -> Path:
    """The folder of a `dir:` reference. Raises MissingError when there is none."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise MissingError(f"There is no folder {folder}. Give dir:PATH of a folder with config.json and weights.")
    return folder


def hub_cache() -> Path:
    """Folder in which huggingface_hub keeps models, by the same environment variables."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    base = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return (Path(home) if home else base).expanduser() / "hub"


def hub_folder(name: str) -> Path:
    """The folder of `hub:org/name` or `hub:org/name@revision`: from the local cache if it is whole, else fetched where the network may be used.

    Looked up without importing huggingface_hub, so that a missing model fails at once. Raises UsageError for a malformed name, MissingError when
    the model is not here and cannot be had.
    """
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository) or ".." in repository:
        raise UsageError(f"hub:{name} is no name of a model. The form is hub:org/name or hub:org/name@revision.")
    place = hub_cache() / f"models--{repository.replace('/', '--')}"
    cached = _snapshot(place, revision or "main")
    if cached is not None:
        return cached
    if settings.offline():
        raise MissingError(
            f"hub:{name} is not in the local cache ({place}), and nothing may be fetched (GRAFT_OFFLINE or HF_HUB_OFFLINE is set). "
            "Fetch it once while online, or give dir:PATH of a folder that holds it."
        )
    return _download(repository, revision or None, place)


def _snapshot(place: Path, revision: str) -> Path | None:
    """A cached snapshot that holds a configuration and all of its weights, or None."""
    with contextlib.suppress(OSError):
        ref = place / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else revision
        folder = place / "snapshots" / commit
        if (folder / "config.json").is_file() or (folder / "modules.json").is_file():
            # sentence-transformers may keep its transformer in a folder of its own
            for part in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
                names = list(weight_names(part))
                if names and all((part / name).is_file() for name in names):
                    return folder
    return None


def _download(repository: str, revision: str | None, place: Path) -> Path:
    """Fetch a model's configuration and weights: safetensors, and only where there are none pickled weights."""
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError

    def fetch(*patterns: str) -> Path:
        return Path(
            hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(UNWANTED)
            )
        )

    try:
        folder = fetch(*WANTED)
        if not any(folder.rglob("*.safetensors")):
            folder = fetch(*WANTED, "pytorch_model*.bin")
    except (HfHubHTTPError, OSError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise MissingError(
            f"hub:{repository} is not in the local cache ({place}) and could not be fetched: {reason}"
        ) from None
    return folder


def weight_names(folder: Path) -> Iterator[str]:
    """Names of the weight files in a folder: safetensors where there are any, else pickled ones; shards by their index."""
    for whole, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / whole).is_file():
            yield whole
            return
        if (folder / index).is_file():
            yield from sorted(set(read_json(folder / index).get("weight_map", {}).values()))
            return


def weight_files(folder: Path) -> list[Path]:
    """Paths of the weight files. Raises ModelError when there are none or one of several is absent."""
    files = [folder / name for name in weight_names(folder)]
    if not files:
        raise ModelError(
            f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin (nor an index of several) is there."
        )
    if absent := [path.name for path in files if not path.is_file()]:
        raise ModelError(f"{folder} lacks weight files that its index names: {', '.join(absent)}")
    return files


def named_files(folder: Path, extra: Iterable[Path] = ()) -> list[tuple[str, Path]]:
    """What a model's fingerprint covers: its weights, configuration, tokenizer and preprocessing, each with its place in the folder."""
    small = [folder / name for name in SMALL_FILES if (folder / name).is_file()]
    return [(path.relative_to(folder).as_posix(), path) for path in (*small, *weight_files(folder))] + [
        (f"../{path.parent.name}/{path.name}", path) for path in extra
    ]


def tensor_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of tensors in safetensors files, from their headers; pickled files tell nothing without being loaded and are passed over.

    Raises ModelError for a damaged header.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if path.suffix != ".safetensors":
            continue
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(min(length, 100 << 20)))
            shapes.update({name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"})
        except (OSError, ValueError, struct.error, KeyError, AttributeError, TypeError) as problem:
            raise ModelError(f"{path} is no safetensors file, or a damaged one: {problem}") from None
    return shapes


def parameters(files: Iterable[Path]) -> int | None:
    """Count of numbers in safetensors files, or None where the weights are pickled."""
    shapes = tensor_shapes(files)
    return sum(math.prod(shape) for shape in shapes.values()) or None


def read_tensors(files: Iterable[Path], names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """The named tensors as float32, those that are there. Pickled files are read with `weights_only=True`; ModelError when damaged."""
    wanted, found = set(names), {}
    for path in files:
        try:
            if path.suffix == ".safetensors":
                found.update(_from_safetensors(path, wanted))
            else:
                import torch

                state = torch.load(path, map_location="cpu", weights_only=True)
                found.update({name: state[name].float().numpy() for name in wanted if name in state})
        except Exception as problem:
            raise ModelError(f"{path} cannot be read: {str(problem).splitlines()[0]}") from None
    return found


def _from_safetensors(path: Path, wanted: set[str]) -> dict[str, NDArray[np.float32]]:
    from safetensors import safe_open

    with safe_open(path, "np") as tensors:
        here = wanted & set(tensors.keys())
        plain = {name for name in here if tensors.get_slice(name).get_dtype() != "BF16"}
        found = {name: np.asarray(tensors.get_tensor(name), np.float32) for name in plain}
    if here - plain:  # numpy has no bfloat16
        with safe_open(path, "pt") as tensors:
            found.update({name: tensors.get_tensor(name).float().numpy() for name in here - plain})
    return found


def licence(folder: Path) -> str | None:
    """The licence a model card's head names, or None."""
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:4000]
    except OSError:
        return None
    match = re.search(r"\A---\s.*?^license:\s*([\w.\-]+)\s*$.*?^---", head, re.DOTALL | re.MULTILINE)
    return match.group(1) if match else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers' reports and progress bars say what `load` checks itself; here they are silent, elsewhere they stay as they were."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load(folder: Path, *, unused: tuple[str, ...] = (), overrides: Mapping[str, Any] | None = None) -> Any:
    """The folder's model by transformers' AutoModel, in float32 and evaluation mode, with every weight it uses taken from the folder.

    `unused` are first parts of weight names the caller does not use (a pooler): only those may be missing. Weights of heads, which AutoModel has no
    place for, are left; weights inside the model that the configuration has no place for mean that the two do not belong together. Raises ModelError.
    """
    import torch
    from transformers import AutoModel

    weight_files(folder)
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that the report names them, and the check below refuses them
                dtype=torch.float32,
                **(overrides or {}),
            )
    except (
        Exception
    ) as problem:  # transformers raises many kinds for one reason: the folder does not hold a model it can build
        lines = [line for line in str(problem).splitlines() if line.strip()] or [type(problem).__name__]
        raise ModelError(f"{folder} cannot be loaded: {' '.join(lines[:3])}") from problem
    missing = sorted(name for name in report["missing_keys"] if name.split(".")[0] not in unused)
    mismatched = sorted(
        f"{entry[0]}, {tuple(entry[1])} instead of {tuple(entry[2])}" for entry in report["mismatched_keys"]
    )
    surplus = _surplus(model, report["unexpected_keys"])
    for what, names in (
        ("lacks weights", missing),
        ("holds weights of other shapes", mismatched),
        ("holds weights its configuration has no place for", surplus),
    ):
        if names:
            raise ModelError(f"{folder} {what}, so it is not run: {_some(names)}")
    return model.eval()


def _surplus(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Unexpected weights that lie inside the model proper: more layers than the configuration says, for instance. Tables that are no weights do not count."""
    inside = {name for name, _ in model.named_children()}
    prefix = f"{model.base_model_prefix}."
    tables = ("position_ids", "inv_freq", "relative_position_index", "num_batches_tracked")
    return sorted(
        name
        for name in unexpected
        if name.removeprefix(prefix).split(".")[0] in inside and not name.endswith(tables) and "pooler" not in name
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
