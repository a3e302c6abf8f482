"""Small trainable parts put into a frozen body: LoRA, bottleneck adapters, prompts and prefixes; and what a training changed, as arrays.

Legend: P prompt vectors, D dims.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.encoders.graphs import TokenStates, attach_bottleneck, prompted
from graft.encoders.tuned import Changes, TunedEncoder
from graft.errors import MissingError, ModelError, UsageError, unknown
from graft.trainers.body import Body, Group

# kind: settings with their defaults. `alpha` is to `rank` as 2 to 1, so that a step changes as much whatever the rank; `targets` None: see `targets`.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"rank": 8, "alpha": None, "dropout": 0.0, "targets": None, "seed": 0},
    "adapters": {"width": 48, "seed": 0},
    "prompt": {"length": 8, "seed": 0},
    "prefix": {"length": 8, "seed": 0},
}
ADAPTER = "adapter"  # name of the group that insert() returns
PREFIX_SPREAD = (
    0.02  # standard deviation of new prefixes: near zero they hardly move the states, at zero all would stay alike
)
# Last parts of the names of layers that hand a sublayer's output back to the residual stream (Houlsby et al. 2019 adapt there).
OUTPUTS = re.compile(
    r"(^|\.)(output\.dense|attention\.dense|ffn_output|o_proj|out_proj|out_lin|attn\.o|Wo|fc2|lin2|down_proj|pwconv2|_bn2|layer\.\d+\.normalization)$"
)
LAST_OF = re.compile(r"(.*\.layer)\.(\d+)\.normalization$")  # ResNet: only the last of a row hands back


def insert(body: Body, kind: str, config: Mapping[str, Any] | None = None) -> Group:
    """Put adapters into a body in place and freeze everything else; returns the group of what is to be trained.

    LoRA (Hu et al. 2022, by peft) and bottleneck adapters (Houlsby et al. 2019) leave the vectors as they are until they are trained; prompts (Lester
    et al. 2021: P words of the vocabulary) and prefixes (Li & Liang 2021: keys and values near zero) change them a little at once, so a head is to be
    fitted on the body that has them. "lora+adapters" does both; its config has a part for each. Weights are drawn by `seed`.

    config: lora {rank 8, alpha 2 rank, dropout 0, targets None}, adapters {width 48}, prompt {length 8}, prefix {length 8}.
    Raises UsageError for settings that are unknown, ModelError for a body that has no place for them, MissingError without peft.
    """
    given = dict(config or {})
    if kind == "lora+adapters":
        if strange := given.keys() - {"lora", "adapters"}:
            raise UsageError(unknown("The part of lora+adapters", min(strange), ("lora", "adapters")))
        first = insert(body, "lora", given.get("lora"))
        return _only(body, (*first.parameters, *insert(body, "adapters", given.get("adapters")).parameters))
    settings = settings_of(kind, given)
    before = {name for name, _ in body.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        _INSERT[kind](body, settings)
    added = tuple(name for name, _ in body.named_parameters() if name not in before and ".base_layer." not in name)
    body.added |= {_stable(name): name for name in added}
    body.train(body.training)
    return _only(body, added)


def settings_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a kind of adapters, as they are kept with the changes. Raises UsageError for an unknown kind, setting or value."""
    if kind not in SETTINGS:
        raise UsageError(unknown("The kind of adapters", kind, (*SETTINGS, "lora+adapters")))
    if strange := sorted(config.keys() - SETTINGS[kind].keys()):
        raise UsageError(unknown(f"The setting of {kind}", strange[0], SETTINGS[kind]))
    settings = {**SETTINGS[kind], **config}
    for name in ("rank", "width", "length"):
        if name in settings and (not isinstance(settings[name], int) or settings[name] < 1):
            raise UsageError(f"{name}={settings[name]}: a whole number from 1 is wanted.")
    if kind == "lora" and settings["alpha"] is None:
        settings["alpha"] = 2 * settings["rank"]
    return settings


def _only(body: Body, names: tuple[str, ...]) -> Group:
    """Train these parameters and no other."""
    chosen = set(names)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name in chosen)
    return Group(ADAPTER, names)


# -- LoRA -------------------------------------------------------------------------------------------------------------


def targets(body: Body) -> tuple[str, ...]:
    """Names of the layers LoRA takes by default: linear layers of the blocks, 1x1 convolutions that are not depthwise.

    Depthwise ones it could not be merged into. Raises ModelError where there are none.
    """
    inside = _inside(body)
    names = []
    for name, layer in body.named_modules():
        # Not subclasses: some are read by their parents, who would pass the adapter by.
        linear = type(layer) is nn.Linear and id(layer) in inside
        pointwise = type(layer) is nn.Conv2d and tuple(layer.kernel_size) == (1, 1) and layer.groups == 1
        adapted = hasattr(layer, "adapter") or ".adapter." in name
        if (linear or pointwise) and isinstance(layer.weight, nn.Parameter) and not adapted:
            names.append(name)
    if not names:
        raise ModelError(
            f"{body.encoder.info.reference} has no layer that LoRA can change: neither a linear layer in its blocks nor a 1x1 convolution. "
            "Take finetune, or another encoder."
        )
    return tuple(names)


def _inside(body: Body) -> set[int]:
    """Ids of the modules in the blocks; of all modules where there are none (a layer that is run several times)."""
    return {id(module) for block in body.blocks or (body.graph,) for module in block.modules()}


def _insert_lora(body: Body, settings: Mapping[str, Any]) -> None:
    allowed = targets(body)
    chosen = _chosen(allowed, settings["targets"])
    try:
        with _peft_quiet():
            from peft import LoraConfig, inject_adapter_in_model

            lora = LoraConfig(
                r=settings["rank"],
                lora_alpha=settings["alpha"],
                lora_dropout=settings["dropout"],
                target_modules=list(chosen),
            )
            inject_adapter_in_model(lora, body)
    except ImportError as problem:
        raise MissingError(f"LoRA needs the package peft ({problem}). Install it: pip install peft") from None


def _chosen(allowed: tuple[str, ...], wanted: Any) -> tuple[str, ...]:
    """Of the layers LoRA can take those whose names end as one of `wanted` does; all where none is named."""
    if wanted is None:
        return allowed
    chosen = tuple(name for name in allowed if any(f".{name}".endswith(f".{end}") for end in wanted))
    if absent := [end for end in wanted if not any(f".{name}".endswith(f".{end}") for name in allowed)]:
        endings = {name.rpartition(".")[2] for name in allowed}
        raise UsageError(unknown("The layer for LoRA", str(absent[0]), endings))
    return chosen


@contextmanager
def _peft_quiet() -> Iterator[None]:
    """peft and what it imports warn of versions and of models it does not know by name; both are checked here and by tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -- the others -------------------------------------------------------------------------------------------------------


def _insert_bottlenecks(body: Body, settings: Mapping[str, Any]) -> None:
    layers = dict(body.named_modules())
    inside = _inside(body)
    names = [name for name, layer in layers.items() if OUTPUTS.search(name) and id(layer) in inside]
    last: dict[str, int] = {}
    for name in names:
        if found := LAST_OF.match(name):
            last[found[1]] = max(int(found[2]), last.get(found[1], 0))
    names = [n for n in names if not (found := LAST_OF.match(n)) or int(found[2]) == last[found[1]]]
    if not names:
        raise ModelError(
            f"Where the blocks of {body.encoder.info.reference} put out is not known, so bottleneck adapters have no place. Take lora or finetune."
        )
    for name in names:
        adapter = attach_bottleneck(layers[name], settings["width"])
        adapter.to(next(body.parameters()).device)


def _insert_prompt(body: Body, settings: Mapping[str, Any]) -> None:
    words = _text_model(body, "prompt").get_input_embeddings().weight
    drawn = torch.randint(len(words), (settings["length"],)).to(words.device)
    body.graph = prompted(body.graph, "prompt", words.detach()[drawn].clone())


def _insert_prefix(body: Body, settings: Mapping[str, Any]) -> None:
    config = _text_model(body, "prefix").config
    width = 2 * config.num_hidden_layers * config.hidden_size
    vectors = PREFIX_SPREAD * torch.randn(settings["length"], width)
    body.graph = prompted(body.graph, "prefix", vectors.to(next(body.parameters()).device))


def _text_model(body: Body, kind: str) -> Any:
    if not isinstance(body.graph, TokenStates):
        raise ModelError(
            f"{body.encoder.info.reference} is no text transformer, so it takes no {kind}. Take lora or adapters."
        )
    return body.graph.model


_INSERT = {"lora": _insert_lora, "adapters": _insert_bottlenecks, "prompt": _insert_prompt, "prefix": _insert_prefix}


# -- what changed -----------------------------------------------------------------------------------------------------


def _stable(name: str) -> str:
    """A parameter's name without the body around it and without peft's own words: as `encoders.tuned.Changes` names arrays."""
    plain = name.removeprefix("graph.").replace(".base_layer.", ".")
    return re.sub(r"\.(lora_[AB])\.default\.weight$", r".\1", plain)


def changes(body: Body) -> dict[str, Tensor]:
    """What insert() added, by stable names; no weights of the base."""
    parameters = dict(body.named_parameters())
    return {stable: parameters[name].detach() for stable, name in body.added.items()}


def changes_of(body: Body, original: Mapping[str, Tensor], kind: str, config: Mapping[str, Any]) -> Changes:
    """What training made of a body, as `TunedEncoder` takes it.

    kind "weights": the tensors that differ from `original`, the state before (`body.state_dict()`, cloned); "network": all of them, and the settings
    and words of the network the body was opened from; else what insert() added, with the settings it was given.
    """
    if kind == "network":
        network = _network(body).changes
        state = {_stable(name): value for name, value in body.state_dict().items()}
        return Changes(kind, network.config, {**network.arrays, **_arrays(state)})
    if kind == "weights":
        state = body.state_dict()
        moved = {_stable(n): value for n, value in state.items() if not torch.equal(value.cpu(), original[n].cpu())}
        return Changes(kind, dict(config), _arrays(moved))
    if kind == "lora+adapters":
        parts = {part: settings_of(part, config.get(part, {})) for part in ("lora", "adapters")}
        return Changes(kind, parts, _arrays(changes(body)))
    return Changes(kind, settings_of(kind, config), _arrays(changes(body)))


def tuned(body: Body, original: Mapping[str, Tensor], kind: str, config: Mapping[str, Any]) -> TunedEncoder:
    """The trained body as an encoder: `changes_of` on the encoder it was opened from."""
    base = _network(body).base if kind == "network" else body.encoder
    return TunedEncoder(base, changes_of(body, original, kind, config))


def _network(body: Body) -> TunedEncoder:
    encoder = body.encoder
    if not isinstance(encoder, TunedEncoder) or encoder.changes.kind != "network":
        raise ModelError(f"{encoder.info.reference} is no network trained from nothing.")
    return encoder


def _arrays(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies in the processor's memory, rows beside each other whatever the layout in training."""
    return {name: np.array(value.cpu().contiguous().numpy(), order="C") for name, value in state.items()}
