"""One step of a training: the gradient of some batches in pieces that fit the memory, summed over processes, clipped and followed.

Imported only where training runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from graft import settings
from graft.trainers import memory
from graft.trainers.batches import Batch, Feed, placed, size_of, some
from graft.trainers.memory import Machine
from graft.trainers.rates import Optimiser, Rates, RunningMean
from graft.trainers.recipe import Recipe

Objective = Callable[[nn.Module, Batch], Tensor]  # mean loss of a batch
PROBED = 2  # items that memory is measured on, and that the last weights are tried on


@contextlib.contextmanager
def lent(model: nn.Module, rates: Rates, here: Machine) -> Iterator[None]:
    """The model on the device and in training mode; afterwards where it was and as it was, but for its weights."""
    parameters = rates.parameters()
    tensors = [*model.parameters(), *parameters]
    device = tensors[0].device
    modes = {module: module.training for module in model.modules()}
    flags = [p.requires_grad for p in parameters]
    _move(model, parameters, here.device)
    model.train()
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
        for tensor in tensors:
            tensor.grad = None
        _move(model, parameters, device)
        for module, mode in modes.items():
            module.training = mode


def _move(model: nn.Module, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
    model.to(device)
    for parameter in parameters:  # those that are not the model's own, such as a learned temperature
        parameter.data = parameter.data.to(device)


class Stepper:
    """The weights in `rates`, and all that changes them: gradients, optimiser, running mean.

    `piece` items are put through at once; it shrinks where a GPU runs out of memory. `penalty()` is added to every step's loss.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        rates: Rates,
        recipe: Recipe,
        here: Machine,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        self.model, self.objective, self.recipe, self.here, self.penalty = model, objective, recipe, here, penalty
        self.groups, self.parameters = rates.groups, rates.parameters()
        self.buffers = list(model.buffers())
        self.optimiser = Optimiser(rates, recipe)
        self.mean = RunningMean(self.parameters, recipe.ema) if recipe.ema else None
        self.piece = -(-recipe.batch // here.world)
        self.notes: list[str] = []
        self._waiting = [group for group in self.groups if group.first_epoch > 0]
        self._last: Batch | None = None
        for group in self.groups:
            for parameter in group.parameters:
                parameter.requires_grad_(group.first_epoch <= 0)

    def unfreeze(self, epoch: float) -> None:
        """Let groups learn whose time has come."""
        for group in [group for group in self._waiting if group.first_epoch <= epoch]:
            self._waiting.remove(group)
            for parameter in group.parameters:
                parameter.requires_grad_(True)

    def gradient(self, batches: Sequence[Batch], seed: int) -> tuple[Tensor, int]:
        """Gradient of the mean loss of all items in `batches`, over all processes; returns that loss (one number) and the count.

        Where memory runs out it is tried again with smaller pieces. Raises MemoryError where one item alone does not fit.
        """
        while True:
            try:
                return self._gradient(batches, seed)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                self._shrink()

    def _gradient(self, batches: Sequence[Batch], seed: int) -> tuple[Tensor, int]:
        here, items = self.here, sum(map(size_of, batches))
        here.seed(seed)
        told = torch.zeros((), device=here.device)
        for piece in self._pieces(batches):
            self._last = piece
            share = size_of(piece) / items
            with here.autocast():
                loss = self.objective(self.model, piece)
            if share != 1:
                loss = loss * share
            told += loss.detach()
            _backward(here.scaler.scale(loss))
        if self.penalty is not None:
            _backward(here.scaler.scale(self.penalty() / here.world))
        return here.sum_gradients(self.parameters, told), items

    def _pieces(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """This process's items, some at a time, on the device."""
        for batch in batches:
            own = batch if self.here.world == 1 else some(batch, slice(self.here.rank, None, self.here.world))
            count = size_of(own)
            if 0 < count <= self.piece:
                yield placed(own, self.here.device)
                continue
            for start in range(0, count, self.piece):
                yield placed(some(own, slice(start, start + self.piece)), self.here.device)

    def _shrink(self) -> None:
        self.optimiser.forget_gradients()
        if self.piece == 1:
            raise MemoryError(
                f"Training takes more memory than {self.here.device} has, even with one item at a time: train fewer layers, or a smaller model."
            )
        self.piece = -(-self.piece // 2)
        if self.here.device.type == "cuda":
            torch.cuda.empty_cache()
        self.notes.append(
            f"The memory of {self.here.device} was too small: {self.piece} items are put through at once."
        )

    def update(self, factor: float, number: int) -> None:
        """Follow the gradient with every rate times `factor`; `number` counts updates (0 is the first)."""
        optimiser, scaler = self.optimiser, self.here.scaler
        optimiser.set_factor(factor)
        if self.recipe.clip:
            scaler.unscale_(optimiser.torch)
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        scaler.step(optimiser.torch)
        scaler.update()
        optimiser.forget_gradients()
        if self.mean is not None:
            self.mean.move(number)

    # --- memory

    def fit(self, feed: Feed) -> None:
        """Let a batch go through whole, with what the feed puts `besides` its items; on a CPU, measure a forward pass, and predict what a step takes.

        Pieces are cut to the memory there is, for the system kills a process that takes too much, and small work is given to one thread.
        """
        self.piece = -(-(self.recipe.batch + getattr(feed, "besides", 0)) // self.here.world)
        if self.here.device.type != "cpu":
            return
        largest = getattr(feed, "largest", None)
        sample = largest(PROBED) if largest else some(next(iter(feed.epoch(0, self.recipe.batch))), slice(PROBED))
        buffers = [buffer.clone() for buffer in self.buffers]
        weights = {p.untyped_storage().data_ptr() for p in (*self.model.parameters(), *self.parameters)}
        self.here.seed(0)
        with self.here.autocast():
            kept = memory.kept_bytes(lambda: self.objective(self.model, sample), weights)
        _copy(self.buffers, buffers)
        item, weighs = kept / size_of(sample), sum(p.nbytes for p in self.parameters)
        if self.piece * item + weighs / 4 < memory.SMALL:
            torch.set_num_threads(1)
        copies = 4 + (self.mean is not None)  # gradient, two moments, the weights that were best
        fit = memory.fit_pieces(
            self.piece,
            item=item * memory.MARGIN,
            fixed=copies * weighs,
            free=settings.free_memory(),
        )
        self.piece = fit.piece
        self.notes += [fit.note] if fit.note else []

    # --- weights

    @contextlib.contextmanager
    def result_shown(self) -> Iterator[None]:
        """The model in evaluation mode, without gradients, with the weights that are its result so far: the running mean where there is one."""
        held = [p.detach().clone() for p in self.parameters] if self.mean is not None else []
        if self.mean is not None:
            _copy(self.parameters, self.mean.mean)
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train()
            if self.mean is not None:
                _copy(self.parameters, held)

    def result(self) -> list[Tensor]:
        """A copy of the weights that are the result so far, and of the model's buffers."""
        weights = self.parameters if self.mean is None else self.mean.mean
        return [tensor.detach().clone() for tensor in (*weights, *self.buffers)]

    def put(self, result: Sequence[Tensor]) -> None:
        """Make a `result()` the model's weights."""
        _copy([*self.parameters, *self.buffers], result)

    def loss_now(self) -> float:
        """Loss of a few items of the last piece with the weights as they are, by which an update too far is seen; 0 where there is none."""
        if self._last is None:
            return 0.0
        with self.result_shown(), self.here.autocast():
            return float(self.objective(self.model, some(self._last, slice(PROBED))))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        found: dict[str, Tensor] = {f"weights/{n}": p for n, p in enumerate(self.parameters)}
        found |= {f"buffers/{n}": b for n, b in enumerate(self.buffers)}
        found |= {f"optimiser/{name}": tensor for name, tensor in self.optimiser.state().items()}
        if self.mean is not None:
            found |= {f"mean/{n}": tensor for n, tensor in enumerate(self.mean.mean)}
        return found

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors()`."""
        _copy(self.parameters, numbered(tensors, "weights/"))
        _copy(self.buffers, numbered(tensors, "buffers/"))
        if self.mean is not None:
            _copy(self.mean.mean, numbered(tensors, "mean/"))
        self.optimiser.restore(beginning(tensors, "optimiser/"))


def beginning(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def numbered(tensors: dict[str, Tensor], prefix: str) -> list[Tensor]:
    """Those named `prefix` and a number, in the order of the numbers."""
    found = beginning(tensors, prefix)
    return [found[str(number)] for number in range(len(found))]


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _copy(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for target, value in zip(to, values, strict=True):
            target.copy_(value)
