"""What the sections of docs/benchmarks.md are made of: tables, intervals, the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines) + "\n"


def span(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def machine(facts: Mapping[str, Any]) -> str:
    return f"{facts['threads']} threads of {facts['processor']}"


def ends(interval: Mapping[str, Any], signed: bool = False) -> str:
    """A value with the ends of its interval, where it has some."""
    sign = "+" if signed else ""
    value = f"{interval['value']:{sign}.3f}"
    return (
        value if interval["low"] is None else f"{value} ({interval['low']:{sign}.3f} to {interval['high']:{sign}.3f})"
    )
