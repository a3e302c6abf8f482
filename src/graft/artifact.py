"""The artefact: one folder that holds a fitted model as JSON and tensors, checked when it is written and when it is read.

    graft.json         the manifest: what the model is, what it was measured at, the hash of every file that shapes an answer
    head.safetensors   the head's arrays
    encoder/           only where the encoder was trained: what changed of it
    README.md          the model card, for people; it may be edited

Nothing here is executable: no pickle is written or loaded. This module knows arrays and configurations only; the caller passes
the function that rebuilds a head from them.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import MissingError, ModelError
from graft.heads.base import Head, TargetHead, softmax
from graft.results import Abstention, Calibration, EncoderSummary, FitResult, Interval, from_json, to_json
from graft.store.files import new_folder, write_bytes, write_json

SCHEMA = 1
MANIFEST, HEAD, CARD, ENCODER = "graft.json", "head.safetensors", "README.md", "encoder"
TOLERANCE = 1e-6  # largest difference in a probability (of the largest number) between the head in memory and the same head read back

Tree = dict[str, Any]
# Step n turns a manifest's tree of schema n into one of schema n + 1.
MIGRATIONS: dict[int, Callable[[Tree], Tree]] = {}


# `strategies.trained.head_from_state` or its like, handed in because this module lies below it: strategy, arrays, configuration -> head
Rebuild = Callable[[str, Mapping[str, NDArray[Any]], Mapping[str, Any]], Head | TargetHead]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the model was fitted on: counts a class are of the training items."""

    name: str
    items: int
    train: int
    test: int
    counts: tuple[int, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything `graft.json` says. `metrics` were measured on `measured_on`: the test part, or the folds where there is none.

    `head` is the head's own configuration; `settings` what the strategy was given. `encoder` is the encoder whose vectors the head reads: its
    `reference` names the pretrained one, and where it was trained `tuned` says how (weights, lora, ..) and the fingerprint is that of the
    tuned one in `encoder/`. `task` is classify, or number, count, ordinal or multilabel: `classes` are then the levels or labels, and `answers`
    holds what turns the head's answers into intervals and labels. `files` is filled in by `save`.
    """

    schema: int = SCHEMA
    graft: str = ""
    created: str = ""
    task: str = "classify"
    name: str
    classes: tuple[str, ...]
    encoder: EncoderSummary
    tuned: str = ""
    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    measured_on: str = "nothing"
    data: Origin
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 when the model is not calibrated."""
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def of(cls, result: FitResult, *, head: Mapping[str, Any], tuned: str = "") -> Manifest:
        """The manifest of the model that `result` tells about; `head` is the refitted head's configuration, `tuned` how the encoder was."""
        chosen = result.chosen_result
        folds = dict(chosen.metrics) if chosen else {}
        return cls(
            graft=metadata.version("graft"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            task=result.task,
            name=result.name,
            classes=result.data.classes,
            encoder=result.encoder,
            tuned=tuned,
            strategy=result.chosen,
            settings=chosen.settings if chosen else {},
            head=head,
            calibration=result.calibration,
            abstention=result.abstention,
            metrics=result.test or folds,
            measured_on="test" if result.test else "folds" if folds else "nothing",
            data=Origin(
                name=result.data.name,
                items=result.data.items,
                train=result.data.train,
                test=result.data.test,
                counts=result.data.counts,
                columns=result.data.columns,
                sha256=result.data.sha256,
            ),
            versions=dict(result.environment) or {"python": platform.python_version()},
        )


@dataclass(frozen=True)
class Artifact:
    """An opened artefact: manifest and arrays, every hash checked."""

    folder: Path
    manifest: Manifest
    arrays: Mapping[str, NDArray[Any]]


def probabilities(head: Head, x_ND: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Softmax of the head's logits divided by `temperature`: (N, C) float64, rows sum to 1 (Guo et al. 2017)."""
    return softmax(head.logits(x_ND) / temperature)


def save(
    folder: str | Path,
    manifest: Manifest,
    arrays: Mapping[str, NDArray[Any]],
    *,
    sample_x: NDArray[np.float32],
    sample_answers: NDArray[np.float64],
    rebuild: Rebuild,
    write_encoder: Callable[[Path], None] | None = None,
    card: str | None = None,
) -> Manifest:
    """Write an artefact, read it back, compare it, and only then put it in place; returns the manifest with its hashes.

    `sample_x` (n, dim) are some vectors and `sample_answers` (n, C) what the head in memory says about them, probabilities of a classifier;
    `rebuild(strategy, arrays, config)` makes the head that is compared. `write_encoder(folder)` writes what changed of the encoder; `card` is the
    README, by default that of a classifier. A failure leaves nothing behind.

    Raises ModelError when the copy on disk answers differently, StorageError when the folder exists or cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    head = to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    files = {HEAD: hashlib.sha256(head).hexdigest()}
    with new_folder(Path(folder)) as draft:
        write_bytes(draft / HEAD, head)
        if write_encoder is not None:
            write_encoder(draft / ENCODER)
            written = sorted(path for path in (draft / ENCODER).iterdir() if path.is_file())
            files |= {f"{ENCODER}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
        manifest = replace(manifest, files=files)
        tree: Tree = to_json(manifest)
        write_bytes(draft / CARD, (model_card(manifest) if card is None else card).encode())
        write_json(draft / MANIFEST, tree | {"digest": digest_of(tree)})
        _compare(load(draft), sample_x, sample_answers, rebuild)
    return manifest


def _compare(copy: Artifact, sample_x: NDArray[np.float32], expected_NC: NDArray[np.float64], rebuild: Rebuild) -> None:
    head = rebuild(copy.manifest.strategy, copy.arrays, copy.manifest.head)
    if isinstance(head, Head):
        read_NC = probabilities(head, sample_x, copy.manifest.temperature)
    else:
        read_NC = head.predict(sample_x)
    if read_NC.shape != expected_NC.shape:
        raise ModelError(
            f"The saved model answers with shape {read_NC.shape}, the fitted one with {expected_NC.shape}."
        )
    worst = float(np.abs(read_NC - expected_NC).max(initial=0.0)) / max(
        1.0, float(np.abs(expected_NC).max(initial=0.0))
    )
    if not worst <= TOLERANCE:
        raise ModelError(
            f"The saved model differs from the fitted one by {worst:.2g} in an answer "
            f"(at most {TOLERANCE:g} is allowed); nothing was kept."
        )


def find(path: str | Path) -> Path:
    """The artefact's folder for `path`: itself, its `graft.json`, or `model/` inside a folder that `fit` wrote.

    Raises MissingError when there is nothing at `path`, ModelError when what is there is no artefact.
    """
    given = Path(path).expanduser()
    folder = given.parent if given.name == MANIFEST else given
    for candidate in (folder, folder / "model"):
        if (candidate / MANIFEST).is_file():
            return candidate
    if not given.exists():
        raise MissingError(f"There is no model at {str(path)!r}. `graft fit DATA --out {path}` would make one.")
    raise ModelError(f"{str(path)!r} is not a Graft model: it holds no {MANIFEST}, nor does a folder model/ in it.")


def load(path: str | Path) -> Artifact:
    """Open and check the artefact at `path` (see `find`).

    Raises MissingError when a file is not there, ModelError when one was changed, the manifest is no manifest of ours,
    was written by a newer Graft, or names a file outside the folder.
    """
    folder = find(path)
    manifest = _manifest(folder)
    contents = {name: _checked(folder, name, digest) for name, digest in manifest.files.items()}
    if HEAD not in contents:
        raise ModelError(f"{folder / MANIFEST} lists no {HEAD}; the model is incomplete.")
    return Artifact(folder=folder, manifest=manifest, arrays=_arrays(contents[HEAD], folder / HEAD))


def read_manifest(path: str | Path) -> Manifest:
    """The manifest at `path` (see `find`) without the tensors; raises as `load` does."""
    return _manifest(find(path))


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not JSON ({error}); the model was damaged. Take it from its source again."
        ) from error
    if not isinstance(tree, dict) or not isinstance(tree.get("schema"), int):
        raise ModelError(f"{path} names no schema number; it was not written by Graft.")
    schema: int = tree["schema"]
    if schema > SCHEMA:
        raise ModelError(
            f"{path} has schema {schema}, this Graft ({metadata.version('graft')}) reads up to {SCHEMA}: "
            "it was written by a newer one. `pip install --upgrade graft` reads it."
        )
    digest = tree.pop("digest", None)
    if digest != digest_of(tree):
        raise ModelError(f"{path} was changed since the model was saved. Take it from its source again, or fit again.")
    for version in range(schema, SCHEMA):
        if version not in MIGRATIONS:
            raise ModelError(f"{path} has schema {version}, which this Graft can no longer read (it reads {SCHEMA}).")
        tree = MIGRATIONS[version](tree) | {"schema": version + 1}
    try:
        return from_json(Manifest, tree)
    except (TypeError, KeyError, ValueError, AttributeError, StopIteration) as error:
        raise ModelError(f"{path} is not a manifest of schema {SCHEMA}: {error}.") from error


def _checked(folder: Path, name: str, digest: str) -> bytes:
    """The bytes of a file of the artefact, if it lies inside the folder and is what was saved."""
    path = folder / name
    if not _inside(path, folder):
        raise ModelError(f"{folder / MANIFEST} names {name!r}, a file outside the model's folder; it is not opened.")
    return checked(path, digest)


def checked(path: Path, digest: str | None) -> bytes:
    """The bytes of a saved model's file. Raises MissingError where it is not there, ModelError where its SHA-256 is another one."""
    if not path.is_file():
        raise MissingError(f"{path} is missing: the model is incomplete. Copy the whole folder from its source.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(f"{path} was changed since the model was saved. Take it from its source again, or fit again.")
    return content


def _inside(path: Path, folder: Path) -> bool:
    """Whether `path`, links followed, lies in `folder`; a name that no disk can have does not."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False


def _arrays(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        arrays: dict[str, NDArray[Any]] = from_bytes(content)
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file ({error}).") from error
    return arrays


def digest_of(tree: Tree) -> str:
    """SHA-256 of the manifest itself, in one canonical spelling."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def model_card(manifest: Manifest) -> str:
    """The artefact's README: what the model is, how good it was measured to be, what it is not for, how to load it."""
    m, data = manifest, manifest.data
    kind = {"image": "pictures", "text": "texts"}.get(m.encoder.modality, m.encoder.modality)
    spread = f", {min(data.counts)} to {max(data.counts)} a class" if data.counts else ""
    parts = [
        f"# {plain(m.name)}",
        f"Sorts {kind} into {len(m.classes)} classes. Made by Graft {m.graft} on {m.created}.",
        "## What it is",
        f"A `{m.strategy}` head on vectors of the pretrained encoder `{m.encoder.reference}` ({m.encoder.dim} numbers an item, "
        f"fingerprint `{m.encoder.fingerprint}`), {_weights(m)} "
        f'Fitted on {data.train:,} labelled items of "{plain(data.name)}"{spread}.',
        f"Classes: {_listed(m.classes)}.",
        "## How good it is",
        _measured(m),
        _unsure(m),
        "## What it is for",
        f"{kind.capitalize()} like those it was fitted on, sorted into these classes, where a mistake can be borne or is looked at by a person.",
        "## Limits",
        _LIMITS,
        "## How to use it",
        "    graft predict THIS_FOLDER ITEM...",
        '    import graft\n    model = graft.load("THIS_FOLDER")\n    model.predict([...])',
        f"Both need the same encoder and refuse another one. `{MANIFEST}` holds all of the above and more as JSON.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _weights(m: Manifest) -> str:
    if m.tuned:
        return f"which was trained further ({plain(m.tuned)}); `{ENCODER}/` holds what changed, and the fingerprint is that of the trained one."
    return "whose weights were not changed and are not in this folder."


_LIMITS = """\
- It knows no other class: whatever it is given, one of these is the likeliest.
- "Unsure" means that classes compete for an item. It does not find items of a new kind.
- The figures hold for items drawn like the fitted ones; another camera, writer, time or mixture of classes changes them.
- What the encoder learned from its own training data, biases included, is in every answer."""


def _measured(m: Manifest) -> str:
    where = {
        "test": "On test items that took no part in fitting or choosing:",
        "folds": "There was no test part. Cross-validated on the items it was fitted on, which flatters a chosen strategy a little:",
    }.get(m.measured_on)
    if where is None or not m.metrics:
        return "It was not measured: there were too few labels to hold any back. Try it on items you know before you trust it."
    rows = [f"| {name} | {_number(i.value)} | {_between(i)} | {i.n:,} |" for name, i in m.metrics.items()]
    counted = "folds" if m.measured_on == "folds" else "n"
    return "\n".join([where, "", f"| metric | value | 95 % interval | {counted} |", "|---|---|---|---|", *rows])


def _unsure(m: Manifest) -> str:
    lines = []
    if m.calibration:
        c = m.calibration
        lines.append(
            f"Probabilities are calibrated (temperature {c.temperature:.3g}): expected calibration error "
            f"{_number(c.ece_before)} before, {_number(c.ece_after)} after."
        )
    if m.abstention:
        a = m.abstention
        lines.append(f'Below a probability of {a.threshold:.3f} it answers "unsure".')
        if a.abstained and a.error and a.error_without:
            lines.append(
                f"Measured on the {a.measured_on}: that leaves {a.abstained.value:.1%} unanswered and "
                f"{a.error.value:.1%} of the answers wrong, against {a.error_without.value:.1%} with every item answered."
            )
    return " ".join(lines)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _between(interval: Interval) -> str:
    return "" if interval.low is None or interval.high is None else f"{interval.low:.3f} to {interval.high:.3f}"


def plain(text: str) -> str:
    """One line of text without Markdown's signs taking effect."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in " ".join(text.split()))


def _listed(classes: tuple[str, ...], most: int = 50) -> str:
    shown = ", ".join(plain(name) for name in classes[:most])
    return shown if len(classes) <= most else f"{shown} and {len(classes) - most} more"
