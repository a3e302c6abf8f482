"""Encoders as OpenVINO graphs, converted once and kept in the cache folder, so that later processes need neither torch nor transformers.

A graph lies in `openvino/FINGERPRINT/` with its weights and the digests of both: what is half written, changed or cut short does not match and is made
again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from graft import settings
from graft.encoders.base import Batch, Encoder
from graft.encoders.fingerprint import digest, remembered
from graft.encoders.layers import example
from graft.interrupts import held

GRAPH, WEIGHTS, DIGESTS = "graph.xml", "graph.bin", "graph.json"
ABANDONED = 3600.0  # seconds after which a half written graph is nobody's any more
_lock = threading.Lock()


def openvino() -> Any:
    """The openvino package, imported so that it tells nobody.

    Its converter reports each import and each conversion to its makers unless it finds its telemetry package missing, for which it has a stand-in that
    sends nothing; so that package is hidden while openvino is imported. Raises ImportError where openvino is not installed.
    """
    with _lock:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        name, modules = "openvino_telemetry", cast("dict[str, Any]", sys.modules)
        before = modules.get(name)
        modules[name] = None  # makes its import fail, as the language defines
        try:
            import openvino

            return openvino
        finally:
            del modules[name]
            if before is not None:
                modules[name] = before


def read_graph(core: Any, encoder: Encoder) -> Any:
    """The encoder's graph from the cache, converted first if it is not there or damaged. Raises ModelError for weights that cannot be used.

    Where the cache folder cannot be written the graph is used from memory: slower to open, no less right.
    """
    if not getattr(encoder, "kept", True):  # a tuned encoder that may never be used again
        return convert(encoder)
    place = settings.cache_dir() / "openvino" / encoder.info.fingerprint
    if _whole(place):
        # A graph another version wrote may be unreadable to this one: then it is made again.
        with contextlib.suppress(RuntimeError):
            return core.read_model(place / GRAPH)
    model = convert(encoder)
    try:
        _save(model, place)
        return core.read_model(place / GRAPH)
    except (OSError, RuntimeError):
        return model


def _whole(place: Path) -> bool:
    """Whether a kept graph is as it was written."""
    stated = remembered(place / DIGESTS)
    try:
        return bool(stated) and all(stated.get(name) == digest(place / name) for name in (GRAPH, WEIGHTS))
    except OSError:
        return False


def convert(encoder: Encoder) -> Any:
    """The encoder's module as an OpenVINO model with any batch size and, for texts, any length; weights stay float32."""
    ov = openvino()
    import torch

    batch = _example(encoder)
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    module = encoder.module().eval()
    # The converter calls Python back from compiled code, which makes an error of its own of Ctrl-C, or aborts.
    with held(), _quietly(torch), torch.no_grad():
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        # Tracing a second time to compare, torch's default, is a third of the whole; the contract tests compare the results instead.
        traced = TorchScriptPythonDecoder(module, example_input=tensors, trace_kwargs={"check_trace": False})
        model = ov.convert_model(traced, example_input=tensors)
    shapes = {}
    for port in model.inputs:
        array = batch[port.get_any_name()]
        # Pictures have one size, and a graph that knows it runs faster.
        shapes[port] = ov.PartialShape([-1, *(array.shape[1:] if array.ndim == 4 else [-1] * (array.ndim - 1))])
    model.reshape(shapes)
    return model


def _example(encoder: Encoder) -> Batch:
    """A batch of two to trace with: texts of different length, so that padding is seen."""
    item = example(encoder.info)
    return encoder.collate(encoder.prepare([item, "Short." if isinstance(item, str) else item]))


@contextlib.contextmanager
def _quietly(torch: Any) -> Iterator[None]:
    """Tracing warns of every Python branch in a model; the contract tests compare the result instead. One thread: tracing runs tiny batches."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(), _transformers_quiet():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)


def _transformers_quiet() -> contextlib.AbstractContextManager[None]:
    from graft.encoders.folders import quiet

    return quiet() if "transformers" in sys.modules else contextlib.nullcontext()


def _save(model: Any, place: Path) -> None:
    """Write a graph into a folder of another name and move the folder into place; if another process was there first, its graph stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob("converting-*"):  # by a process that was killed
        if left.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="converting-", dir=place.parent))
    try:
        try:
            openvino().save_model(model, folder / GRAPH, compress_to_fp16=False)
        except RuntimeError as problem:  # how openvino says that the disk is full
            raise OSError(errno.EIO, str(problem)) from problem
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (GRAPH, WEIGHTS)}
        (folder / DIGESTS).write_text(json.dumps(digests))
        for name in (GRAPH, WEIGHTS, DIGESTS):
            with (folder / name).open("rb+") as stream:
                os.fsync(stream.fileno())
        if place.exists() and not _whole(place):
            shutil.rmtree(place, ignore_errors=True)
        try:
            folder.rename(place)
        except OSError:
            if not _whole(place):
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
