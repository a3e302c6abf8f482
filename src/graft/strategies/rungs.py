"""What each trained rung trains, and on what: its network, its batches, its rates by depth, and what an encoder folder keeps of it.

Legend: N items, B items of a batch, D dims, C classes, P classes with at least one example. Imported only where training runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.errors import ModelError, UsageError
from graft.heads.base import Float64Array, IntArray
from graft.heads.linear import LinearHead, fit_path
from graft.results import TrainingRecord
from graft.strategies.items import Items
from graft.trainers.batches import ItemFeed
from graft.trainers.body import Body, Group, Split, open_body
from graft.trainers.loop import RateGroup, Rates, TrainingRun
from graft.trainers.networks import CutNetwork, Network, ProbeHead, WholeNetwork, at_work
from graft.trainers.recipe import Recipe, to_tree

if TYPE_CHECKING:
    from graft.encoders.tuned import TunedEncoder
    from graft.strategies.trained import Trained
    from graft.trainers.batches import Prepared as Rows

FISHER_ITEMS = 100  # of the retained task; each costs one way back
EVALUATED = 64  # items a forward pass takes
INSERTED = ("lora", "adapters", "lora+adapters", "prompt", "prefix")
SHIFTING = ("prompt", "prefix")  # they move the vectors before anything is trained
UNHELD = (
    "l2sp and ewc had no part in it: they hold pretrained weights where they were, and here none of those is trained."
)
UNCHANGED = "Contrastive tuning takes the items as they are: augment, mixup and cutmix had no part in it."


@dataclass(eq=False)
class Course:
    """A rung about to be trained on some items.

    `groups` are what is trained of the body, input first, with names of its parameters; `rows` gives a batch's arrays from items.
    """

    strategy: Trained
    recipe: Recipe
    network: Network
    head: ProbeHead
    body: Body | None
    rows: Callable[[Items], Rows]
    groups: tuple[Group, ...] = ()
    kind: str = "weights"
    config: Mapping[str, Any] = field(default_factory=dict)
    original: Mapping[str, torch.Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def refits(self) -> bool:
        """Whether the body is trained by itself, and the head fitted on its vectors afterwards."""
        return self.strategy.method == "contrastive"

    @property
    def trained(self) -> int:
        """How many numbers are trained, the head's included."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    @property
    def parameters(self) -> int:
        """All numbers of body and head."""
        return sum(p.numel() for p in self.network.parameters())

    def feed(self, items: Items, y_N: IntArray, seed: int) -> Any:
        """Batches of items with their targets (codes of the classes that occur)."""
        from graft.strategies.regimen import order, retyped, transforms

        present_P, targets_N = np.unique(y_N, return_inverse=True)
        targets = torch.from_numpy(targets_N.astype(np.int64))
        rows = self.rows(items)
        if self.refits:
            from graft.strategies.contrast import ContrastFeed

            if self.recipe.changes_items and UNCHANGED not in self.notes:
                self.notes = (*self.notes, UNCHANGED)
            return ContrastFeed(rows, targets, self.recipe, seed, self._named(items, present_P))
        made, notes = transforms(self.recipe, items, len(present_P))
        self.notes = (*self.notes, *(note for note in notes if note not in self.notes))
        typed = retyped(self.recipe, items, seed)
        anew = None if typed is None else lambda epoch: self.rows(typed(epoch))
        return ItemFeed(
            rows, targets, seed=seed, transforms=made, order=order(self.recipe, items, y_N, seed), anew=anew
        )

    def _named(self, items: Items, present_P: IntArray) -> tuple[Rows, torch.Tensor] | None:
        """Names of the classes that occur, as rows of the network's batches, with their codes; None where they are many.

        Beside 64 items of some 16 classes the names of 77 were 1.4 points worse on Banking77 at 5 a class than none (one draw), in twice the time.
        """
        from graft.strategies.contrast import MANY_CLASSES

        named = items.of_classes()
        if named is None or len(present_P) > MANY_CLASSES:
            return None
        return self.rows(named[present_P]), torch.arange(len(present_P))

    def objective(
        self, weights_P: NDArray[np.float32] | None
    ) -> Callable[[torch.nn.Module, dict[str, torch.Tensor]], torch.Tensor]:
        """The loss of a batch: cross entropy of the head's logits, or contrast between the body's vectors."""
        from graft.strategies.regimen import objective

        return objective(self.recipe, contrast=self.refits, n_classes=len(self.head.intercept), weights_P=weights_P)

    def passes(self, recipe: Recipe, n_items: int) -> float:
        """How often each of `n_items` is run through in a training by `recipe`, names of the classes counted as items."""
        epochs = float(recipe.epochs or 1)
        if not self.refits:
            return epochs
        from graft.strategies.contrast import MANY_CLASSES, contrast_steps, suited

        assert self.body is not None
        n_classes = len(self.head.intercept)
        names = n_classes if n_classes <= MANY_CLASSES and self.body.encoder.info.modality == "text" else 0
        own = suited(recipe, n_items, n_classes)
        rows = contrast_steps(own, n_items, n_classes) * (min(own.batch, n_items) + names)
        return epochs * rows / max(1, n_items)

    def rates(self, recipe: Recipe) -> Rates:
        """Groups with their rates: `depth_decay` from the top down, each `unfreeze` epochs after the one above; the head's apart."""
        named = dict(self.body.named_parameters()) if self.body is not None else {}
        rate, found = recipe.rate or 0.0, []
        for depth, group in enumerate(reversed(self.groups)):
            decay = (1.0 if recipe.depth_decay is None else recipe.depth_decay) ** depth
            parameters = [named[name] for name in group.parameters]
            found.append(RateGroup(group.name, parameters, rate * decay, recipe.unfreeze * depth, recipe.weight_decay))
        if not self.refits:
            own = rate if recipe.head_rate is None else recipe.head_rate
            found.insert(0, RateGroup("head", list(self.head.parameters()), own, 0.0, recipe.weight_decay))
        return Rates(tuple(reversed(found)))

    def vectors(self, items: Items) -> NDArray[np.float32]:
        """Vectors (N, D) by the body as it now is."""
        return _through(
            self.network, self.rows(items), self.network.vectors, self.body.dim if self.body else items.x_ND.shape[1]
        )

    def logits(self, items: Items) -> Float64Array:
        """Logits (N, P) of body and head as they now are."""
        return _through(self.network, self.rows(items), self.network, len(self.head.intercept)).astype(np.float64)

    def record(self, method: str, run: TrainingRun, recipe: Recipe) -> TrainingRecord:
        """What a training of this network by `recipe` took."""
        return TrainingRecord(
            method=method,
            epochs=run.epochs,
            stopped=run.stopped,
            rates={group.name: group.rate for group in self.rates(recipe).groups},
            trained=self.trained,
            parameters=self.parameters,
            bytes=4 * self.trained,
            batch=run.batch,
            accumulate=run.accumulate,
            device=run.device,
            precision=run.precision,
            memory_mb=run.memory_mb,
            items_per_second=run.items_per_second,
            recipe=to_tree(recipe),
            notes=(*self.notes, *run.notes),
        )

    def drift(self, epoch: int) -> Mapping[str, float]:
        """Relative distance of each group's weights from where they started; nothing where layers were inserted."""
        del epoch
        from graft.tensors.penalties import drift

        if self.body is None or self.kind != "weights":
            return {}
        return {name: relative for name, (_, relative) in drift(self.original, self.body, self.groups).items()}

    def penalty(self, retained: tuple[Items, IntArray] | None) -> Callable[[], torch.Tensor] | None:
        """What holds the weights near where they started, where the recipe asks for it.

        Raises UsageError for ewc without data to retain: its Fisher information is that of the retained task.
        """
        from graft.tensors.penalties import ewc, l2sp

        if not (self.recipe.l2sp or self.recipe.ewc):
            return None
        if self.body is None or self.kind != "weights":
            self.notes = (*self.notes, UNHELD)
            return None
        held = [l2sp(self.body, self.original, self.recipe.l2sp)] if self.recipe.l2sp else []
        if self.recipe.ewc:
            if retained is None:
                raise UsageError(
                    "ewc weighs each weight by what it meant to another task: name that task's data by --retain."
                )
            held.append(ewc(self.body, self.original, self._fisher(*retained), self.recipe.ewc))
        return held[0] if len(held) == 1 else lambda: held[0]() + held[1]()

    def _fisher(self, items: Items, y_N: IntArray) -> dict[str, torch.Tensor]:
        """Diagonal Fisher information of the retained task, with a linear probe as its head."""
        from graft.tensors.penalties import fisher_diagonal

        assert self.body is not None
        (head,) = fit_path(items.x_ND, y_N, int(y_N.max()) + 1, cs=(1.0,))
        network = WholeNetwork(self.body, ProbeHead(head)).eval()
        some = np.random.default_rng(0).permutation(len(items))[:FISHER_ITEMS]
        feed = ItemFeed(items[some].rows(), torch.zeros(len(some), dtype=torch.int64), seed=0)
        found = fisher_diagonal(network, feed.ordered(1), n=len(some))
        return {name.removeprefix("body."): value for name, value in found.items() if name.startswith("body.")}

    def encoder(self) -> TunedEncoder | None:
        """The body as it now is, as an encoder like any other; None where there is none to train."""
        from graft.trainers.adapters import tuned

        if self.body is None:
            return None
        return tuned(self.body, self.original, self.kind, self.config)


def _through(network: torch.nn.Module, rows: Rows, run: Callable[..., torch.Tensor], width: int) -> NDArray[np.float32]:
    """What `run` makes of all rows (N, width), without gradients, sorted by length; the network is left in the mode it was in."""
    mode = network.training
    out = np.empty((len(rows), width), np.float32)
    network.eval()
    with at_work(network) as device, torch.inference_mode():
        for positions, batch in _in_order(rows):
            found = run({name: tensor.to(device) for name, tensor in batch.items()})
            out[positions] = found.float().cpu().numpy()
    network.train(mode)
    return out


def _in_order(rows: Rows) -> Iterator[tuple[NDArray[np.int64], dict[str, torch.Tensor]]]:
    """Batches with their positions; texts longest first, so that little is padded."""
    order = np.argsort(-rows.sizes(), kind="stable")
    for start in range(0, len(order), EVALUATED):
        positions = order[start : start + EVALUATED]
        yield positions, rows.batch(positions)


Fit = Callable[[NDArray[np.float32]], LinearHead]


def course(strategy: Trained, items: Items, fit: Fit, recipe: Recipe, seed: int) -> Course:
    """The rung's network on the items' encoder; `fit` makes the linear probe of vectors (N, D) of these items, from which the head starts.

    Raises ModelError where the body has nothing that the rung could train.
    """
    torch.manual_seed(seed)
    if strategy.method == "scratch":
        return _from_scratch(strategy, items, fit, recipe, seed)
    head = ProbeHead(fit(items.x_ND), start=recipe.start, seed=seed)
    if strategy.method == "head":
        return Course(strategy, recipe, Network(head), head, None, Items.vector_rows)
    body = open_body(items.encoder)
    body.norm = recipe.norm
    body.set_dropout(recipe.dropout)
    original = {name: value.detach().clone() for name, value in body.state_dict().items()}
    if strategy.method in ("last", "contrastive"):
        return _last_blocks(strategy, recipe, body, head, original)
    made = Course(strategy, recipe, WholeNetwork(body, head), head, body, Items.rows, original=original)
    if strategy.method not in INSERTED:
        made.groups = body.groups()
        return made
    return _with_layers(made, items, fit, seed)


def _with_layers(made: Course, items: Items, fit: Fit, seed: int) -> Course:
    """The body with layers put in, which alone are trained; where they move the vectors at once, the head is fitted on the moved ones."""
    from graft.trainers.adapters import insert

    assert made.body is not None
    kind, recipe = made.strategy.method, made.recipe
    parts = {part: _layers(part, recipe, seed) for part in kind.split("+")}
    made.kind, made.config = kind, parts if len(parts) > 1 else parts[kind]
    made.groups = (insert(made.body, kind, made.config),)
    if kind in SHIFTING:
        made.head = ProbeHead(fit(made.vectors(items)), start=recipe.start, seed=seed)
        made.network = WholeNetwork(made.body, made.head)
    return made


def _layers(kind: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Settings of the layers that are put in."""
    if kind == "lora":
        return {"rank": recipe.rank, "dropout": recipe.dropout or 0.0, "seed": seed}
    return {"width": recipe.width, "seed": seed} if kind == "adapters" else {"length": recipe.length, "seed": seed}


def _last_blocks(
    strategy: Trained, recipe: Recipe, body: Body, head: ProbeHead, original: Mapping[str, torch.Tensor]
) -> Course:
    """The topmost groups on kept activations of those below.

    A body that cannot be cut is run whole with the lower part frozen, and so is any where items change from epoch to epoch. Raises ModelError
    for one without a row of blocks.
    """
    groups = body.groups()
    if not body.blocks:
        raise ModelError(
            f"{body.encoder.info.reference} has no row of blocks of which the last could be trained. Take lora or finetune."
        )
    first = max(1, len(groups) - (recipe.last or 2) - int(groups[-1].name == "top"))
    made = Course(strategy, recipe, WholeNetwork(body, head), head, body, Items.rows, groups[first:], original=original)
    try:
        if recipe.changes_items and not made.refits:
            raise ModelError("items that are augmented or mixed are new in each.")
        split = Split(body, first)
    except ModelError as error:
        for name in (name for group in groups[:first] for name in group.parameters):
            body.get_parameter(name).requires_grad_(False)
        made.network.headless = made.refits
        made.notes = (f"The lower layers were run in every epoch: {error.message}",)
        return made
    made.network, made.rows = CutNetwork(split, body, head), lambda some: some.activation_rows(split, first)
    made.network.headless = made.refits
    return made


def _from_scratch(strategy: Trained, items: Items, fit: Fit, recipe: Recipe, seed: int) -> Course:
    """A small network with weights drawn at random: what pretraining is to be measured against."""
    from graft.encoders.tuned import new_network

    modality = items.encoder.info.modality
    texts = [str(content) for content in items.store.contents] if modality == "text" else None
    drawn: dict[str, Any] = {"seed": seed}
    if modality == "image":
        drawn |= {"kernel": recipe.kernel, "width": recipe.channels}
    encoder = new_network(modality, drawn, texts)
    return blank_course(strategy, items, encoder, lambda some: some.prepared_by(encoder), fit, recipe, seed=seed)


def blank_course(
    strategy: Trained,
    items: Items,
    encoder: TunedEncoder,
    rows: Callable[[Items], Rows],
    fit: Fit,
    recipe: Recipe,
    *,
    seed: int,
) -> Course:
    """All of a small network that knows nothing yet; its head starts from the probe of its vectors before training, as every other does."""
    body = open_body(encoder)
    original = {name: value.detach().clone() for name, value in body.state_dict().items()}
    x_ND = _through(body, rows(items), body, body.dim)
    head = ProbeHead(fit(x_ND), start=recipe.start, seed=seed, dropout=recipe.dropout or 0.0)
    network = WholeNetwork(body, head)
    return Course(
        strategy, recipe, network, head, body, rows, body.groups(), "network", encoder.changes.config, original
    )
