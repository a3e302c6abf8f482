"""Running encoders: OpenVINO on CPUs, torch on GPUs and wherever OpenVINO is not to be had.

OpenVINO's f32 is 4 to 8 times torch's on small vision models and a little faster on texts; its half precision is several times faster again on processors
that compute in it. Batches go through in order while others are computed.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import platform
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graft import settings
from graft.encoders.base import Array, Batch, Encoder
from graft.encoders.conversion import openvino, read_graph
from graft.errors import MissingError, UsageError, unknown

FORMATS = ("f16", "bf16", "f32")
STREAMS = 2  # two batches are computed at once: one covers what the other cannot divide among threads


class Runner(Protocol):
    """An opened encoder: arrays of `collate` in, the module's raw output (float32) out."""

    format: str
    device: str

    def run(self, batches: Iterable[Batch]) -> Iterator[Array]:
        """Outputs in the order of the batches, lazily: batches are drawn a few ahead of the output that is waited for."""


def find_device(name: str = "auto") -> str:
    """A device to run on: `auto` is a GPU if torch sees one, else "cpu"; torch is imported only where the machine has a GPU's driver.

    Raises UsageError for a name of no known form, MissingError for a GPU that torch does not see.
    """
    if name == "cpu":
        return name
    if name != "auto" and name != "mps" and name.partition(":")[0] != "cuda":
        raise UsageError(unknown("Device", name, ("auto", "cpu", "cuda", "cuda:0", "mps")))
    if name == "auto" and not _driver():
        return "cpu"
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    number = name.partition(":")[2]
    if not (mps if name == "mps" else cuda and int(number or 0) < torch.cuda.device_count()):
        raise MissingError(
            f"Device {name!r} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA GPUs. Use cpu or auto."
        )
    return name


def _driver() -> bool:
    """Whether this machine may have a GPU that torch can use, told without importing torch."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return ctypes.util.find_library("nvcuda") is not None
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


@cache
def _cpu_formats() -> tuple[str, ...]:
    try:
        capabilities = set(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    except ImportError:
        return ("f32",)
    flags = _cpu_flags()
    native = {
        # OpenVINO also names FP16 on processors that only convert it (AVX-VNNI-2); there is no gain in that.
        "f16": "FP16" in capabilities
        and (flags is None or bool(flags & {"avx512_fp16", "amx_fp16", "asimdhp", "fphp"})),
        "bf16": "BF16" in capabilities and (flags is None or bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})),
        "f32": True,
    }
    return tuple(name for name in FORMATS if native[name])


def _cpu_flags() -> set[str] | None:
    """The processor's features as Linux lists them, or None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return None


def formats(device: str) -> tuple[str, ...]:
    """Number formats this device computes in, the best first; "f32" is always the last.

    On a CPU half precision is named only where the processor computes in it: f16 (AVX-512 FP16, AMX FP16, or ARM's)
    before bf16, which is as fast and less exact.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        return FORMATS
    return ("f16", "f32") if kind == "mps" else _cpu_formats()


def open_runner(encoder: Encoder, *, format: str, device: str) -> Runner:
    """A runner of an encoder on "cpu", "cuda", "cuda:1" or "mps".

    Raises UsageError for a format the device does not have, ModelError for weights that do not fit.
    """
    if format not in formats(device):
        raise UsageError(unknown(f"On {device} the number format", format, formats(device)))
    if device == "cpu":
        with contextlib.suppress(ImportError):
            openvino()
            return OpenVinoRunner(encoder, format)
    return TorchRunner(encoder, format, device)


@cache
def _core() -> Any:
    return openvino().Core()


class OpenVinoRunner:
    """An encoder compiled for this processor; requests are kept for the next call, so that a single query costs no set-up."""

    device = "cpu"

    def __init__(self, encoder: Encoder, format: str) -> None:
        threads = settings.threads()
        streams = min(STREAMS, threads)
        graph = read_graph(_core(), encoder)
        self._compiled = _core().compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": format,
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": threads,
                # Threads tied to processors stall when other work holds one of them.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self.format = format
        self._inputs = {port.get_any_name() for port in self._compiled.inputs}
        # One more than run at once: a batch waits ready while the last one's output is taken.
        self._ahead = streams + 1
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def _request(self) -> Any:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._compiled.create_infer_request()

    def run(self, batches: Iterable[Batch]) -> Iterator[Array]:
        """Outputs (B, ...) in order."""
        running: deque[tuple[Any, dict[str, Array]]] = deque()
        try:
            for batch in batches:
                if len(running) == self._ahead:
                    yield self._take(running)
                request = self._request()
                inputs = {name: array for name, array in batch.items() if name in self._inputs}
                request.start_async(inputs, share_inputs=True)
                running.append(
                    (request, inputs)
                )  # the arrays are read where they lie, so they must live until the output is taken
            while running:
                yield self._take(running)
        finally:
            for request, _ in running:
                with contextlib.suppress(RuntimeError):
                    request.wait()

    def _take(self, running: deque[tuple[Any, dict[str, Array]]]) -> Array:
        request, _ = running[0]
        request.wait()
        running.popleft()
        output = np.array(
            request.get_output_tensor().data
        )  # a copy: the request writes its next output in the same place
        with self._lock:
            self._idle.append(request)
        return output


class TorchRunner:
    """An encoder run by torch itself, with half precision by autocast on GPUs; the output of one batch is fetched while the next is computed."""

    def __init__(self, encoder: Encoder, format: str, device: str) -> None:
        import torch

        self.format, self.device = format, device
        self._torch = torch
        self._module = encoder.module().eval().to(device)
        self._dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": None}[format]
        if device == "cpu":
            torch.set_num_threads(min(settings.threads(), torch.get_num_threads()))

    def run(self, batches: Iterable[Batch]) -> Iterator[Array]:
        """Outputs (B, ...) in order."""
        running: deque[tuple[Any, Any]] = deque()
        for batch in batches:
            running.append(self._start(batch))
            if len(running) > 1:
                yield self._take(running)
        while running:
            yield self._take(running)

    def _start(self, batch: Batch) -> tuple[Any, Any]:
        """Queue a batch; its output and, on CUDA, what tells that the output has arrived."""
        torch, cuda = self._torch, self.device.startswith("cuda")
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        if cuda:  # only pinned memory is copied while the GPU computes
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        tensors = {name: tensor.to(self.device, non_blocking=cuda) for name, tensor in tensors.items()}
        half: Any = contextlib.nullcontext()
        if self._dtype is not None:
            half = torch.autocast(self.device.partition(":")[0], dtype=self._dtype)
        with torch.inference_mode(), half:
            output = self._module(**tensors).float().to("cpu", non_blocking=cuda)
        if not cuda:
            return output, None
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(torch.device(self.device)))
        return output, arrived

    @staticmethod
    def _take(running: deque[tuple[Any, Any]]) -> Array:
        output, arrived = running.popleft()
        if arrived is not None:
            arrived.synchronize()
        return np.asarray(output.numpy())
