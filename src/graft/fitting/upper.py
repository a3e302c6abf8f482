"""The trained rungs of a fit: climbed on the folds of the frozen ones, the winner trained on all items, its encoder used like any other.

Legend: N items, D dims, C classes, V items of a fold's validation part.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.dataset import Content, Dataset
from graft.data.read import check_trainable, read
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.errors import UsageError
from graft.heads.base import IntArray
from graft.results import StrategyResult
from graft.selection.climb import PROBE_STEPS, Climb, Limits, climb
from graft.selection.contender import Ground
from graft.selection.select import UNMEASURED, Selection
from graft.selection.trials import Fold, Plan
from graft.store.cache import VectorCache
from graft.strategies.frozen import STRATEGIES, Task
from graft.strategies.items import Items
from graft.strategies.keeping import Corpus
from graft.strategies.trained import FROZEN, KINDS, TRAINED, Trained, divided

if TYPE_CHECKING:
    from torch import Tensor

    from graft.encoders.tuned import TunedEncoder
    from graft.strategies.tuning import Outcome
    from graft.trainers.tracking import Tracking

MOST_RETAINED = 400  # items of the retained task that are looked at, before and after
UNASKED = 600.0  # seconds that trained rungs get where no budget is named
PROBES = ("named-linear-probe", "linear-probe")


@dataclass(frozen=True, eq=False)
class Request:
    """What the user wants: `frozen` strategies, None for all; trained ones that are `named`, None for those tried unasked.

    `only` says that no frozen one may be chosen. `given` are settings of the recipe, `retained` data of another task, or
    texts without labels, `left` tells the seconds left of the budget.
    """

    frozen: tuple[str, ...] | None = None
    named: tuple[Trained, ...] | None = None
    only: bool = False
    given: Mapping[str, str] = field(default_factory=dict)
    retained: Dataset | None = None
    track: str | None = None
    left: Callable[[], float | None] = lambda: None
    seed: int = 0


def wanted_of(
    strategies: Sequence[str] | None,
    given: Mapping[str, str],
    *,
    retain: str | Path | None,
    track: str | None,
    left: Callable[[], float | None],
    seed: int,
) -> Request:
    """The request that the flags of a fit make. Raises as `read` does for data to retain that cannot be used, UsageError for pictures
    without labels, MissingError for a tracker."""
    frozen, named = divided(strategies)
    retained = None
    if retain is not None:
        retained = read(retain)
        if retained.modality != "text" and not _labelled(retained):
            raise UsageError(
                f"--retain {retain} holds pictures without labels, of which nothing can be told: what is forgotten of pictures is told by "
                "a probe on their labels. Put them into one folder a class, or name a table with a column of labels."
            )
        if _labelled(retained):
            check_trainable(retained)
    only = bool(named) and not any(name in STRATEGIES or name == FROZEN for name in strategies or ())
    return Request(frozen, named, only, given, retained, track, left, seed)


def _labelled(dataset: Dataset) -> bool:
    return bool((dataset.labels >= 0).any())


def check_request(request: Request, modality: str, references: Sequence[str]) -> None:
    """Raise UsageError for all that the request asks for and items of `modality`, or one of the encoders (by default the bundled one), do
    not allow: known once the items are read."""
    problems = []
    retained = request.retained
    if retained is not None and retained.modality != modality:
        problems.append(
            f"--retain {retained.source} holds {KINDS[retained.modality]}, and the data to learn from are {KINDS[modality]}: "
            "what one encoder forgets is told on items that it takes."
        )
    elif retained is not None and not _labelled(retained):
        problems += [
            f"--retain {retained.source}: {problem}" for problem in _corpus_problems(request, modality, references)
        ]
    rungs = [rung.with_given(request.given) for rung in _rungs(request, modality) if modality in rung.recipes]
    for rung in (rung for rung in rungs if rung.recipe(modality).changes_items):
        from graft.strategies.regimen import misfits

        problems += [f"--train: {problem}" for problem in misfits(rung.recipe(modality), modality)]
        if rung.method == "head":
            problems.append(
                f"{rung.name} learns from vectors that are computed once, so augment, mixup and cutmix do not go with it."
            )
    if problems:
        raise UsageError(" ".join(dict.fromkeys(problems)))


def _corpus_problems(request: Request, modality: str, references: Sequence[str]) -> list[str]:
    """What stands against texts without labels as those that a training should not forget."""
    from graft.strategies.keeping import masked_folder, no_head
    from graft.trainers.retained import guesses_tokens

    problems = []
    if float(request.given.get("ewc") or 0):
        problems.append(
            "ewc weighs each weight by what it meant to another task, which needs labels, and these texts have none."
        )
    for reference in dict.fromkeys(references or (BUNDLED[modality],)):
        folder = masked_folder(open_encoder(reference, modality=modality))
        if folder is None or not guesses_tokens(folder):
            problems.append(no_head(reference))
    return problems


@dataclass(frozen=True, eq=False)
class Upper:
    """What came of the trained rungs: the selection with their results, and the tuned encoder where one of them won."""

    selection: Selection
    encoder: TunedEncoder | None = None


def try_upper(selection: Selection, encoder: Encoder, contents: Sequence[Content], ground: Grounds) -> Upper:
    """Climb from the chosen frozen strategy; where a trained rung wins, train it on all items and put it in the selection's place."""
    request = ground.request
    rungs = _rungs(request, encoder.info.modality)
    if not rungs or not selection.folds or not contents:
        asked = request.named or ()
        untried = (StrategyResult(r.name, r.rung, "skipped", UNMEASURED, selection.encoder) for r in asked)
        return Upper(replace(selection, results=(*selection.results, *untried)))
    items = Items.of(encoder, contents, ground.x_ND, ground.classes, ground.class_texts)
    base = _ground(selection, items, ground)
    rungs = tuple(rung.with_given(request.given, base.probe) for rung in rungs)
    workshop = _Workshop(ground, encoder.info.fingerprint, _retained(request.retained, encoder, request.seed))
    splits = int(request.given["splits"]) if "splits" in request.given else None
    limits = Limits(_clock(request), request.named is not None, request.only, splits)
    with workshop:
        found = climb(base, rungs, limits, workshop.train)
        merged = replace(selection, results=(*selection.results, *found.results), why=_why(selection, found))
        if found.winner is None:
            return Upper(merged)
        outcome = workshop.final(found.winner, items)
        return _adopted(merged, found, outcome, ground)


@dataclass(frozen=True, eq=False)
class Grounds:
    """The training items as the frozen rungs saw them, and the request."""

    x_ND: NDArray[np.float32]
    y_N: IntArray
    task: Task
    classes: tuple[str, ...]
    class_texts: tuple[str, ...]
    request: Request


def _rungs(request: Request, modality: str) -> tuple[Trained, ...]:
    if request.named is not None:
        return request.named
    return tuple(rung for rung in TRAINED.values() if modality in rung.climbed)


def _ground(selection: Selection, items: Items, ground: Grounds) -> Ground:
    """The best frozen strategy as what has to be beaten, and the better of the two linear probes as the start."""

    def base(fold: Fold) -> NDArray[np.float32]:
        train, validation = fold
        strategy = STRATEGIES[selection.chosen]
        with settings.one_thread():
            (head,) = strategy.fit_path(items.x_ND[train], ground.y_N[train], ground.task, [selection.settings])
            return head.logits(items.x_ND[validation]).astype(np.float32)

    sign = -1.0 if selection.metric == "log_loss" else 1.0
    measured = [r for r in selection.results if r.name in PROBES and r.metrics and r.encoder in (selection.encoder, "")]
    best = max(measured, key=lambda r: sign * r.metrics[selection.metric].value, default=None)
    probe = ("linear-probe", {"c": 1.0}) if best is None else (best.name, dict(best.settings))
    n_folds = len(selection.folds) // selection.repeats
    plan = Plan(selection.folds, n_folds, selection.repeats)
    return Ground(items, ground.y_N, ground.task, plan, selection.metric, selection.chosen, base, probe)


def _retained(dataset: Dataset | None, encoder: Encoder, seed: int) -> tuple[Items, IntArray] | Corpus | None:
    """Some labelled items of another task, or some texts without labels, as the encoder takes them."""
    if dataset is None:
        return None
    if not _labelled(dataset):
        some = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:MOST_RETAINED])
        return Corpus.of(encoder, [str(dataset.contents[i]) for i in some], seed)
    labelled = np.flatnonzero(dataset.labels >= 0)
    some = np.sort(np.random.default_rng(seed).permutation(labelled)[:MOST_RETAINED])
    contents = [dataset.contents[i] for i in some]
    with VectorCache.open() as cache:
        done = encode(contents, encoder, cache=cache)
    kept = [contents[i] for i in done.index]
    return Items.of(encoder, kept, done.vectors), dataset.labels[some][done.index]


def what_time_let_run(
    results: Sequence[StrategyResult], given: Mapping[str, str], *, only: bool
) -> dict[str, str | None]:
    """Flags of a fit that does the same again however fast the machine: the strategies that were measured, and on how many folds.

    Nothing where time decided nothing. Where `only` trained ones could be chosen they alone are named again, for with a frozen one beside them
    they would have to prove a gain.
    """
    trained = [r for r in results if r.name in TRAINED]
    timed = any(r.training is not None and r.training.predicted_seconds is not None for r in trained)
    if not timed and all(r.status != "stopped" for r in results):
        return {}
    measured = [r for r in results if r.status == "measured"]
    again = [r for r in measured if r.name in TRAINED] if only else []
    names = ",".join(dict.fromkeys(r.name for r in again or measured))
    flags: dict[str, str | None] = {"budget": None, "strategies": names}
    folds = [r.training.folds for r in trained if r.training is not None and r.training.folds]
    if folds:
        flags["train"] = ",".join(f"{key}={value}" for key, value in {**given, "splits": str(max(folds))}.items())
    return flags


def _clock(request: Request) -> Callable[[], float]:
    """Seconds left: of the budget, of ten minutes from now where none is named, without end for rungs that are named."""
    if request.left() is not None:
        return lambda: request.left() or 0.0
    if request.named is not None:
        return lambda: float("inf")
    until = time.perf_counter() + UNASKED
    return lambda: max(0.0, until - time.perf_counter())


class _Workshop:
    """Trains rungs, with checkpoints from which a killed fit goes on; they are removed once the climb is through."""

    REHEARSAL, WHOLE = -1, -2

    def __init__(self, ground: Grounds, fingerprint: str, retained: tuple[Items, IntArray] | Corpus | None) -> None:
        self.ground, self.retained = ground, retained
        self.tracking: Tracking | None = None
        self.states: dict[str, list[Mapping[str, Tensor]]] = {}
        whole = hashlib.blake2b(np.ascontiguousarray(ground.x_ND).tobytes(), digest_size=16)
        whole.update(np.ascontiguousarray(ground.y_N).tobytes() + fingerprint.encode())
        if isinstance(retained, tuple):  # what is held by ewc depends on it
            whole.update(np.ascontiguousarray(retained[0].x_ND).tobytes() + np.ascontiguousarray(retained[1]).tobytes())
        self.key = whole.hexdigest()
        self.folder = settings.cache_dir() / "training" / self.key

    def __enter__(self) -> _Workshop:
        if self.ground.request.track is not None:
            from graft.trainers.tracking import open_tracking

            self.tracking = open_tracking((self.ground.request.track,), Path("graft-track"))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.tracking is not None:
            self.tracking.finish()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def train(
        self, rung: Trained, items: Items, y_N: IntArray, fold: int, held: tuple[Items, IntArray] | None
    ) -> Outcome:
        """One training; a rehearsal is of a single pass, without checkpoint and tracker."""
        from graft.strategies.tuning import Job, tune

        request = self.ground.request
        recipe = rung.recipe(items.encoder.info.modality)
        if fold == self.REHEARSAL:
            pairs = PROBE_STEPS * recipe.batch * (recipe.batch - 1) // 2
            recipe = replace(recipe, epochs=1.0, range_test=False, patience=0, seconds=None, unfreeze=0.0, pairs=pairs)
            return tune(rung, items, y_N, self.ground.task, Job(recipe, request.seed, stage=f"time {rung.name}"))
        about = f"{self.key} {rung.name} {sorted(rung.told(items.encoder.info.modality).items())} {rung.probe} {fold} {request.seed}"
        name = hashlib.blake2b(about.encode(), digest_size=12).hexdigest()
        where = "all items" if fold == self.WHOLE else f"fold {fold + 1}"
        job = Job(
            recipe,
            request.seed,
            held,
            self.folder / f"{name}.safetensors",
            about,
            self.tracking.part(f"{rung.name}, {where}") if self.tracking else None,
            f"{rung.name}, {where}",
            self.retained,
        )
        outcome = tune(rung, items, y_N, self.ground.task, job)
        if recipe.final == "soup" and fold != self.WHOLE:
            self.states.setdefault(rung.name, []).append(outcome.after)
        return outcome

    def final(self, rung: Trained, items: Items) -> Outcome:
        """The winner on all items: trained once more, or the mean of the folds' weights where the recipe says soup."""
        from graft.strategies.tuning import Job, souped

        states = self.states.get(rung.name, [])
        if len(states) < 2:
            return self.train(rung, items, self.ground.y_N, self.WHOLE, None)
        job = Job(rung.recipe(items.encoder.info.modality), self.ground.request.seed)
        return souped(rung, items, self.ground.y_N, self.ground.task, job, states)


def _adopted(selection: Selection, found: Climb, outcome: Outcome, ground: Grounds) -> Upper:
    """The selection with the winner trained on all items in the place of the frozen choice."""
    assert found.winner is not None
    logits_NC, known_N = _out_of_fold(selection, found, ground)
    results = tuple(_placed(r, found, selection) for r in selection.results)
    chosen = next(r for r in results if r.name == found.winner.name and r.status == "measured")
    return Upper(
        replace(
            selection,
            chosen=found.winner.name,
            results=results,
            settings=chosen.settings,
            head=outcome.plain_head(found.share),
            oof_logits_NC=logits_NC,
            oof_known_N=known_N,
            how=_how(selection, found),
        ),
        outcome.encoder(found.share),
    )


def _placed(result: StrategyResult, found: Climb, selection: Selection) -> StrategyResult:
    """A result set beside the new choice: the gain of the winner over the rung it beat, seen from that rung."""
    assert found.winner is not None
    winner = next(r for r in found.results if r.name == found.winner.name)
    if winner.gain is None or result.name != winner.gain_over or result.encoder != selection.encoder:
        return replace(result, versus_chosen=None)
    g = winner.gain
    swapped = (None if g.high is None else -g.high, None if g.low is None else -g.low)
    return replace(result, versus_chosen=replace(g, value=-g.value, low=swapped[0], high=swapped[1]))


def _out_of_fold(selection: Selection, found: Climb, ground: Grounds) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits (N, C) of the winner for items of the folds it was measured on, and which items those are."""
    n_classes = ground.task.n_classes
    logits_NC, known_N = np.zeros((len(ground.y_N), n_classes), np.float32), np.zeros(len(ground.y_N), bool)
    for fold, logits_VC in found.logits.items():
        train, validation = selection.folds[fold]
        logits_NC[validation] = logits_VC
        known_N[validation] = np.isin(ground.y_N[validation], ground.y_N[train])
    return logits_NC, known_N


def _how(selection: Selection, found: Climb) -> str:
    folds = "the first of them" if len(found.folds) == 1 else f"{len(found.folds)} of them"
    return f"{selection.how}; rungs that train the encoder on {folds}"


def _why(selection: Selection, found: Climb) -> str:
    """Both choices, the one that stands first."""
    if found.winner is None:
        return f"{selection.why} {found.why}".strip()
    frozen = selection.why[:1].lower() + selection.why[1:]
    return f"{found.winner.name.capitalize()} was chosen. {found.why} Of the strategies that leave the encoder as it is, {frozen}"


def encode_tuned(encoder: TunedEncoder, contents: Sequence[Content]) -> tuple[NDArray[np.float32], Any]:
    """Vectors (N, D) of all items by the tuned encoder, and its summary; they are not cached, for nobody asks again."""
    done = encode(contents, encoder, remember=False)
    return done.vectors, done.summary
