"""`graft show`: what a fit found, or what a model is, without opening either's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from graft.artifact import Manifest
    from graft.fitting.pretraining import PretrainResult
    from graft.results import FitResult, TuneResult
    from graft.search_results import IndexResult
    from graft.targets.result import TargetResult

    Shown = FitResult | TargetResult | TuneResult | PretrainResult


def show(
    path: Annotated[
        str | Path, "A folder that fit, tune or pretrain wrote, its result.json, a model's folder, or an index."
    ],
) -> Shown | Manifest | IndexResult:
    """Show what a fit chose and measured, what a search found, what a model is, or what an index holds.

    A folder that `fit`, `tune` or `pretrain` wrote shows its `result.json`, a model's folder its `graft.json`, an index the version that is served.

    Raises MissingError when there is nothing at `path`, ModelError when it holds none of these or was changed.
    """
    from graft.artifact import read_manifest

    given = Path(path).expanduser()
    result = given / "result.json"
    if result.is_file():
        return _result(result)
    if given.is_file() and given.name != "graft.json":
        return _result(given)
    from graft.retrieval.versions import is_index

    if is_index(given):
        return _index(given)
    return read_manifest(given)


def _index(path: Path) -> IndexResult:
    from graft.retrieval.versions import current, describe, read_version
    from graft.store.collection import Collection

    version = read_version(path, current(path))
    return describe(path, version, Collection.open(path / "items.lance", version.lance).columns)


def _result(path: Path) -> Shown:
    import json

    from graft.errors import ModelError
    from graft.results import SCHEMA, from_json

    try:
        tree = json.loads(path.read_bytes())
        schema = tree["schema"]
        if schema <= SCHEMA:
            shown: Shown = from_json(_kind(tree), tree)
            return shown
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise ModelError(f"{path} is not a result of `graft fit` ({type(error).__name__}: {error}).") from error
    raise ModelError(
        f"{path} has schema {schema}, this Graft reads up to {SCHEMA}. `pip install --upgrade graft` reads it."
    )


def _kind(tree: Mapping[str, Any]) -> type[Any]:
    """Which verb's result it is, by what no other has."""
    from graft.fitting.pretraining import PretrainResult
    from graft.results import FitResult, TuneResult
    from graft.targets.result import TargetResult

    if "reach" in tree:
        return TargetResult
    if "trials" in tree:
        return TuneResult
    return PretrainResult if "network" in tree else FitResult
