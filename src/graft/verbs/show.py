"""`graft show`: what a fit found, or what a model is, without opening either's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from graft.artifact import Manifest
    from graft.results import FitResult


def show(
    path: Annotated[str | Path, "A folder that fit wrote, its result.json, or a model's folder."],
) -> FitResult | Manifest:
    """Show what a fit chose and measured, or what a model is.

    A folder that `fit` wrote shows its `result.json`, a model's folder its `graft.json`. Raises MissingError when there is nothing at
    `path`, ModelError when it holds neither or was changed.
    """
    from graft.artifact import read_manifest

    given = Path(path).expanduser()
    result = given / "result.json"
    if result.is_file():
        return _result(result)
    if given.is_file() and given.name != "graft.json":
        return _result(given)
    return read_manifest(given)


def _result(path: Path) -> FitResult:
    import json

    from graft.errors import ModelError
    from graft.results import SCHEMA, FitResult, from_json

    try:
        tree = json.loads(path.read_bytes())
        schema = tree["schema"]
        if schema <= SCHEMA:
            return from_json(FitResult, tree)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise ModelError(f"{path} is not a result of `graft fit` ({type(error).__name__}: {error}).") from error
    raise ModelError(
        f"{path} has schema {schema}, this Graft reads up to {SCHEMA}. `pip install --upgrade graft` reads it."
    )
