"""Bridges learned from a few hundred pictures with texts, and whether they may be used: what held-out pairs say.

Three linear maps into a common space are tried. "ridge": features to the mean text of a picture, the plain map that the others must
beat. "cca": regularised canonical correlation (Hotelling 1936; Vinod 1976), both sides whitened and every direction weighted by its
correlation. "contrastive": the same maps trained on by a symmetric InfoNCE loss (van den Oord et al. 2018; Radford et al. 2021).
Legend: N pairs, P pictures, D dims of picture vectors, F features of a picture, T dims of texts, R dims of the common space, H directions
of the pictures' spectrum, C candidates, J recalls (at 1, 5, 10).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from graft import settings
from graft.errors import DataError
from graft.heads.base import Float32Array, Float64Array, FloatArray, IntArray, unit_rows
from graft.heads.ridge import damped
from graft.metrics.rank import paired_interval, query_interval
from graft.results import Interval
from graft.retrieval.bridges import Bridge, Ends, LearnedBridge, Maps, NamesBridge, picture_features

LEAST_PICTURES = 20  # with fewer, a fold has too few others to tell a picture from
FOLDS = 5
RECALLS = (1, 5, 10)
DIMS = 128  # of the common space: 64 lost .003 of recall on Flickr8k, 384 gained .002
BANK = 1000  # texts that hubness is measured with
SHRINK = (1.0, 3.0, 10.0)  # ridge of the pictures' spectrum, times its mean eigenvalue over P
TEXT_SHRINK = (0.3, 1.0, 3.0)  # ridge of the texts' spectrum, times its mean eigenvalue
BLEND, HUB = 0.4, 0.75  # weights tried against 0; half as much again or less moved recall by up to .006
_STEPS, _RATE, _TEMPERATURE, _DROP = 60, 1e-4, 0.07, 0.2  # of the contrastive training
_EVERY_CHECK = 5


@dataclass(frozen=True)
class Setting:
    """One way to make a bridge: its kind, how strongly either side is shrunk, and the weights of names and hubness."""

    kind: str
    shrink: float = 3.0
    text_shrink: float = 1.0
    blend: float = 0.0
    hub: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """What one kind of bridge found in held-out pairs: text to picture, among the pictures of a fold.

    `recalls` holds recall@1, @5, @10 and their mean "recall", each a mean over pictures with its interval; `gain` is the paired difference
    in "recall" over the baseline. `setting` is the best one of the kind over all folds; the recalls are of settings that other folds chose.
    """

    kind: str
    recalls: Mapping[str, Interval]
    gain: Interval | None
    setting: Setting


@dataclass(frozen=True, eq=False)
class BridgeFit:
    """The bridge to use, refitted on all pairs, and the evidence. `chosen` is its kind; `pool` is how many pictures a text was told apart from."""

    bridge: Bridge
    chosen: str
    why: str
    candidates: tuple[Candidate, ...]
    pictures: int
    pairs: int
    pool: int
    settings: Mapping[str, Any] = field(default_factory=dict)


def fit_bridge(
    x_ND: FloatArray,
    q_NT: FloatArray,
    *,
    groups_N: IntArray,
    ends: Ends,
    names: NamesBridge | None = None,
    seed: int = 0,
) -> BridgeFit:
    """Learn bridges from pairs, measure them by 5-fold cross-validation over pictures, and choose.

    Row n of `x_ND` (the encoder's vectors as it gives them) and of `q_NT` is a picture and a text about it; rows with one `groups_N` are of
    one picture. `names` is the bridge that needs no pairs: the baseline, and a part of the learned ones where that helps. A learned bridge is used
    only if the interval of its paired gain in recall over the baseline (chance, without `names`) lies above 0; all settings are chosen on other
    folds than they are measured on. Deterministic for a seed.

    Raises DataError for fewer than 20 pictures, vectors that are not finite, parts of unequal length, and where without `names` nothing
    beats chance.
    """
    pairs = _Pairs.of(x_ND, q_NT, groups_N)
    root = bool(pairs.x_PD.min() >= 0)
    with settings.one_thread():
        found = _Search(pairs, ends, names, root, seed)
        found.run()
        candidates = found.candidates()
        learned = max((c for c in candidates if c.kind != "names"), key=lambda c: c.recalls["recall"].value)
        why, chosen = _verdict(learned, names is not None, found.pool)
        if chosen == "names":
            assert names is not None
            bridge: Bridge = names
        else:
            bridge = found.bridge(pairs, learned.setting)
    return BridgeFit(
        bridge=bridge,
        chosen=chosen,
        why=why,
        candidates=candidates,
        pictures=len(pairs.x_PD),
        pairs=len(pairs.q_NT),
        pool=found.pool,
        settings=asdict(learned.setting) if chosen != "names" else {},
    )


def _verdict(learned: Candidate, named: bool, pool: int) -> tuple[str, str]:
    gain = learned.gain
    assert gain is not None
    low, high = gain.low or 0.0, gain.high or 0.0
    rival = "the class-name bridge" if named else "chance"
    told = (
        f"On held-out pictures the {learned.kind} bridge's recall (mean of recall@1, 5 and 10 among {pool} pictures) differs from that of {rival} "
        f"by {gain.value:+.3f} ({low:+.3f} to {high:+.3f}, {gain.n} pictures)"
    )
    if low > 0:
        return f"{told}: it is used.", learned.kind
    if named:
        return f"{told}: that is no proven gain, so the class-name bridge is used.", "names"
    raise DataError(
        f"{told}: these pairs teach nothing. Give more pairs, or check that each text is about its picture."
    )


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pictures once each, texts, and `of_N`, the picture of each text."""

    x_PD: Float32Array
    q_NT: Float32Array
    of_N: IntArray

    @classmethod
    def of(cls, x_ND: FloatArray, q_NT: FloatArray, groups_N: IntArray) -> _Pairs:
        if not len(x_ND) == len(q_NT) == len(groups_N):
            raise DataError(
                f"Pairs of unequal length: {len(x_ND)} pictures, {len(q_NT)} texts, {len(groups_N)} groups."
            )
        for what, array in (("picture", x_ND), ("text", q_NT)):
            if (bad := np.flatnonzero(~np.isfinite(array).all(axis=1))).size:
                raise DataError(f"{bad.size} {what} vectors are not finite, the first in row {bad[0]}.")
        _, first, of_N = np.unique(groups_N, return_index=True, return_inverse=True)
        if len(first) < LEAST_PICTURES:
            raise DataError(
                f"{len(first)} pictures with texts are too few to learn a bridge from and to measure it: at least {LEAST_PICTURES} are needed, "
                "some hundred are good."
            )
        return cls(np.asarray(x_ND, np.float32)[first], unit_rows(q_NT), of_N)

    def part(self, pictures: IntArray) -> _Pairs:
        place = np.full(len(self.x_PD), -1)
        place[pictures] = np.arange(len(pictures))
        mine = place[self.of_N] >= 0
        return _Pairs(self.x_PD[pictures], self.q_NT[mine], place[self.of_N[mine]])

    def mean_texts(self) -> Float64Array:
        """The mean text of each picture (P, T)."""
        sums_PT = np.zeros((len(self.x_PD), self.q_NT.shape[1]))
        np.add.at(sums_PT, self.of_N, self.q_NT)
        result: Float64Array = sums_PT / np.bincount(self.of_N)[:, None]
        return result


class _Search:
    """Every candidate on every fold: `hits` maps a setting to recalls of each picture's texts (P, J)."""

    def __init__(self, pairs: _Pairs, ends: Ends, names: NamesBridge | None, root: bool, seed: int) -> None:
        self.pairs, self.ends, self.names, self.root, self.seed = pairs, ends, names, root, seed
        n = len(pairs.x_PD)
        self.folds = np.array_split(np.random.default_rng(seed).permutation(n), FOLDS)
        self.fold_P = np.empty(n, np.int64)
        for number, fold in enumerate(self.folds):
            self.fold_P[fold] = number
        self.pool = int(np.median([len(fold) for fold in self.folds]))
        self.hits: dict[Setting, Float64Array] = {}

    def run(self) -> None:
        for number, fold in enumerate(self.folds):
            settings.progress("bridge", number, FOLDS)
            train, held = self.pairs.part(np.flatnonzero(self.fold_P != number)), self.pairs.part(fold)
            for setting, bridge in self._bridges(train):
                table = self.hits.setdefault(setting, np.zeros((len(self.pairs.x_PD), len(RECALLS))))
                table[fold] = recalls(bridge, held.x_PD, held.q_NT, held.of_N)
        settings.progress("bridge", FOLDS, FOLDS)

    def _bridges(self, train: _Pairs) -> Iterator[tuple[Setting, Bridge]]:
        if self.names is not None:
            yield Setting("names"), self.names
        spectra = Spectra(
            picture_features(train.x_PD, self.names, root=self.root), train.q_NT, train.of_N, train.mean_texts()
        )
        for setting in _grid():
            maps = spectra.maps(setting, self.seed)
            for blend, hub in [(0.0, 0.0)] if setting.kind == "ridge" else self._finishes():
                finished = Setting(setting.kind, setting.shrink, setting.text_shrink, blend, hub)
                yield finished, self._finish(maps, finished, train)

    def _finishes(self) -> list[tuple[float, float]]:
        return [(0.0, 0.0), (0.0, HUB)] + ([] if self.names is None else [(BLEND, HUB)])

    def _finish(self, maps: Maps, setting: Setting, train: _Pairs) -> LearnedBridge:
        some = np.linspace(0, len(train.q_NT) - 1, min(BANK, len(train.q_NT))).astype(np.int64)
        return LearnedBridge(
            setting.kind,
            maps,
            ends=self.ends,
            root=self.root,
            names=self.names,
            blend=setting.blend,
            hub=setting.hub,
            bank_BT=train.q_NT[some],
        )

    def bridge(self, pairs: _Pairs, setting: Setting) -> LearnedBridge:
        """One bridge of a setting, of all `pairs`."""
        features_PF = picture_features(pairs.x_PD, self.names, root=self.root)
        spectra = Spectra(features_PF, pairs.q_NT, pairs.of_N, pairs.mean_texts())
        return self._finish(spectra.maps(setting, self.seed), setting, pairs)

    def candidates(self) -> tuple[Candidate, ...]:
        """One a kind. A picture's recalls are those of the setting that is best on the other folds, so that choosing does not flatter."""
        kinds = dict.fromkeys(setting.kind for setting in self.hits)
        base_P = np.mean([min(1.0, k / self.pool) for k in RECALLS]) * np.ones(len(self.pairs.x_PD))
        found = []
        for kind in kinds:
            tried = [setting for setting in self.hits if setting.kind == kind]
            hits_CPJ = np.stack([self.hits[setting] for setting in tried])
            mean_CP = hits_CPJ.mean(axis=2)
            best_P = np.array([mean_CP[:, self.fold_P != f].mean(axis=1).argmax() for f in range(FOLDS)])[self.fold_P]
            mine_PJ = hits_CPJ[best_P, np.arange(len(best_P))]
            told = {f"recall@{k}": query_interval(mine_PJ[:, j], self.seed) for j, k in enumerate(RECALLS)}
            told["recall"] = query_interval(mine_PJ.mean(axis=1), self.seed)
            if kind == "names":
                base_P = mine_PJ.mean(axis=1)
            gain = None if kind == "names" else paired_interval(mine_PJ.mean(axis=1), base_P, self.seed)
            found.append(Candidate(kind, told, gain, tried[int(mean_CP.mean(axis=1).argmax())]))
        return tuple(found)


def _grid() -> list[Setting]:
    return [
        *(Setting("ridge", shrink) for shrink in SHRINK),
        *(Setting("cca", shrink, text_shrink) for shrink, text_shrink in itertools.product(SHRINK, TEXT_SHRINK)),
        Setting("contrastive"),
    ]


def recalls(bridge: Bridge, x_PD: FloatArray, q_NT: FloatArray, of_N: IntArray) -> Float64Array:
    """Recall@1, 5, 10 of finding its picture by each text, averaged over the texts of a picture: (P, J). Ties count against it."""
    scores_NP = bridge.queries(q_NT) @ bridge.items(x_PD).T
    own_N1 = scores_NP[np.arange(len(of_N)), of_N][:, None]
    before_N = (scores_NP >= own_N1).sum(axis=1) - 1
    sums_PJ = np.zeros((len(x_PD), len(RECALLS)))
    np.add.at(sums_PJ, of_N, before_N[:, None] < np.array(RECALLS))
    result: Float64Array = sums_PJ / np.bincount(of_N, minlength=len(x_PD))[:, None]
    return result


class Spectra:
    """Both sides' centres, principal directions and eigenvalues, from which the maps of every setting follow cheaply.

    The pictures' covariance is that of the pictures, the texts' that of all texts: what texts of one picture differ in is shrunk too.
    """

    def __init__(self, features_PF: FloatArray, q_NT: FloatArray, of_N: IntArray, mean_PT: Float64Array) -> None:
        x_PF = np.asarray(features_PF, np.float64)
        self.centre_F, self.centre_T = x_PF.mean(axis=0), mean_PT.mean(axis=0)
        self.basis_FH, self.values_H = _directions(x_PF - self.centre_F)
        self.z_PH = (x_PF - self.centre_F) @ self.basis_FH
        self.texts_PT, self.of_N = mean_PT - self.centre_T, of_N
        self.text_NT = q_NT - self.centre_T
        values_T, self.basis_TT = np.linalg.eigh(self.text_NT.T @ self.text_NT / len(q_NT))
        self.values_T = np.maximum(values_T, 0)

    def maps(self, setting: Setting, seed: int) -> Maps:
        """The maps of a setting, fitted."""
        if setting.kind == "ridge":
            return self._maps(self._ridge(setting.shrink), np.eye(len(self.centre_T)))
        item_HT, text_TT = self._whiten(setting)
        item_HR, text_TR = self._canonical(item_HT, text_TT, np.arange(len(self.z_PH)))
        if setting.kind == "contrastive":
            item_HR, text_TR = self._train(item_HT, text_TT, item_HR, text_TR, seed)
        return self._maps(item_HT[:, None] * item_HR, text_TT @ text_TR)

    def _maps(self, item_HR: Float64Array, text_TR: Float64Array) -> Maps:
        arrays = (self.centre_F, self.basis_FH @ item_HR, self.centre_T, text_TR)
        return Maps(*(np.ascontiguousarray(array, np.float32) for array in arrays))

    def _ridge(self, shrink: float) -> Float64Array:
        return damped(self.z_PH.T @ self.texts_PT, self.values_H * len(self.z_PH), shrink * self.values_H.sum())

    def _whiten(self, setting: Setting) -> tuple[Float64Array, Float64Array]:
        """Scales (H,) of the pictures' directions, and the texts' map (T, T)."""
        scale_H = (self.values_H + setting.shrink * self.values_H.sum() / len(self.z_PH)) ** -0.5
        scale_T = (self.values_T + setting.text_shrink * self.values_T.mean()) ** -0.5
        return scale_H, self.basis_TT * scale_T

    def _canonical(
        self, scale_H: Float64Array, text_TT: Float64Array, some: IntArray
    ) -> tuple[Float64Array, Float64Array]:
        """Canonical directions of the pictures `some`, each times its correlation, in whitened coordinates."""
        cross_HT = (self.z_PH[some] * scale_H).T @ (self.texts_PT[some] @ text_TT) / len(some)
        left_HR, correlation_R, right_RT = np.linalg.svd(cross_HT, full_matrices=False)
        kept = slice(0, min(DIMS, int((correlation_R > 1e-9).sum()) or 1))
        return left_HR[:, kept] * correlation_R[kept], right_RT[kept].T * correlation_R[kept]

    def _train(
        self, scale_H: Float64Array, text_TT: Float64Array, item_HR: Float64Array, text_TR: Float64Array, seed: int
    ) -> tuple[Float64Array, Float64Array]:
        """InfoNCE from the canonical directions on. How many steps, an eighth of the pictures tells that took no part, in a first run."""
        z_PH, t_NT = self.z_PH * scale_H, self.text_NT @ text_TT
        order = np.random.default_rng(seed).permutation(len(z_PH))
        held, rest = order[: len(order) // 8], order[len(order) // 8 :]
        start = self._canonical(scale_H, text_TT, rest)
        steps = _descend(z_PH, t_NT, self.of_N, start, rest, held=held, seed=seed)[2]
        return _descend(z_PH, t_NT, self.of_N, (item_HR, text_TR), order, steps=steps, seed=seed)[:2]


def _directions(centred_PF: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Principal directions (F, H) and eigenvalues of the covariance, largest first, by whichever of its two products is smaller."""
    n, dims = centred_PF.shape
    if n <= dims:
        values, left = np.linalg.eigh(centred_PF @ centred_PF.T / n)
    else:
        values, left = np.linalg.eigh(centred_PF.T @ centred_PF / n)
    kept = np.flatnonzero(values > 1e-6 * values[-1])[::-1]
    if not kept.size:
        raise DataError("All pictures have the same vector: nothing can be learned from them.")
    values_H, left = values[kept], left[:, kept]
    return (left if n > dims else centred_PF.T @ left / np.sqrt(n * values_H)), values_H


def info_nce(logits_BB: Any) -> Any:
    """Symmetric InfoNCE of a batch (torch tensor): row and column i belong together; mean of both directions' cross entropies, in nats.

    ln B where nothing is told apart.
    """
    import torch
    from torch.nn.functional import cross_entropy

    target_B = torch.arange(len(logits_BB))
    return (cross_entropy(logits_BB, target_B) + cross_entropy(logits_BB.T, target_B)) / 2


def _descend(
    z_PH: Float64Array,
    t_NT: Float64Array,
    of_N: IntArray,
    start: tuple[Float64Array, Float64Array],
    pictures: IntArray,
    *,
    held: IntArray | None = None,
    steps: int = _STEPS,
    seed: int,
) -> tuple[Float64Array, Float64Array, int]:
    """Adam on batches of 512 pictures with one text each, inputs dropped out; with `held`, also after how many steps its loss was least."""
    import torch
    from torch.nn.functional import dropout, normalize

    rng = np.random.default_rng([seed, 1])
    by_picture = np.argsort(of_N, kind="stable")
    count_P = np.bincount(of_N)
    first_P = np.cumsum(count_P) - count_P
    item, text = (torch.tensor(map_, dtype=torch.float32, requires_grad=True) for map_ in start)
    scale = torch.tensor(-np.log(_TEMPERATURE), dtype=torch.float32, requires_grad=True)
    learnt: list[dict[str, Any]] = [{"params": [item, text]}, {"params": [scale], "lr": 0.01}]
    optimiser = torch.optim.Adam(learnt, lr=_RATE)
    z, t = torch.tensor(z_PH, dtype=torch.float32), torch.tensor(t_NT, dtype=torch.float32)

    def loss(some: IntArray, drop: float) -> Any:
        drawn = by_picture[first_P[some] + rng.integers(0, count_P[some])]
        rows, columns = dropout(z[some], drop), dropout(t[drawn], drop)
        return info_nce(scale.exp() * normalize(rows @ item, dim=1) @ normalize(columns @ text, dim=1).T)

    best, least = 0, np.inf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps + 1):
            if held is not None and step % _EVERY_CHECK == 0:
                with torch.no_grad():
                    value = float(np.mean([float(loss(held, 0.0)) for _ in range(5)]))
                if value < least:
                    best, least = step, value
            if step < steps:
                optimiser.zero_grad()
                loss(rng.permutation(pictures)[:512], _DROP).backward()
                optimiser.step()
    return item.detach().numpy().astype(np.float64), text.detach().numpy().astype(np.float64), best
