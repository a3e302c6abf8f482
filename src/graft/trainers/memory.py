"""Where a training runs and what it may take: device, number format, processes, threads, and how many items fit the memory at once.

Imported only where training runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft import settings
from graft.encoders.runtime import find_device
from graft.errors import UsageError

DTYPES = {"f32": None, "bf16": torch.bfloat16, "f16": torch.float16}
MARGIN = (
    1.5  # a step's peak over what the forward pass keeps for the backward pass: gradients of activations, workspaces
)
# Bytes that a step keeps below which threads wait for each other longer than they work: a head on 1,280 dims took 2 ms a step on one
# thread, and up to 77 ms on two of a busy machine.
SMALL = 4 * 2**20
SHARE = 0.5  # of the memory that is free, what a training takes at most


@dataclass(eq=False)
class Machine:
    """Where one training runs; made by `machine`. Of `world` processes that train together this is number `rank`."""

    device: torch.device
    precision: str
    rank: int
    world: int
    accelerator: Any
    scaler: torch.amp.GradScaler = field(init=False)

    def __post_init__(self) -> None:
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "f16")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The forward pass computes in the number format inside the block; weights stay in f32."""
        dtype = DTYPES[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Add up the gradients and the losses of all processes, in one message; returns the loss. With one process nothing is done."""
        if self.world == 1:
            return loss
        some = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in some]
        flat = torch.cat([loss.reshape(1).float(), *(gradient.reshape(-1).float() for gradient in gradients)])
        flat = cast("Tensor", self.accelerator.reduce(flat, "sum"))
        for parameter, part in zip(some, torch.split(flat[1:], [p.numel() for p in some]), strict=True):
            # in the layout of the weights, on which fused optimisers rely without looking
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))
        return flat[0]

    def agree(self, *values: float) -> tuple[float, ...]:
        """The first process's values, so that all decide alike."""
        if self.world == 1:
            return values
        from accelerate.utils import broadcast

        told: list[float] = broadcast(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()
        return tuple(told)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            self.accelerator.wait_for_everyone()

    def seed(self, seed: int) -> None:
        """Set torch's own generators of this device, without the bookkeeping of `torch.manual_seed`."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def synchronise(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def machine(precision: str = "auto") -> Iterator[Machine]:
    """The place to train: `settings.device()`, or one GPU a process where several were started (`torchrun --nproc-per-node 2 ..`).

    Inside the block torch computes with `settings.threads()` threads (divided among the processes of this machine) whatever limit was set
    around it; threads and random numbers are put back as they were afterwards. `precision` "auto" is bf16 on GPUs that compute in it, f16
    on other CUDA GPUs, else f32: on a CPU with AMX a training step in bf16 took twice as long, for autocast converts the weights at every use.

    Raises UsageError for a number format that the device does not train in, MissingError for a device that is not there.
    """
    world, here = _started("WORLD_SIZE"), _started("LOCAL_WORLD_SIZE")
    threads, random = torch.get_num_threads(), torch.random.get_rng_state()
    accelerator = _accelerator() if world > 1 else None
    device = torch.device(find_device(settings.device())) if accelerator is None else accelerator.device
    rank = 0 if accelerator is None else accelerator.process_index
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        torch.set_num_threads(max(1, settings.threads() // here))
        yield Machine(device, _precision(precision, device), rank, world, accelerator)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(random)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, device)


def _started(variable: str) -> int:
    """A number of processes as torchrun and accelerate's launcher tell it."""
    return max(1, int(os.environ.get(variable) or 1))


def _accelerator() -> Any:
    """accelerate's view of the processes that were started together; its advice on environment variables is not for our users."""
    from accelerate import Accelerator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Accelerator(cpu=find_device(settings.device()) == "cpu")


def _precision(wanted: str, device: torch.device) -> str:
    bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return ("bf16" if bf16 else "f16") if device.type == "cuda" else "f32"
    if wanted == "f16" and device.type != "cuda":
        raise UsageError(f"On {device.type} nothing is trained in f16: precision is auto, f32 or bf16.")
    return wanted


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device had too little memory for what it was asked."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", "not enough memory", "out of memory")
    )


@dataclass(frozen=True)
class Fit:
    """Items that are put through at once, and a sentence for the user where they are fewer than wanted."""

    piece: int
    note: str = ""


def fit_pieces(wanted: int, *, item: float, fixed: float, free: float | None) -> Fit:
    """The most items, `wanted` at most, that fit `SHARE` of the memory that is `free` (bytes; None: not known, all are taken).

    `item` is what one of them takes in a step and `fixed` what is taken besides, in bytes. Pieces of a batch are of about equal size.
    """
    if free is None or fixed + wanted * item <= SHARE * free:
        return Fit(wanted)
    pieces = -(-wanted // max(1, most_items(item, fixed, SHARE * free)))
    piece = -(-wanted // min(pieces, wanted))
    return Fit(
        piece,
        f"{wanted} items at once would take {(fixed + wanted * item) / 2**20:,.0f} MB, and {free / 2**20:,.0f} MB of memory are free, of which "
        f"a training takes half: {piece} are put through at once, and the gradients of a step added up.",
    )


def most_items(item: float, fixed: float, room: float) -> int:
    """How many items of `item` bytes fit into `room` beside what is `fixed`; 0 where not even one does."""
    return max(0, int((room - fixed) // max(1.0, item)))


def kept_bytes(forward: Callable[[], Tensor], known: set[int]) -> int:
    """Bytes that a forward pass keeps for the backward pass; storages in `known` (by address) are not counted."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    del loss  # only now are the addresses free to be used again
    return sum(found.values())


def forget_peak(device: torch.device) -> None:
    """Let `peak` count from now on, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> float:
    """The most memory taken at once, in MiB: by this process, or on a CUDA GPU by its arrays there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
