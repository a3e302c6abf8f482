"""Trainings told to an experiment tracker, through accelerate's trackers, as files on this machine only: nothing is sent anywhere.

Imported only where training runs.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graft.errors import MissingError, StorageError, UsageError, unknown
from graft.store.files import storage_errors

TRACKERS = ("wandb", "mlflow", "tensorboard")
# wandb looks for its server even offline, and mlflow reports its use; each has a switch, read when it is imported
SILENT = {
    "wandb": {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"},
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
}


class Tracking:
    """Trackers that are being written to; see `open_tracking`."""

    def __init__(self, trackers: Sequence[Any], prefix: str = "") -> None:
        self._trackers, self._prefix = tuple(trackers), prefix

    def part(self, name: str) -> Tracking:
        """The same trackers with `name/` before every number's name, as for one rung or one fold."""
        return Tracking(self._trackers, f"{self._prefix}{name}/")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name at a step."""
        told = {self._prefix + name: float(value) for name, value in values.items()}
        with _calm():
            for tracker in self._trackers:
                tracker.log(told, step=step)

    def finish(self) -> None:
        """Write what is left and close."""
        with _calm():
            for tracker in self._trackers:
                tracker.finish()


def open_tracking(
    names: Sequence[str], folder: Path, *, run: str = "graft", about: Mapping[str, Any] | None = None
) -> Tracking:
    """Start a run called `run` with every tracker named, kept under `folder`; `about` are settings to be told with it.

    wandb runs offline (`wandb sync` sends the run, when a person wants that), mlflow writes `mlflow.db`, tensorboard event files.

    Raises UsageError for a name that is not one of the three, MissingError for a package that is not installed, StorageError for a folder
    that cannot be written.
    """
    if wrong := [name for name in names if name not in TRACKERS]:
        raise UsageError(unknown("The tracker", wrong[0], TRACKERS))
    if absent := [name for name in dict.fromkeys(names) if find_spec(name) is None]:
        raise MissingError(
            f"To track a training with {' and '.join(absent)}, install it: python -m pip install {' '.join(absent)}"
        )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    simple = {
        key: value if isinstance(value, (bool, int, float, str)) else str(value) for key, value in (about or {}).items()
    }
    with _calm():
        return Tracking(_started(tuple(dict.fromkeys(names)), folder, run, simple))


def _started(names: Sequence[str], folder: Path, run: str, about: dict[str, Any]) -> list[Any]:
    from accelerate import Accelerator

    for name in names:
        os.environ.update(SILENT.get(name, {}))
    options: dict[str, dict[str, Any]] = {
        "wandb": {"mode": "offline", "dir": str(folder), "name": run},
        "mlflow": {"run_name": run, "logging_dir": str(folder / "mlflow")},
    }
    if "mlflow" in names:
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').absolute()}")
    accelerator = Accelerator(log_with=list(names), project_dir=str(folder))
    try:
        accelerator.init_trackers(
            run, config=about, init_kwargs={name: options[name] for name in names if name in options}
        )
    except OSError as error:
        raise StorageError(f"{folder} cannot be written by {', '.join(names)}: {error}") from error
    return list(accelerator.trackers)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Trackers warn of what their own dependencies will change one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
