"""A body: an encoder as a function torch can differentiate, equal to what the encode engine makes of the same items.

Legend: B items of a batch, T tokens, D dims.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from graft.encoders.base import Encoder
from graft.encoders.image import PictureEncoder
from graft.encoders.joint import ImageTower, TextTower
from graft.encoders.layers import LayerEncoder, example
from graft.encoders.text import Dense, TextEncoder
from graft.encoders.tuned import TunedEncoder
from graft.errors import ModelError

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "Sigmoid": torch.sigmoid,
}
STEM, TOP = "stem", "top"
SAME = 1e-4  # largest difference, relative to the largest value, between a body run whole and run from a cut


@dataclass(frozen=True)
class Group:
    """Parameters of one depth of a body, by their names in `Body.named_parameters()`: "stem", "block 0", .., "top", or "adapter"."""

    name: str
    parameters: tuple[str, ...]


class Finish(nn.Module):
    """The last step of an encoder outside its graph, on tensors: pooling over tokens, fixed Dense layers, unit length."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.pooling, self.steps = _last_step(encoder)
        for place, step in enumerate(self.steps):
            if isinstance(step, Dense):
                weight = torch.from_numpy(step.weights["linear.weight"])
                bias = step.weights.get("linear.bias")
                shift = torch.zeros(len(weight)) if bias is None else torch.from_numpy(bias)
                self.register_buffer(f"weight_{place}", weight, persistent=False)
                self.register_buffer(f"bias_{place}", shift, persistent=False)

    def forward(self, raw: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, D) in float32 of the graph's output."""
        x_BD = raw.float()
        if self.pooling and x_BD.dim() == 3:
            x_BD = pool(x_BD, batch["attention_mask"], self.pooling)
        for place, step in enumerate(self.steps):
            if isinstance(step, Dense):
                linear = x_BD @ getattr(self, f"weight_{place}").T + getattr(self, f"bias_{place}")
                x_BD = ACTIVATIONS[step.activation](linear)
            else:
                x_BD = normalize(x_BD)
        return x_BD


def _last_step(encoder: Encoder) -> tuple[str, tuple[Dense | str, ...]]:
    """How the encoder pools ("" where its graph puts out vectors), and the steps after."""
    if isinstance(encoder, TunedEncoder):
        return ("", ()) if encoder.changes.kind == "network" else _last_step(encoder.base)
    if isinstance(encoder, TextEncoder):
        return encoder.plan.pooling, encoder.plan.steps
    if isinstance(encoder, (TextTower, ImageTower)):
        return "", ("normalise",)
    if isinstance(encoder, LayerEncoder):
        return ("mean" if encoder.base.info.modality == "text" else ""), ()
    if isinstance(encoder, PictureEncoder):
        return "", ()
    raise ModelError(
        f"How {encoder.info.reference} makes vectors of its graph's output is not known to the training, so it stays frozen."
    )


def pool(states_BTD: Tensor, mask_BT: Tensor, pooling: str) -> Tensor:
    """As `encoders.text.pool`, on tensors: one vector (B, D) a text; padding does not count."""
    mask = mask_BT.float()
    if pooling == "cls":
        return states_BTD[:, 0]
    if pooling == "lasttoken":
        return states_BTD[torch.arange(len(mask), device=mask.device), mask_BT.sum(dim=1) - 1]
    if pooling == "max":
        return states_BTD.masked_fill(mask[..., None] == 0, float("-inf")).amax(dim=1)
    # Not a matrix product: autocast would compute that in half precision.
    sums_BD, counts_B1 = (states_BTD * mask[..., None]).sum(dim=1), mask.sum(dim=1, keepdim=True)
    return sums_BD / (counts_B1 if pooling == "mean" else counts_B1.sqrt())


class Body(nn.Module):
    """An encoder's weights, trainable: batch of `encoder.collate` to vectors (B, D).

    Its parameters are those that shape the vectors; others of the pretrained model (an unused pooler or classifier) are kept as constants.
    Batch norm stays in evaluation mode unless `norm` is "train": statistics of small batches ruin it (on 120 pictures accuracy fell from
    0.98 to 0.56). Dense layers behind the pooling stay as they are.
    """

    def __init__(self, encoder: Encoder, graph: nn.Module) -> None:
        super().__init__()
        self.encoder, self.dim, self.norm = encoder, encoder.info.dim, "frozen"
        self.graph, self.finish = graph, Finish(encoder)
        self._takes = tuple(inspect.signature(graph.forward).parameters)
        self._depths = _lay_out(self)
        self.added: dict[str, str] = {}  # parameters that adapters brought: their stable names, and those here
        self._as_made: list[tuple[nn.Module, str, Any]] = []
        self.eval()

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, D) in float32; what the graph does not take of the batch is passed over."""
        inputs = {name: batch[name] for name in self._takes if name in batch}
        if "pixels" in inputs:  # channels beside each other save a quarter to a half of a training step on a CPU
            inputs["pixels"] = inputs["pixels"].contiguous(memory_format=torch.channels_last)
        vectors: Tensor = self.finish(self.graph(**inputs), batch)
        return vectors

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The modules run one after the other that hold most of the weights; none where there is no such row."""
        modules = dict(self.named_modules())
        return tuple(modules[name] for name in self._depths.blocks)

    def groups(self) -> tuple[Group, ...]:
        """Depths from the input up: stem, blocks in order, top. Every parameter is in exactly one; depths without any are left out."""
        members: dict[str, list[str]] = {name: [] for name in self._depths.order}
        for name, _ in self.named_parameters():
            members[self._depths.of(name)].append(name)
        return tuple(Group(name, tuple(names)) for name, names in members.items() if names)

    def train(self, mode: bool = True) -> Body:
        """Training mode, in which batch norm keeps its statistics unless `norm` is "train"."""
        super().train(mode)
        if self.norm != "train":
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Body:
        """A body with weights of its own and the same encoder, which holds locks that cannot be copied."""
        memo[id(self.encoder)] = self.encoder
        twin = Body.__new__(Body)
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def set_dropout(self, p: float | None) -> None:
        """Set every dropout to probability `p`, which at 0 also switches off dropped paths (stochastic depth); None: as the model has it."""
        for owner, name, value in self._as_made:
            setattr(owner, name, value)
        self._as_made = []
        if p is None:
            return
        for module in self.modules():
            names = ["p"] if isinstance(module, nn.modules.dropout._DropoutNd) else ["dropout", "attention_dropout"]
            names += ["drop_prob"] if p == 0 else []
            for name in names:
                had = getattr(module, name, None)
                if isinstance(had, float):
                    self._as_made.append((module, name, had))
                    setattr(module, name, float(p))
            settings = getattr(module, "_global_params", None)  # EfficientNet's, a named tuple
            if p == 0 and getattr(settings, "drop_connect_rate", None):
                self._as_made.append((module, "_global_params", settings))
                module._global_params = cast("Any", settings)._replace(drop_connect_rate=0.0)


def open_body(encoder: Encoder) -> Body:
    """The encoder's body with weights of its own, in float32 and evaluation mode; it equals `encoder.finish` of the graph to 1e-5.

    Raises ModelError for weights that cannot be used, UsageError for a joint encoder whose tower was not chosen.
    """
    graph: Any = encoder.module().float().eval()
    _plain_convolutions(graph)
    return Body(encoder, graph.to(memory_format=torch.channels_last))


def first_batch(encoder: Encoder) -> dict[str, Tensor]:
    """A batch of one example item, to run a model on once."""
    batch = encoder.collate(encoder.prepare([example(encoder.info)]))
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def _plain_convolutions(graph: nn.Module) -> None:
    """Convolutions of a class of their own (EfficientNet-Lite's, which pad first) as torch's with the same weights, where both sides are padded alike.

    Adapters know a layer by its class, and padding inside the convolution saves a copy of the maps, a twentieth of a
    training step.
    """
    for parent in list(graph.modules()):
        for name, layer in list(parent.named_children()):
            padding = _padding(layer)
            if padding is None or not isinstance(layer, nn.Conv2d):
                continue
            plain = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                cast("tuple[int, int]", tuple(layer.kernel_size)),
                stride=cast("tuple[int, int]", tuple(layer.stride)),
                padding=padding,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
            plain.weight, plain.bias = layer.weight, layer.bias
            setattr(parent, name, plain)


def _padding(layer: nn.Module) -> tuple[int, int] | None:
    """What a convolution that pads first (and is no plain one) may pad by itself; None for every other layer."""
    first = getattr(layer, "static_padding", None)
    if not isinstance(layer, nn.Conv2d) or first is None or tuple(layer.dilation) != (1, 1):
        return None
    left, right, top, bottom = first.padding if isinstance(first, nn.ZeroPad2d) else (0, 0, 0, 0)
    return (top, left) if left == right and top == bottom and tuple(layer.padding) == (0, 0) else None


# -- depths -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Depths:
    """Which depth each module of a body belongs to: `known` by name (a module takes its nearest known ancestor's), `order` from the input up."""

    blocks: tuple[str, ...]
    known: Mapping[str, str]

    @property
    def order(self) -> tuple[str, ...]:
        """Names of all depths, input first."""
        return (STEM, *(f"block {place}" for place in range(len(self.blocks))), TOP)

    def of(self, parameter: str) -> str:
        """The depth of a parameter."""
        owner = parameter
        while owner:
            owner = owner.rpartition(".")[0]
            if owner in self.known:
                return self.known[owner]
        return STEM if self.blocks else TOP


def _lay_out(body: Body) -> Depths:
    """Run the body on one item: parameters that do not reach the vector become constants, and modules are sorted by when they ran."""
    events: list[tuple[str, str]] = []
    hooks = []
    for name, module in body.named_modules():
        hooks.append(module.register_forward_pre_hook(_noting(events, "start", name)))
        hooks.append(module.register_forward_hook(_noting(events, "end", name)))
    body.eval()
    try:
        with torch.enable_grad():
            vectors = body(first_batch(body.encoder))
    finally:
        for hook in hooks:
            hook.remove()
    used = _leaves(vectors)
    for module in body.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in used:
                delattr(module, name)
                module.register_buffer(name, parameter.detach(), persistent=False)
    blocks = _row_of_blocks(body, events)
    return Depths(blocks, _depths(blocks, events))


def _noting(events: list[tuple[str, str]], what: str, name: str) -> Callable[..., None]:
    return lambda *_: events.append((what, name))


def _leaves(output: Tensor) -> set[int]:
    """Ids of the parameters an output depends on, read from its graph of derivatives without computing any."""
    found, seen, waiting = set(), set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (variable := getattr(node, "variable", None)) is not None:
            found.add(id(variable))
        waiting.extend(following for following, _ in node.next_functions)
    return found


def _row_of_blocks(body: Body, events: list[tuple[str, str]]) -> tuple[str, ...]:
    """Names of the modules of the list with most parameters whose members ran once each, in order, one after the other."""
    lists = [(n, m) for n, m in body.named_modules() if isinstance(m, (nn.ModuleList, nn.Sequential)) and len(m)]
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in lists}
    for name, module in sorted(lists, key=lambda entry: -sizes[entry[0]]):
        members = tuple(f"{name}.{child}" for child, _ in module.named_children())
        ran = [(what, member) for what, member in events if member in members]
        if sizes[name] and ran == [(what, member) for member in members for what in ("start", "end")]:
            return members
    return ()


def _depths(blocks: tuple[str, ...], events: list[tuple[str, str]]) -> dict[str, str]:
    """The depth of each module that ran: what first ran after the last block is the top, all else outside the blocks the stem."""
    if not blocks:
        return {}
    last = events.index(("end", blocks[-1]))
    known: dict[str, str] = {}
    for place, (what, name) in enumerate(events):
        if what == "start":
            known.setdefault(name, TOP if place > last else STEM)
    for place, block in enumerate(blocks):
        known = {name: depth for name, depth in known.items() if not f"{name}.".startswith(f"{block}.")}
        known[block] = f"block {place}"
    return known


# -- the cut ----------------------------------------------------------------------------------------------------------


class _ReachedError(Exception):
    """Ends a run of the lower part at the cut, with the activations there."""

    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.activations = activations


class Split:
    """A body cut below `body.groups()[first_trained]`: the part below is frozen, so its activations may be kept and used in every epoch.

    The parameters below the cut no longer require gradients. Raises ModelError for a body whose depths cannot be told apart or that gives other
    vectors when it is run from the cut; such a body is to be run whole.
    """

    def __init__(self, body: Body, first_trained: int) -> None:
        groups = body.groups()
        if not body.blocks or not 0 < first_trained < len(groups):
            raise ModelError(
                f"{body.encoder.info.reference} cannot be cut below group {first_trained} of {len(groups)}: run it whole."
            )
        self.body, blocks, name = body, body.blocks, groups[first_trained].name
        at = len(blocks) if name == TOP else int(name.rpartition(" ")[2])
        self._below, self._next = blocks[:at], blocks[at] if at < len(blocks) else None
        parameters = dict(body.named_parameters())
        for group in groups[:first_trained]:
            for frozen in group.parameters:
                parameters[frozen].requires_grad_(False)
        device = next(body.parameters()).device
        self._stand_in = {name: tensor.to(device) for name, tensor in first_batch(body.encoder).items()}
        self._outputs = self._noted_outputs()
        self._check()

    def lower(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Activations at the cut (B, ...), without gradients, in evaluation mode."""
        trained = self.body.training
        self.body.eval()
        hook = (
            self._next.register_forward_pre_hook(_stop_before, with_kwargs=True)
            if self._next is not None
            else self._below[-1].register_forward_hook(_stop_after)
        )
        try:
            with torch.no_grad():
                self.body(batch)
        except _ReachedError as reached:
            return reached.activations
        finally:
            hook.remove()
            self.body.train(trained)
        raise ModelError(f"{self.body.encoder.info.reference} did not reach the cut: run it whole.")

    def upper(self, activations: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, D) of kept activations, with gradients to what is above the cut.

        Texts need the tensors of `collate` again (masks and lengths are read from them), of pictures `batch` may hold nothing.
        """
        if "pixels" in self._stand_in:  # the stem runs on one picture, and its output is not used
            batch = {**batch, "pixels": self._stand_in["pixels"].to(activations.device)}
        with self._passing(activations):
            vectors: Tensor = self.body(batch)
        return vectors

    @contextlib.contextmanager
    def _passing(self, activations: Tensor) -> Iterator[None]:
        """While the block runs, blocks below the cut hand on the activations instead of computing, and the next one gets them."""
        for block, output in zip(self._below, self._outputs, strict=True):
            # An attribute of the object goes before its class's method; hooks and attributes of the block stay in place.
            block.forward = lambda *_, _output=output, **__: _filled(_output, activations)
        hook = None
        if self._next is not None:
            given = _with_first(activations)
            hook = self._next.register_forward_pre_hook(given, with_kwargs=True)
        try:
            yield
        finally:
            for block in self._below:
                del block.forward
            if hook is not None:
                hook.remove()

    def _noted_outputs(self) -> list[Any]:
        """What each block below the cut puts out, with a mark in place of each tensor."""
        outputs: list[Any] = []
        hooks = [block.register_forward_hook(lambda *args: outputs.append(args[2])) for block in self._below]
        try:
            with torch.no_grad():
                self.body(self._stand_in)
        finally:
            for hook in hooks:
                hook.remove()
        return [_marked(output) for output in outputs]

    def _check(self) -> None:
        with torch.no_grad():
            whole = self.body(self._stand_in)
            activations = self.lower(self._stand_in)
            # A bag of words is one vector before its blocks.
            if "input_ids" in self._stand_in and activations.dim() < 3:
                raise ModelError(
                    f"{self.body.encoder.info.reference} has no states of tokens at the cut: run it whole."
                )
            cut = self.upper(activations, self._stand_in)
        if cut.shape != whole.shape or not (cut - whole).abs().max() <= SAME * whole.abs().max():
            raise ModelError(f"{self.body.encoder.info.reference} gives other vectors from the cut: run it whole.")


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The activations among a block's arguments: the first one, by place or by name."""
    found = args[0] if args else next(iter(kwargs.values()))
    if not isinstance(found, Tensor):
        raise ModelError("A block does not take activations as its first argument, so the body cannot be cut there.")
    return found


def _stop_before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _ReachedError(_first(args, kwargs))


def _stop_after(_: nn.Module, __: Any, output: Any) -> None:
    raise _ReachedError(_first(output if isinstance(output, tuple) else (output,), {}))


def _with_first(activations: Tensor) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    def given(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (activations, *args[1:]), kwargs
        return args, {**kwargs, next(iter(kwargs)): activations}

    return given


_TENSOR = object()


def _marked(output: Any) -> Any:
    if isinstance(output, Tensor):
        return _TENSOR
    return tuple(map(_marked, output)) if isinstance(output, (tuple, list)) else output


def _filled(output: Any, activations: Tensor) -> Any:
    if output is _TENSOR:
        return activations
    return tuple(_filled(part, activations) for part in output) if isinstance(output, tuple) else output
