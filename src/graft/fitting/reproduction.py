"""Whether a recorded result comes out again: its command is run anew, and whatever differs is named, with what on record may be the cause.

The command runs in a process of its own, as it did the first time, so that nothing of this one takes part.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import DataError, GraftError, MissingError, ModelError, StorageError, UsageError

VERBS = (("fit",), ("recommend", "fit"), ("pretrain",), ("tune",))
# What differs between two runs that are equal: times, what a machine had left, what was in the cache, where it was written.
PASSING = frozenset(
    {
        "seconds",
        "memory_mb",
        "items_per_second",
        "predicted_seconds",
        "encoded",
        "cached",
        "out",
        "why",
        "command",
        "environment",
    }
)
CAUSES = {
    "data": "state of the data",
    "encoder": "state of the encoder",
    "encoders": "state of the encoder",
    "seed": "seed",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was: where it stands, what it was and what it is."""

    what: str
    was: str
    now: str


@dataclass(frozen=True)
class Reproduction:
    """How a result came out again. `verdict`: "same", every value and every tensor to the bit; "alike", the same choice, and every headline
    within its recorded interval; or "different". `causes` are differences of versions, machine, seed, data or encoder."""

    name: str
    verdict: str
    why: str
    command: str
    compared: int
    differences: tuple[Difference, ...]
    causes: tuple[Difference, ...]
    out: str
    seconds: float


def recorded(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a result and its `result.json`.

    Raises MissingError when there is none, ModelError when it is not one of a verb that can be run again.
    """
    file = path / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise MissingError(
            f"{path} holds no result.json. Name the folder that fit, tune, pretrain or recommend fit wrote."
        )
    try:
        tree = json.loads(file.read_bytes())
        words = shlex.split(tree["command"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{file} is not the result of a command ({type(error).__name__}: {error}).") from error
    if words[:1] != ["graft"] or not any(tuple(words[1 : 1 + len(verb)]) == verb for verb in VERBS):
        raise ModelError(f"{file} was made by {tree['command']!r:.80}; what {_listed()} made can be run again.")
    return file.parent, tree


def _listed() -> str:
    return ", ".join(" ".join(("graft", *verb)) for verb in VERBS)


def again(command: str, out: Path) -> float:
    """Run a recorded command into `out`; the seconds it took. Raises what the command ends in, as our own error."""
    words = [*shlex.split(command)[1:], "--out", str(out), "--json"]
    started = time.perf_counter()
    run = subprocess.run([sys.executable, "-m", "graft", *words], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise _error(run.returncode, run.stdout, command)
    return time.perf_counter() - started


def _error(code: int, said: str, command: str) -> GraftError:
    try:
        message = json.loads(said)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        message = f"it ended with exit code {code}."
    kinds = {kind.exit_code: kind for kind in (UsageError, DataError, MissingError)} | {
        StorageError.exit_code: MissingError
    }
    text = f"The recorded command could not be run again from here: {command}\n{message}\nPaths in it are as they were given: run this where it was run."
    return kinds.get(code, DataError)(text)


def compared(was: Path, now: Path) -> tuple[int, tuple[Difference, ...], tuple[Difference, ...]]:
    """How many values two results were compared in, what differs, and what may have caused it."""
    old, new = (json.loads((folder / "result.json").read_bytes()) for folder in (was, now))
    one, other = dict(_leaves(old)), dict(_leaves(new))
    for folder, leaves in ((was, one), (now, other)):
        leaves.update(_files(folder))
    differ = [
        Difference(key, _told(one, key), _told(other, key)) for key in one | other if one.get(key) != other.get(key)
    ]
    causes = [d for d in differ if d.what.split(".")[0] in CAUSES]
    before, after = old.get("environment") or {}, new.get("environment") or {}
    causes += [
        Difference(f"environment.{name}", str(before.get(name, "not recorded")), str(after.get(name, "not recorded")))
        for name in before | after
        if before.get(name) != after.get(name)
    ]
    return len(one), tuple(d for d in differ if d not in causes), tuple(causes)


def verdict(
    was: Path, now: Path, differences: tuple[Difference, ...], causes: tuple[Difference, ...]
) -> tuple[str, str]:
    """ "same", "alike" or "different", and why in plain words."""
    named = ", ".join(dict.fromkeys(_cause(d) for d in causes))
    if not differences:
        return "same", "Every value and every weight is the same to the bit" + (
            f", although there is another {named}." if causes else "."
        )
    old, new = (json.loads((folder / "result.json").read_bytes()) for folder in (was, now))
    reason = f"What differs on record and may be the cause: {named}." if causes else _unexplained(old)
    before, after = _headlines(old), _headlines(new)
    if _choice(old) != _choice(new):
        return "different", f"Not the same: the choice. {reason}"
    if not before:
        return "different", f"Not the same, and no headline with an interval is on record to judge by. {reason}"
    outside = [name for name, ends in before.items() if not _inside(after.get(name), ends)]
    if outside:
        return "different", f"Not the same: {', '.join(outside)}. {reason}"
    return (
        "alike",
        f"The choice is the same and every headline lies within its recorded interval, but not every bit. {reason}",
    )


def _unexplained(old: Mapping[str, Any]) -> str:
    """What is left where versions, machine, counts of the data and encoder are as they were or not on record, and all randomness comes from the seed."""
    data = old.get("data")
    left = [] if old.get("environment") else ["another version or machine (this result keeps neither)"]
    if not isinstance(data, Mapping) or data.get("sha256") is None:
        left.append("the contents of the items (of a folder no hash is kept)")
    left.append("the order in which a library's threads add")
    return f"Nothing on record explains it. What is left: {', '.join(left)}, or a defect of Graft: please report it."


def _cause(difference: Difference) -> str:
    first, _, rest = difference.what.partition(".")
    if first == "environment":
        return {"processor": "processor", "threads": "number of threads"}.get(rest, f"version of {rest}")
    return CAUSES[first]


def _choice(tree: Mapping[str, Any]) -> Any:
    """What was chosen: a strategy and its encoder, a recommender, or the settings of a search's best trial."""
    if "trials" in tree:
        return _best_trial(tree).get("settings")
    return tree.get("chosen"), _chosen_row(tree).get("encoder")


def _best_trial(tree: Mapping[str, Any]) -> dict[str, Any]:
    return next((trial for trial in tree["trials"] if trial["number"] == tree.get("best")), {})


def _chosen_row(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The strategy or the recommender that was chosen, as it was measured; of several encoders that of the result's own."""
    rows = [row for row in (tree.get("strategies") or tree.get("models") or ()) if row["name"] == tree.get("chosen")]
    own = [row for row in rows if row.get("encoder") == (tree.get("encoder") or {}).get("reference")]
    return next(iter(own or rows), {})


def _headlines(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The measures that have an interval, by name: of the test part, else those of what was chosen, or the score of a search's best trial."""
    if "trials" in tree:
        best = _best_trial(tree)
        found = {f"{tree.get('metric')} of the best trial": best | {"value": best.get("score")}}
    elif tree.get("test"):
        found = {f"{name} of the test part": of for name, of in tree["test"].items()}
    else:
        row = _chosen_row(tree)
        found = {f"{name} of {row['name']}": of for name, of in row.get("metrics", {}).items()}
    return {name: of for name, of in found.items() if of.get("low") is not None and of.get("high") is not None}


def _inside(now: Mapping[str, Any] | None, ends: Mapping[str, Any]) -> bool:
    """Whether a headline is there again and its value within the interval on record."""
    return now is not None and now.get("value") is not None and ends["low"] <= now["value"] <= ends["high"]


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a tree with its dotted path, but for what differs between equal runs."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name not in PASSING:
                yield from _leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(tree, list):
        yield f"{path}.length", len(tree)
        for place, value in enumerate(tree):
            yield from _leaves(value, f"{path}.{place}")
    else:
        yield path, tree


def _files(folder: Path) -> dict[str, str]:
    """Digests of the split and of every tensor file of a model, by their paths."""
    from graft.data.dataset import file_sha256

    kept = [path for path in sorted(folder.rglob("*.safetensors")) if path.is_file()]
    split = folder / "split.json"
    return {
        f"file {path.relative_to(folder)}": file_sha256(path) for path in [*kept, *([split] if split.is_file() else [])]
    }


def _told(leaves: Mapping[str, Any], key: str) -> str:
    return str(leaves[key])[:120] if key in leaves else "nothing"
